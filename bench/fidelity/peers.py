"""Random search and Optuna's pruners, by their public ask-and-tell interface."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import optuna
from bench.fidelity.tables import Table

__all__ = ["PEERS"]

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass
class Drawn:
    """Random search: every trial is trained in full."""

    table: Table
    seed: int

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 77])

    def ask(self) -> tuple[Hashable, dict[str, int]]:
        """Draw a point evenly."""
        return None, {name: int(self.rng.integers(len(values))) for name, values in self.table.parameters}

    def go_on(self, _trial: Hashable, _step: int, _loss: float) -> bool:
        """Go on."""
        return True

    def end(self, _trial: Hashable, _step: int, _loss: float) -> None:
        """Draw the next one."""


class Pruned:
    """A study of Optuna with a pruner."""

    def __init__(self, table: Table, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner) -> None:
        self.table = table
        self.study = optuna.create_study(sampler=sampler, pruner=pruner)

    def ask(self) -> tuple[Hashable, dict[str, int]]:
        """Ask for a trial."""
        trial = self.study.ask()
        return trial, {name: trial.suggest_int(name, 0, len(values) - 1) for name, values in self.table.parameters}

    def go_on(self, trial: optuna.Trial, step: int, loss: float) -> bool:
        """Report, and ask the pruner."""
        trial.report(loss, step)
        if trial.should_prune():
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return False
        return True

    def end(self, trial: optuna.Trial, step: int, loss: float) -> None:
        """Tell the result."""
        trial.report(loss, step)
        self.study.tell(trial, loss)


def _halving(eta: int) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=eta)


def _hyperband(table: Table) -> optuna.pruners.BasePruner:
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=table.steps, reduction_factor=3)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


PEERS: dict[str, Callable[[Table, int], object]] = {
    "random, full": Drawn,
    "Optuna, SuccessiveHalving": lambda t, s: Pruned(t, optuna.samplers.RandomSampler(seed=s), _halving(3)),
    "Optuna, Hyperband": lambda t, s: Pruned(t, optuna.samplers.RandomSampler(seed=s), _hyperband(t)),
    "Optuna, TPE + SuccessiveHalving": lambda t, s: Pruned(t, _tpe(s), _halving(3)),
    "Optuna, TPE + SuccessiveHalving, eta 4": lambda t, s: Pruned(t, _tpe(s), _halving(4)),
    "Optuna, TPE + Hyperband": lambda t, s: Pruned(t, _tpe(s), _hyperband(t)),
}
