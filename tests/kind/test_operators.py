"""Operators that die, that are two, that are installed twice: studies end, and nothing is doubled."""

from __future__ import annotations

from kind.installation import NAMESPACE, Installation, condition, printing_study, quick_study
from kind.steps import apply, assignments, values


def test_sixty_short_trials_leave_all_values_though_the_operator_dies_twice(
    seatrial: Installation, namespace: str
) -> None:
    name = apply(seatrial, namespace, quick_study("short", trials=60, parallel=6))

    for done in (10, 30):
        seatrial.wait_for(
            namespace,
            name,
            lambda study, done=done: (study.get("status") or {}).get("trials", {}).get("completed", 0) >= done,
            what=f"{done} trials to end",
            seconds=300,
        )
        (operator,) = seatrial.pods_of("seatrial")
        seatrial.kind.kubectl("-n", NAMESPACE, "delete", "pod", operator, "--grace-period=0", "--force")
        seatrial.kind.wait_until(
            lambda gone=operator: seatrial.pods_of("seatrial") not in ([], [gone]), what="another operator"
        )
    study = seatrial.wait_done(namespace, name, seconds=300)

    trials = seatrial.trials(namespace, name)
    assert condition(study, "Succeeded")["status"] == "True"
    assert [trial["spec"]["index"] for trial in trials] == list(range(60))
    assert values(trials) == assignments(trials)
    assert {trial["status"]["attempt"] for trial in trials} == {0}


def test_what_a_program_prints_is_its_result_as_on_a_laptop(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, printing_study("prints", trials=6, parallel=3))

    study = seatrial.wait_done(namespace, name)

    assert condition(study, "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert len(trials) == 6
    assert values(trials) == assignments(trials)
    assert condition(study, "MetricsAvailable")["status"] == "True"


def test_of_two_operators_one_works(seatrial: Installation, namespace: str) -> None:
    seatrial.scale("seatrial", 2)
    try:
        name = apply(seatrial, namespace, quick_study("two", trials=12, parallel=4))
        study = seatrial.wait_done(namespace, name)
        logs = {pod: seatrial.kind.kubectl("-n", NAMESPACE, "logs", pod) for pod in seatrial.pods_of("seatrial")}
    finally:
        seatrial.scale("seatrial", 1)

    assert condition(study, "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert len(trials) == 12
    assert values(trials) == assignments(trials)
    assert sorted('"message":"Leading"' in log for log in logs.values()) == [False, True]


def test_of_two_installations_nothing_is_doubled(seatrial: Installation, namespace: str) -> None:
    second = ("second", "--namespace", f"{namespace}-second")
    seatrial.kind.add_namespace(second[-1])
    image = seatrial.kind.get("deployments", "seatrial", namespace=NAMESPACE)["spec"]["template"]["spec"]["containers"][
        0
    ]
    settings = (
        "crds.install=false",
        "prometheus.enabled=false",
        f"image.repository={image['image'].rpartition(':')[0]}",
    )
    flags = [word for setting in settings for word in ("--set", setting)]
    seatrial.kind.run("helm", "install", *second, "charts/seatrial", *flags, "--wait", "--timeout", "3m")
    try:
        name = apply(seatrial, namespace, quick_study("both", trials=12, parallel=4))
        study = seatrial.wait_done(namespace, name)
    finally:
        seatrial.kind.run("helm", "uninstall", *second, "--wait", "--timeout", "3m")
        seatrial.kind.kubectl("delete", "namespace", second[-1], "--wait=false")

    assert condition(study, "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert [trial["spec"]["index"] for trial in trials] == list(range(12))
    assert values(trials) == assignments(trials)
    assert {trial["status"]["attempt"] for trial in trials} == {0}


def test_the_next_operator_takes_over_when_the_leader_goes(seatrial: Installation, namespace: str) -> None:
    seatrial.scale("seatrial", 2)
    try:
        seatrial.kind.wait_until(lambda: bool(seatrial.leader()), what="a leader")
        leader = next(pod for pod in seatrial.pods_of("seatrial") if seatrial.leader().startswith(pod))
        seatrial.kind.kubectl("-n", NAMESPACE, "delete", "pod", leader)
        name = apply(seatrial, namespace, quick_study("next", trials=4, parallel=2))
        study = seatrial.wait_done(namespace, name)
        assert not seatrial.leader().startswith(leader)
    finally:
        seatrial.scale("seatrial", 1)

    assert condition(study, "Succeeded")["status"] == "True"


def test_a_second_installation_is_refused(seatrial: Installation) -> None:
    command = ("helm", "install", "second", "charts/seatrial", "--namespace", "elsewhere", "--create-namespace")

    done = seatrial.kind.run(*command, check=False)

    assert done.returncode
    assert "cannot be imported into the current release" in done.stderr
    seatrial.kind.kubectl("delete", "namespace", "elsewhere", "--ignore-not-found", "--wait=false")
