"""Ray Tune's PBT on a task of ``bench/pbt.py``; run by a Python that has ray[tune]: ``ray_pbt.py TASK SEEDS [sync]``.

Prints the losses as JSON, one a seed: the best of its trials at the last step. An iteration of Ray is one interval.
"""

# ruff: noqa: E402, D102, NPY002 - threads are limited before NumPy is imported; Ray names the methods, and uses the global chance

import json
import os
import random
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ["RAY_DEDUP_LOGS"] = "0"
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import ray
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from tasks import TASKS


class Training(tune.Trainable):
    """A member: one interval an iteration."""

    def setup(self, config):
        sys.path.insert(0, str(HERE))
        from tasks import TASKS

        self.task = TASKS[config["task"]]
        self.state, self.done = self.task.start(config["member"], config["seed"]), 0

    def reset_config(self, new_config):
        # The actor goes on to another trial, which begins anew unless a checkpoint is loaded next.
        self.setup(new_config)
        return True

    def step(self):
        last = min(self.done + self.task.interval, self.task.steps)
        parameters = {name: self.config[name] for name, *_ in self.task.parameters}
        self.state, loss = self.task.train(self.state, parameters, self.done, last, self.config["seed"])
        self.done = last
        return {"loss": loss if np.isfinite(loss) else 1e9, "steps": last, "done": last == self.task.steps}

    def save_checkpoint(self, folder):
        np.savez(Path(folder) / "state.npz", done=self.done, **self.state)

    def load_checkpoint(self, folder):
        loaded = dict(np.load(Path(folder) / "state.npz"))
        self.done = int(loaded.pop("done"))
        self.state = loaded


def run(task, seed, synch):
    random.seed(seed)
    np.random.seed(seed)
    draw = {n: (tune.loguniform if log else tune.uniform)(low, high) for n, low, high, log in task.parameters}
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        metric="loss",
        mode="min",
        perturbation_interval=1,
        quantile_fraction=0.25,
        resample_probability=0.25,
        perturbation_factors=(1.2, 0.8),
        hyperparam_mutations=draw,
        synch=synch,
        log_config=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = tune.run(
            tune.with_resources(Training, {"cpu": 0.1}),
            config={**draw, "task": task.name, "seed": seed, "member": tune.grid_search(list(range(task.members)))},
            scheduler=scheduler,
            storage_path=folder,
            verbose=0,
            reuse_actors=True,
        )
        ends = [trial.last_result for trial in found.trials if trial.last_result.get("steps") == task.steps]
        return min(result["loss"] for result in ends)


def main():
    task, seeds, synch = TASKS[sys.argv[1]], int(sys.argv[2]), "sync" in sys.argv[3:]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    losses = [run(task, seed, synch) for seed in range(seeds)]
    ray.shutdown()
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
