"""Syne Tune's ASHA and BOHB on a table of ``bench/multifidelity.py``; run by a Python that has syne-tune: ``syne_asha.py TABLE METHOD SEED TARGET PARALLEL MOST_STEPS MOST_TRIALS``.

Prints the steps to the target as JSON. The scheduler is asked and told as its tuner does.
"""

# ruff: noqa: NPY002, D102 - the library uses the global chance

import datetime as dt
import json
import logging
import random
import sys
from pathlib import Path

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import randint
from syne_tune.optimizer.baselines import ASHA, BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

sys.path.insert(0, str(Path(__file__).parent))

from tables import load
from workers import simulate

logging.disable(logging.WARNING)


class Scheduled:
    """A scheduler and the trials that it was told of."""

    def __init__(self, table, scheduler):
        self.table, self.scheduler, self.count = table, scheduler, 0

    def ask(self):
        suggestion = self.scheduler.suggest()
        trial = Trial(trial_id=self.count, config=suggestion.config, creation_time=dt.datetime(2030, 1, 1))  # noqa: DTZ001
        self.count += 1
        self.scheduler.on_trial_add(trial)
        return trial, {parameter: 0 for parameter, _ in self.table.parameters} | dict(suggestion.config)

    def go_on(self, trial, step, loss):
        decision = self.scheduler.on_trial_result(trial, {"loss": loss, "epoch": step})
        if decision == SchedulerDecision.CONTINUE:
            return True
        self.scheduler.on_trial_remove(trial)
        return False

    def end(self, trial, step, loss):
        self.scheduler.on_trial_complete(trial, {"loss": loss, "epoch": step})


def main():
    name, method, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    target = float(sys.argv[4])
    parallel, most_steps, most_trials = map(int, sys.argv[5:8])
    limits = {"parallel": parallel, "most_steps": most_steps, "most_trials": most_trials}
    table = load(name)
    random.seed(seed)
    np.random.seed(seed)
    # BOHB's densities cannot be drawn over a parameter that has one value.
    space = {parameter: randint(0, len(values) - 1) for parameter, values in table.parameters if len(values) > 1}
    scheduler = {"ASHA": ASHA, "BOHB": BOHB}[method](
        space, metric="loss", time_attr="epoch", max_t=table.steps, random_seed=seed, grace_period=1, reduction_factor=3
    )
    print(json.dumps(simulate(table, Scheduled(table, scheduler), target=target, **limits)))


if __name__ == "__main__":
    main()
