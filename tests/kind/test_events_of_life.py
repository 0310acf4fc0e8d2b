"""What happens to studies in a cluster: Pods, trials and namespaces that go while trials run, pauses, refusals."""

from __future__ import annotations

import json

from kind.installation import Installation, condition, quick_study, slow_study, stepwise_study
from kind.steps import apply, assignments, let_end, values, wait_running


def test_a_pod_that_is_deleted_is_followed_by_another_at_no_cost(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, slow_study("pods", trials=2, parallel=2))
    first, second = wait_running(seatrial, namespace, 2)

    seatrial.kind.kubectl("delete", "pod", first, "-n", namespace)

    # No retries are granted: this one is not the trial's fault.
    again = first.removesuffix("-0") + "-1"
    seatrial.kind.wait_until(lambda: seatrial.running(namespace) == sorted([again, second]), what="the second attempt")
    let_end(seatrial, namespace, [again, second])
    study = seatrial.wait_done(namespace, name)
    assert condition(study, "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert values(trials) == assignments(trials)
    assert study["status"]["trials"]["failed"] == 0


_RESUMES = """
import pathlib, time
import seatrial_harness as s

trial = s.start(x=0.5)
weight = (trial.load() or {"weight": 0})["weight"]
known = weight
for step in trial.steps(6):
    if step == 4 and not known:
        pathlib.Path("/tmp/saved").touch()
        time.sleep(3600)
    weight += 1
    trial.report(step, score=10 * known + weight)
    trial.save(weight=weight, now=True)
"""


def test_a_pod_that_is_evicted_goes_on_from_its_checkpoint_at_no_cost(seatrial: Installation, namespace: str) -> None:
    seatrial.add_checkpoints(namespace)
    study = slow_study("evicted", trials=1, parallel=1)
    study["spec"]["steps"] = {"max": 6}
    template = study["spec"]["trial"]["template"]["spec"]
    # It sleeps when it is asked to end, so that nothing but what it had saved is left.
    template["terminationGracePeriodSeconds"] = 1
    template["securityContext"] = {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
    template["volumes"] = [{"name": "checkpoints", "persistentVolumeClaim": {"claimName": "checkpoints"}}]
    (container,) = template["containers"]
    container["command"] = ["python", "-c", _RESUMES]
    container["volumeMounts"] = [{"name": "checkpoints", "mountPath": "/checkpoints"}]
    name = apply(seatrial, namespace, study)
    (pod,) = wait_running(seatrial, namespace, 1)
    has_saved = ("kubectl", "exec", "-n", namespace, pod, "--", "test", "-e", "/tmp/saved")  # noqa: S108 - in the Pod
    seatrial.kind.wait_until(
        lambda: seatrial.kind.run(*has_saved, check=False).returncode == 0, what="three steps to be saved"
    )

    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    seatrial.kind.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(eviction))

    assert condition(seatrial.wait_done(namespace, name), "Succeeded")["status"] == "True"
    (trial,) = seatrial.trials(namespace, name)
    # Three steps were known to the second attempt, which trained the other three.
    assert values([trial]) == {f"{name}-0": 36.0}
    assert trial["status"]["attempt"] == 1
    (lost,) = trial["status"]["attempts"]
    assert (lost["reason"], lost["infrastructure"]) == ("NodeDrained", True)
    assert "exit code 137: Eviction API: evicting" in lost["message"]


def test_a_trial_that_is_deleted_is_tried_again(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, slow_study("again", trials=2, parallel=2))
    wait_running(seatrial, namespace, 2)
    before = {trial["metadata"]["name"]: trial["metadata"]["uid"] for trial in seatrial.trials(namespace, name)}

    seatrial.kind.kubectl("delete", "trial", f"{name}-0", "-n", namespace)

    def is_new() -> bool:
        trials = seatrial.trials(namespace, name)
        return len(trials) == 2 and trials[0]["metadata"]["uid"] != before[f"{name}-0"]

    seatrial.kind.wait_until(is_new, what="the trial to be there again")
    pods = wait_running(seatrial, namespace, 2)
    owners = {pod["metadata"]["ownerReferences"][0]["uid"] for pod in seatrial.pods(namespace)}
    assert before[f"{name}-0"] not in owners
    let_end(seatrial, namespace, pods)
    assert condition(seatrial.wait_done(namespace, name), "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert values(trials) == assignments(trials)


def test_a_study_that_is_deleted_leaves_nothing(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, slow_study("gone"))
    wait_running(seatrial, namespace, 2)

    seatrial.kind.kubectl("delete", "study", name, "-n", namespace, "--timeout=60s")

    seatrial.kind.wait_until(
        lambda: not seatrial.pods(namespace) and not seatrial.trials(namespace, name), what="Pods and trials to go"
    )


def test_a_study_that_is_deleted_in_the_foreground_leaves_nothing(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, slow_study("foreground"))
    wait_running(seatrial, namespace, 2)

    seatrial.kind.kubectl("delete", "study", name, "-n", namespace, "--cascade=foreground", "--timeout=90s")

    # Trials block the deletion of nobody: the study may be gone a moment before they are.
    seatrial.kind.wait_until(lambda: seatrial.trials(namespace, name) == [], what="the end of the trials")


def test_a_namespace_that_is_deleted_ends(seatrial: Installation, namespace: str) -> None:
    apply(seatrial, namespace, slow_study("whole"))
    wait_running(seatrial, namespace, 2)

    seatrial.kind.kubectl("delete", "namespace", namespace, "--timeout=120s")


def test_studies_of_one_name_in_two_namespaces_do_not_meet(seatrial: Installation, namespace: str) -> None:
    other = f"{namespace}-other"
    seatrial.kind.add_namespace(other)
    one, two = quick_study("twin", trials=4, parallel=2), quick_study("twin", trials=6, parallel=2)
    two["spec"]["algorithm"]["seed"] = 6

    apply(seatrial, namespace, one)
    apply(seatrial, other, two)

    for place, count in ((namespace, 4), (other, 6)):
        assert condition(seatrial.wait_done(place, "twin"), "Succeeded")["status"] == "True"
        trials = seatrial.trials(place, "twin")
        assert len(trials) == count
        assert values(trials) == assignments(trials)
    assert assignments(seatrial.trials(namespace, "twin")) != assignments(seatrial.trials(other, "twin")[:4])
    seatrial.kind.kubectl("delete", "namespace", other, "--wait=false")


def test_a_study_is_paused_and_goes_on(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, slow_study("pause", trials=2, parallel=2))
    wait_running(seatrial, namespace, 2)

    seatrial.kind.kubectl("patch", "study", name, "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')

    paused = seatrial.wait_for(
        namespace, name, lambda study: condition(study, "Succeeded")["reason"] == "Suspended", what="the pause"
    )
    seatrial.kind.wait_until(lambda: seatrial.running(namespace) == [], what="the trials to stop")
    assert condition(paused, "Succeeded")["status"] == "Unknown"
    seatrial.kind.kubectl("patch", "study", name, "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    let_end(seatrial, namespace, wait_running(seatrial, namespace, 2))
    assert condition(seatrial.wait_done(namespace, name), "Succeeded")["status"] == "True"


def test_a_study_that_has_ended_is_extended(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, quick_study("more", trials=3, parallel=3))
    seatrial.wait_done(namespace, name)
    budget = json.dumps({"spec": {"budget": {"maxTrials": 7, "parallelTrials": 4}}})

    seatrial.kind.kubectl("patch", "study", name, "-n", namespace, "--type=merge", "-p", budget)

    seatrial.kind.wait_until(lambda: len(seatrial.trials(namespace, name)) == 7, what="more trials")
    study = seatrial.wait_for(
        namespace, name, lambda found: found["status"]["trials"]["completed"] == 7, what="the further trials to end"
    )
    assert condition(study, "Succeeded")["status"] == "True"
    trials = seatrial.trials(namespace, name)
    assert values(trials) == assignments(trials)


def test_a_pod_that_the_namespace_forbids_is_explained_before_any_trial(seatrial: Installation, namespace: str) -> None:
    study = quick_study("forbidden", trials=2, parallel=1)
    study["spec"]["trial"]["template"]["spec"]["hostNetwork"] = True

    name = apply(seatrial, namespace, study)

    found = seatrial.wait_for(
        namespace,
        name,
        lambda study: condition(study, "TemplateAccepted").get("status") == "False",
        what="the refusal to be told",
    )
    told = condition(found, "TemplateAccepted")
    assert told["reason"] == "PodSecurity"
    assert "host namespaces" in told["message"]
    assert seatrial.trials(namespace, name) == []


def test_an_image_that_is_not_there_is_told_of(seatrial: Installation, namespace: str) -> None:
    study = quick_study("image", trials=1, parallel=1)
    study["spec"]["trial"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/nothing:1"

    name = apply(seatrial, namespace, study)

    found = seatrial.wait_for(
        namespace,
        name,
        lambda study: "ImagePull" in condition(study, "Succeeded").get("message", ""),
        what="the missing image to be told",
    )
    assert condition(found, "Succeeded")["status"] == "Unknown"


def test_curves_are_read_from_the_pods_where_a_study_asks_for_that(seatrial: Installation, namespace: str) -> None:
    name = apply(seatrial, namespace, stepwise_study("scrape", trials=6, parallel=3, steps=8))

    ended = seatrial.wait_done(namespace, name)
    reasons = [condition(trial, "Succeeded")["reason"] for trial in seatrial.trials(namespace, name)]
    assert condition(ended, "MetricsAvailable")["reason"] == "ScrapedByOperator"
    assert set(reasons) == {"Completed", "Stopped"}
