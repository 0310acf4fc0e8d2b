"""What handing Pods on saves on a cluster: from the record of a trial to its first step, with and without ``trial.reuse``.

    make kind-up                          any cluster will do that has Seatrial and the claim of examples/kind/checkpoints.yaml
    python bench/reuse_on_cluster.py [--repeats 3] [--namespace default]

Runs population-based training of the digits CNN (examples/digits-pbt.yaml) in turns with and without ``trial.reuse``. The time counts from the
moment at which a watch shows the Trial (it is recorded, its Pod is not there yet) to the beginning of its first step: weights of the parent loaded,
hyperparameters put into the optimizer, training set read. Only members of later generations count. The clocks must agree: a kind cluster has that of its machine.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config, watch

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits-pbt.yaml"
GROUP, VERSION = "seatrial.dev", "v1alpha1"
LONGEST_SECONDS = 1200

# The example as it is; the moment of the first step is one more metric.
TOLD = """
import time
import digits_cnn, seatrial_harness

Trial = seatrial_harness.Trial
steps, report, began = Trial.steps, Trial.report, {}

def told(self, count=None):
    for step in steps(self, count):
        began.setdefault("first_step", time.time())
        yield step

def tell(self, step=None, **metrics):
    report(self, step, **metrics, **began)

Trial.steps, Trial.report = told, tell
digits_cnn.train()
"""


def build_study(name: str, *, reuse: bool) -> dict[str, Any]:
    """Return the example as one study of the benchmark."""
    study: dict[str, Any] = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text()))
    study["metadata"]["name"] = name
    study["spec"]["trial"]["reuse"] = reuse
    study["spec"]["trial"]["template"]["spec"]["containers"][0]["command"] = ["python", "-c", TOLD]
    return study


class Witness:
    """Notes when each Trial is first shown."""

    def __init__(self, api: client.CustomObjectsApi, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self.seen: dict[str, float] = {}
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            news = watch.Watch().stream(
                self._api.list_namespaced_custom_object, GROUP, VERSION, self._namespace, "trials", timeout_seconds=300
            )
            for event in news:
                self.seen.setdefault(event["object"]["metadata"]["name"], time.time())


def run(api: client.CustomObjectsApi, namespace: str, study: dict[str, Any]) -> tuple[list[dict[str, Any]], float]:
    """Run a study to its end; return its trials and the seconds that it took."""
    name, began = study["metadata"]["name"], time.time()
    api.create_namespaced_custom_object(GROUP, VERSION, namespace, "studies", study)
    while time.time() - began < LONGEST_SECONDS:
        found = api.get_namespaced_custom_object(GROUP, VERSION, namespace, "studies", name)
        if (found.get("status") or {}).get("completionTime"):
            took = time.time() - began
            selector = f"{GROUP}/study={name}"
            trials = api.list_namespaced_custom_object(GROUP, VERSION, namespace, "trials", label_selector=selector)
            for trial in trials["items"]:
                if "observation" not in trial["status"]:
                    words = [f"{each['reason']}: {each['message']}" for each in trial["status"]["conditions"]]
                    raise SystemExit(
                        f"{trial['metadata']['name']} has no result: {'; '.join(words)}; study {name} is left"
                    )
            api.delete_namespaced_custom_object(GROUP, VERSION, namespace, "studies", name)
            return trials["items"], took
        time.sleep(0.5)
    raise SystemExit(f"study {name} has not ended within {LONGEST_SECONDS} s: kubectl describe study {name}")


def waits(trials: list[dict[str, Any]], seen: dict[str, float]) -> list[float]:
    """Return the seconds from record to first step of the members of later generations."""
    found = []
    for trial in trials:
        metrics = {each["name"]: each["last"] for each in trial["status"]["observation"]["metrics"]}
        if "parent" in trial["spec"]:
            found.append(metrics["first_step"] - seen[trial["metadata"]["name"]])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--namespace", default="default")
    given = parser.parse_args()
    config.load_kube_config()
    api = client.CustomObjectsApi()
    witness = Witness(api, given.namespace)
    all_waits: dict[bool, list[float]] = {True: [], False: []}
    all_times: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(given.repeats):
        for reuse in (True, False):
            name = f"{'warm' if reuse else 'cold'}-{turn}-{int(time.time()) % 10_000}"
            trials, took = run(api, given.namespace, build_study(name, reuse=reuse))
            all_waits[reuse] += waits(trials, witness.seen)
            all_times[reuse].append(took)
            print(f"{name}: {len(trials)} trials in {took:.1f} s", flush=True)
    for reuse, words in ((True, "with trial.reuse"), (False, "without")):
        found, took = sorted(all_waits[reuse]), all_times[reuse]
        print(
            f"{words}: record to first step median {statistics.median(found):.2f} s"
            f" ({found[0]:.2f} to {found[-1]:.2f}, {len(found)} trials); the study {statistics.median(took):.1f} s"
        )


if __name__ == "__main__":
    main()
