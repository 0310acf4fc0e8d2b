"""The release's own life: what it installs works, is upgraded, rolled back and taken away, and nothing is stuck."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

from kind.installation import NAMESPACE, RELEASE, Installation, condition, quick_study, slow_study
from kind.steps import apply, assignments, let_end, values, wait_running


def test_the_charts_own_test_passes(seatrial: Installation) -> None:
    told = seatrial.helm("test", RELEASE, "--logs", "--timeout", "2m").stdout

    assert "Phase:          Succeeded" in told
    assert "a sound study is accepted; a wrong one is refused" in told


def test_the_operators_image_is_small_and_its_size_is_told(seatrial: Installation) -> None:
    told = seatrial.kind.run("scripts/build-images", "operator").stderr

    (size,) = re.findall(r"^build-images: seatrial-operator:\S+: (\d+) MB", told, re.MULTILINE)
    assert int(size) < 550
    (pod,) = seatrial.pods_of("seatrial")
    look = "import importlib.util, os; print(importlib.util.find_spec('torch'), os.getuid())"
    seen = seatrial.kind.kubectl("exec", "-n", NAMESPACE, pod, "--", "python3", "-c", look)
    assert seen.split() == ["None", "65532"]


def test_the_images_say_what_they_are_and_run_as_a_number_that_is_not_root(seatrial: Installation) -> None:
    (pod,) = seatrial.pods_of("seatrial")
    (container,) = seatrial.kind.get("pods", pod, namespace=NAMESPACE)["spec"]["containers"]

    for image, name in ((container["image"], "seatrial-operator"), ("seatrial-trial:latest", "seatrial-trial")):
        told = seatrial.kind.run("docker", "image", "inspect", image, "--format", "{{json .Config}}").stdout
        config = json.loads(told)
        labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items() if "opencontainers" in key}
        assert labels["title"] == name
        assert labels["licenses"] == "Apache-2.0"
        assert labels["version"] == version("seatrial")
        assert re.fullmatch("[0-9a-f]{40}|unknown", labels["revision"])
        assert config["User"] == "65532:65532"


_PROGRAMS = """
import os, pathlib
places = {pathlib.Path(place).resolve() for place in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", *os.get_exec_path())}
print(*(path.name for place in places if place.is_dir() for path in place.iterdir()))
"""


def test_the_operators_image_has_no_shell_and_no_program_but_python_and_its_own(seatrial: Installation) -> None:
    (pod,) = seatrial.pods_of("seatrial")
    inside = ("exec", "-n", NAMESPACE, pod, "--")

    programs = set(seatrial.kind.kubectl(*inside, "python3", "-c", _PROGRAMS).split())
    shell = seatrial.kind.run("kubectl", *inside, "sh", "-c", "true", check=False)

    own = {name for name in programs if not re.fullmatch(r"python(3(\.\d+)?)?", name)}
    assert own == {"seatrial", "seatrial-operator", "kubectl-seatrial"}
    assert shell.returncode
    assert "executable file not found" in shell.stderr


def test_operator_and_prometheus_run_where_pod_security_is_restricted(seatrial: Installation) -> None:
    labels = seatrial.kind.get("namespaces", NAMESPACE)["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert len(seatrial.pods_of("seatrial")) == 1
    assert len(seatrial.pods_of("seatrial-prometheus")) == 1


def test_an_upgrade_and_a_rollback_cost_running_trials_nothing(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, slow_study("through", trials=2, parallel=2))
    pods = wait_running(seatrial, namespace, 2)
    before = seatrial.pods_of("seatrial")

    seatrial.install("operator.logLevel=debug")
    upgraded = seatrial.pods_of("seatrial")
    seatrial.helm("rollback", RELEASE, "--wait", "--timeout", "3m")

    assert set(before).isdisjoint(upgraded)
    assert wait_running(seatrial, namespace, 2) == pods
    let_end(seatrial, namespace, pods)
    assert condition(seatrial.wait_done(namespace, name), "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert values(trials) == assignments(trials)
    assert {trial["status"]["attempt"] for trial in trials} == {0}


def test_taking_the_release_away_leaves_studies_and_nothing_that_is_stuck(
    seatrial: Installation, namespace: str
) -> None:
    kind = seatrial.kind
    kept = apply(seatrial, namespace, quick_study("kept", trials=2, parallel=2))
    seatrial.wait_done(namespace, kept)
    name = apply(seatrial, namespace, slow_study("orphans", trials=2, parallel=2))
    pods = wait_running(seatrial, namespace, 2)
    other = f"{namespace}-away"
    kind.add_namespace(other)
    apply(seatrial, other, slow_study("doomed", trials=2, parallel=2))
    wait_running(seatrial, other, 2)

    seatrial.helm("uninstall", RELEASE, "--wait", "--timeout", "3m")

    try:
        # Its trials run on; a namespace ends though no operator is there.
        assert sorted(seatrial.running(namespace)) == pods
        assert all("finalizers" not in pod["metadata"] for pod in seatrial.pods(namespace))
        kind.kubectl("delete", "namespace", other, "--timeout=120s")
        assert len(seatrial.trials(namespace, kept)) == 2
        left = kind.kubectl(
            "get",
            "all,lease,configmap,role,rolebinding",
            "-n",
            NAMESPACE,
            "-l",
            f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component!=test",
        )
        assert left == ""
    finally:
        seatrial.install()

    # What ran meanwhile is found again by the next release.
    let_end(seatrial, namespace, pods)
    assert condition(seatrial.wait_done(namespace, name), "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert values(trials) == assignments(trials)
