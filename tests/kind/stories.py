"""Studies that train for minutes. They run in the background while other tests do; the tests of each look at what it left.

The last one waits for the others, since it takes Prometheus away, which they need.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, TypeVar

import yaml

from kind.cluster import ROOT
from kind.installation import Installation, condition
from kind.plugin import run_plugin

__all__ = ["GENERATIONS", "MEMBERS", "STORIES", "Look", "Stories", "Told", "generation", "start"]

T = TypeVar("T")

MEMBERS, GENERATIONS = 4, 4

# Beside the example's trainer as it is, a witness that looks at nothing but tensors: what was given to save and what came from load,
# as the first 32 bits of its SHA-256, which a metric holds exactly; and the loss of what came from load, before it is trained further.
WITNESS = """
import hashlib, runpy, time
import digits_cnn, seatrial_harness

def mark(state):
    seen = hashlib.sha256()
    for name, tensor in sorted(state["model"].items()):
        seen.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return int(seen.hexdigest()[:8], 16)

Trial = seatrial_harness.Trial
load, save, report = Trial.load, Trial.save, Trial.report
loaded = {}

def load_and_look(trial, **options):
    state = load(trial, **options)
    if state:
        model = digits_cnn.build_model(state["channels"], dropout=0.0)
        model.load_state_dict(state["model"])
        loss, _ = digits_cnn.measure(model, *digits_cnn.to_tensors(digits_cnn.load_validation()))
        loaded.update(loaded=mark(state), inherited_loss=loss)
    return state

def report_and_tell(trial, step=None, **metrics):
    report(trial, step, **metrics, **loaded)
    time.sleep(0.5)  # else a generation is over before anybody sees its middle

def look_and_save(trial, step=None, **state):
    report(trial, step, saved=mark(state))
    return save(trial, step, **state)

Trial.load, Trial.report, Trial.save = load_and_look, report_and_tell, look_and_save
runpy.run_path("digits_cnn.py", run_name="__main__")
"""

# The example's trainer as it is, but for a second after each epoch.
UNHURRIED = """
import runpy, time
import seatrial_harness

report = seatrial_harness.Trial.report

def report_and_rest(trial, step=None, **metrics):
    report(trial, step, **metrics)
    time.sleep(1)

seatrial_harness.Trial.report = report_and_rest
runpy.run_path("digits_mlp.py", run_name="__main__")
"""


def start(work: Callable[[], T]) -> Future[T]:
    """Run something in a thread that ends with the tests, however these end."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A study, its trials and the Pods of its namespace at one moment."""

    study: dict[str, Any]
    trials: list[dict[str, Any]]
    pods: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A study that has ended.

    Attributes:
        looks: At it while it ran, where it was looked at.
        watched: What ``kubectl seatrial watch`` printed meanwhile, where it ran.
        reported: What ``kubectl seatrial report`` printed at the end, where it ran: Prometheus is not there for ever.
        folder: Where these ran, and left their files.
    """

    namespace: str
    study: dict[str, Any]
    trials: list[dict[str, Any]]
    looks: list[Look] = field(default_factory=list)
    watched: CompletedProcess[str] | None = None
    reported: CompletedProcess[str] | None = None
    folder: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stories:
    """What runs in the background, by name."""

    running: dict[str, Future[Told]]

    def end_of(self, name: str) -> Told:
        """Return what a story left, once it has ended."""
        return self.running[name].result()


def look_until_done(seatrial: Installation, namespace: str, name: str, *, seconds: float) -> list[Look]:
    """Look at a study again and again until it has ended: at its Pods, then its trials, then itself."""
    looks: list[Look] = []

    def look() -> bool:
        pods, trials = seatrial.pods(namespace), seatrial.trials(namespace, name)
        looks.append(Look(study=seatrial.study(namespace, name), trials=trials, pods=pods))
        return condition(looks[-1].study, "Succeeded").get("status") in {"True", "False"}

    # Each look lists three kinds of objects, beside tests that have little more than a core.
    seatrial.kind.wait_until(look, what=f"study {name} to end", seconds=seconds, pause_seconds=0.5)
    return looks


def train_with_gpus(seatrial: Installation, namespace: str, folder: Path, _: Stories) -> Told:
    """Four trials at a time on a cluster with two GPUs, and a person who watches from the beginning."""
    name = seatrial.apply_example(namespace, "digits-gpu")
    watched = start(lambda: run_plugin(seatrial.kind, folder, "watch", name, "-n", namespace))
    seatrial.kind.wait_until(
        lambda: seatrial.kind.reader.watchers("trials") > 0, what="the watching to begin", seconds=300
    )
    # No Pod runs before the claim is there.
    seatrial.add_checkpoints(namespace)
    looks = look_until_done(seatrial, namespace, name, seconds=600)
    return Told(
        namespace=namespace,
        study=looks[-1].study,
        trials=seatrial.trials(namespace, name),
        looks=looks,
        watched=watched.result(),
        reported=run_plugin(seatrial.kind, folder, "report", name, "-n", namespace),
        folder=folder,
    )


def stop_the_hopeless(seatrial: Installation, namespace: str, _: Path, __: Stories) -> Told:
    """The laptop's file with eight of its trials, which rest after each epoch: what Prometheus sees on the way decides who goes on."""
    seatrial.add_checkpoints(namespace)
    study = yaml.safe_load((ROOT / "examples" / "digits.yaml").read_text())
    spec, (container,) = study["spec"], study["spec"]["trial"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "digits_mlp.py"]
    container["command"] = ["python", "-c", UNHURRIED]
    # They rest most of the time, and the studies that wait for GPUs ask for all that a small node has.
    container["resources"]["requests"]["cpu"] = "1m"
    spec["metrics"] = {"source": "prometheus"}
    spec["budget"] = {"maxTrials": 8, "parallelTrials": 3}
    seatrial.kind.apply(namespace, study)
    name = study["metadata"]["name"]
    ended = seatrial.wait_done(namespace, name, seconds=600)
    return Told(namespace=namespace, study=ended, trials=seatrial.trials(namespace, name))


