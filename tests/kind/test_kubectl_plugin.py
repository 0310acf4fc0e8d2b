"""``kubectl seatrial`` on a cluster where everything is real: it watches a study train, reads its curves, copies its winner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kind.cluster import ROOT
from kind.installation import Installation
from seatrial.adapters.checkpoint import verify_checkpoint


def plugin(seatrial: Installation, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the plugin as kubectl finds it: by its name on PATH."""
    script = folder / "bin" / "kubectl-seatrial"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m seatrial.entry.cli.kubectl "$@"\n')
    script.chmod(0o755)
    given = dict(seatrial.kind.environment)
    environment = given | {"PATH": f"{script.parent}{os.pathsep}{given['PATH']}", "NO_COLOR": "1", "COLUMNS": "120"}
    command = ["kubectl", "seatrial", *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )


@pytest.fixture(scope="module")
def trained(seatrial: Installation, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two trials of the example, watched to their end: namespace, folder and what the watcher printed."""
    namespace, folder = "plugin", tmp_path_factory.mktemp("plugin")
    seatrial.kind.kubectl("create", "namespace", namespace)
    seatrial.kind.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    seatrial.add_checkpoints(namespace)
    study = yaml.safe_load((ROOT / "examples" / "digits.yaml").read_text())
    study["spec"]["budget"]["maxTrials"] = 2
    seatrial.kind.apply(namespace, study)
    yield namespace, folder, plugin(seatrial, folder, "watch", "digits", "-n", namespace)
    seatrial.kind.kubectl("delete", "namespace", namespace, "--timeout=60s")
    seatrial.kind.kubectl("delete", "pv", f"checkpoints-{namespace}", "--wait=false")


def test_watching_tells_of_every_trial_and_ends_with_the_winner(trained: Any) -> None:
    _, _, watched = trained

    assert watched.returncode == 0, watched.stderr
    assert "digits-0 started" in watched.stdout
    assert "winner       digits-" in watched.stdout


def test_the_report_has_curves_of_the_charts_prometheus(seatrial: Installation, trained: Any) -> None:
    namespace, folder, _ = trained

    done = plugin(seatrial, folder, "report", "digits", "-n", namespace)

    assert done.returncode == 0, done.stderr
    assert (
        "curves: Prometheus at http://seatrial-prometheus.seatrial-system.svc:9090 through the API server"
        in done.stdout
    )


def test_the_winners_checkpoint_comes_here_and_nothing_stays_there(seatrial: Installation, trained: Any) -> None:
    namespace, folder, _ = trained
    best = seatrial.study(namespace, "digits")["status"]["best"]["trial"]
    (saved,) = (
        trial["status"]["checkpoint"]
        for trial in seatrial.trials(namespace, "digits")
        if trial["metadata"]["name"] == best
    )

    done = plugin(seatrial, folder, "export", "digits", "-n", namespace, "--best", "--checkpoint", "winner")

    assert done.returncode == 0, done.stderr
    assert verify_checkpoint(folder / "winner") == saved["digest"]
    readers = seatrial.kind.get("pods", "-n", namespace, "-l", "seatrial.dev/reader")["items"]
    assert [pod for pod in readers if "deletionTimestamp" not in pod["metadata"]] == []
