"""``kubectl seatrial`` on a cluster where everything is real: it watches a study train, reads its curves, copies its winner."""

from __future__ import annotations

from pathlib import Path

from kind.installation import Installation
from kind.plugin import run_plugin
from kind.stories import Told
from seatrial.adapters.checkpoint import verify_checkpoint

NAME = "digits-gpu"


def test_watching_tells_of_every_trial_and_ends_with_the_winner(gpus: Told) -> None:
    watched = gpus.watched

    assert watched is not None
    assert watched.returncode == 0, watched.stderr
    assert f"{NAME}-0 started" in watched.stdout
    assert f"winner       {gpus.study['status']['best']['trial']}" in watched.stdout


def test_the_report_has_curves_of_the_charts_prometheus(gpus: Told) -> None:
    done = gpus.reported

    assert done is not None
    assert gpus.folder is not None
    assert done.returncode == 0, done.stderr
    assert (
        "curves: Prometheus at http://seatrial-prometheus.seatrial-system.svc:9090 through the API server"
        in done.stdout
    )
    assert gpus.study["status"]["best"]["trial"] in (gpus.folder / f"{NAME}-report.html").read_text()


def test_the_winners_checkpoint_comes_here_and_nothing_stays_there(
    seatrial: Installation, gpus: Told, tmp_path: Path
) -> None:
    best = gpus.study["status"]["best"]["trial"]
    (saved,) = (trial["status"]["checkpoint"] for trial in gpus.trials if trial["metadata"]["name"] == best)

    done = run_plugin(seatrial.kind, tmp_path, "export", NAME, "-n", gpus.namespace, "--best", "--checkpoint", "winner")

    assert done.returncode == 0, done.stderr
    assert verify_checkpoint(tmp_path / "winner") == saved["digest"]
    readers = seatrial.kind.get("pods", namespace=gpus.namespace, labels="seatrial.dev/reader")["items"]
    assert [pod for pod in readers if "deletionTimestamp" not in pod["metadata"]] == []