def generation(trial: dict[str, Any]) -> int:
    """Return a trial's generation in its population, from 0."""
    return int(trial["spec"]["membership"]["generation"])


def evolve(seatrial: Installation, namespace: str, _: Path, __: Stories) -> Told:
    """The example's population, whose operator is killed in the middle of generation 2, and of 3."""
    seatrial.add_checkpoints(namespace)
    study = yaml.safe_load((ROOT / "examples" / "digits-pbt.yaml").read_text())
    (container,) = study["spec"]["trial"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "digits_cnn.py"]
    container["command"] = ["python", "-c", WITNESS]
    # Two cores have room for four trials of the examples, two of which hold the GPUs: trials that wait for a GPU are to wait for
    # nothing else, and say so.
    container["resources"]["requests"]["cpu"] = "50m"
    seatrial.kind.apply(namespace, study)
    name = study["metadata"]["name"]

    def is_in_the_middle_of(number: int) -> bool:
        trials = [trial for trial in seatrial.trials(namespace, name) if generation(trial) == number]
        ended = [condition(trial, "Succeeded").get("status") == "True" for trial in trials]
        assert len(ended) < MEMBERS or not all(ended), f"generation {number} was over before its middle was seen"
        return any(ended)

    for number in (2, 3):
        seatrial.kind.wait_until(
            lambda number=number: is_in_the_middle_of(number), what=f"the middle of generation {number}", seconds=600
        )
        seatrial.kill_operator()
    ended = seatrial.wait_done(namespace, name, seconds=600)
    return Told(namespace=namespace, study=ended, trials=seatrial.trials(namespace, name))


def promote(seatrial: Installation, namespace: str, _: Path, __: Stories) -> Told:
    """The example of ASHA with promotion, with a third of its trials."""
    seatrial.add_checkpoints(namespace)
    study = yaml.safe_load((ROOT / "examples" / "digits-asha.yaml").read_text())
    study["spec"]["budget"]["maxTrials"] = 9
    # As above: trials that wait for a GPU are to wait for nothing else.
    (container,) = study["spec"]["trial"]["template"]["spec"]["containers"]
    container["resources"]["requests"]["cpu"] = "50m"
    seatrial.kind.apply(namespace, study)
    name = study["metadata"]["name"]
    looks = look_until_done(seatrial, namespace, name, seconds=900)
    return Told(namespace=namespace, study=looks[-1].study, trials=seatrial.trials(namespace, name), looks=looks)


def lose_prometheus(seatrial: Installation, namespace: str, _: Path, stories: Stories) -> Told:
    """The laptop's file as it is, and Prometheus deleted when a quarter of its trials are done."""
    for other in ("gpus", "population", "hopeless"):
        if other in stories.running:
            stories.end_of(other)
    seatrial.add_checkpoints(namespace)
    name = seatrial.apply_example(namespace, "digits")
    looks: list[Look] = []

    def wait_for(holds: Callable[[dict[str, Any]], bool], what: str) -> None:
        study = seatrial.wait_for(namespace, name, holds, what=what, seconds=400)
        looks.append(Look(study=study, trials=[], pods=[]))

    wait_for(
        lambda study: condition(study, "MetricsAvailable").get("status") == "True" and _done(study) >= 6,
        "a quarter of the trials to end",
    )
    seatrial.scale("seatrial-prometheus", 0)
    try:
        wait_for(
            # It may answer late, and be called busy, before it is gone.
            lambda study: condition(study, "MetricsAvailable").get("reason") == "PrometheusUnreachable",
            "the study to notice that Prometheus is gone",
        )
        study = seatrial.wait_done(namespace, name, seconds=600)
    finally:
        seatrial.scale("seatrial-prometheus", 1)
    return Told(namespace=namespace, study=study, trials=seatrial.trials(namespace, name), looks=looks)


def _done(study: dict[str, Any]) -> int:
    return int((study.get("status") or {}).get("progress", "0/0").split("/")[0])


Story = Callable[[Installation, str, Path, Stories], Told]

STORIES: dict[str, Story] = {
    "gpus": train_with_gpus,
    "population": evolve,
    "hopeless": stop_the_hopeless,
    "promotion": promote,
    "no_prometheus": lose_prometheus,
}
