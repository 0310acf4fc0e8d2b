"""Bayesian optimisation with Gaussian processes.

After an initial design, each suggestion is the point of the highest expected improvement under one of two models of the
objective, which take turns: they disagree on how much of the bad half of the landscape is worth modelling, and neither is right
on all problems. Failed trials count as the worst value seen; running ones are sampled from the model; constraints multiply the
improvement by the probability that they are kept.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seatrial.search.base import Ask, Evaluated, Exhausted, History, Settings, Suggestion
from seatrial.search.chance import generator
from seatrial.search.dedupe import unseen
from seatrial.search.gp.acquisition import Acquisition, Limit
from seatrial.search.gp.branches import due_branch
from seatrial.search.gp.candidates import all_over
from seatrial.search.gp.design import design_length, design_point
from seatrial.search.gp.encoding import Array, Encoding
from seatrial.search.gp.features import Features
from seatrial.search.gp.models import TURNS, Models, Observations
from seatrial.search.gp.optimise import apart_first, most_promising
from seatrial.search.gp.posterior import Posterior
from seatrial.search.gp.targets import Shape
from seatrial.search.recommend import MOST_RECOMMENDED, recommend_best
from seatrial.search.space import Assignment, Key, SearchSpace
from seatrial.search.turns import ask_in_turn

__all__ = ["Gp", "build_gp"]

_LEAST_OBSERVED = 3
_PARENTS = 5
_SAMPLES = 16
# A trial is good if it is within this share of the way from the best one to the median.
_GOOD = 0.1


@dataclass(frozen=True, kw_only=True)
class Gp:
    """GP search with *startup_trials* points of a design before the models are asked."""

    space: SearchSpace
    seed: int
    startup_trials: int | None
    default_pull: float

    def ask(self, history: History, count: int) -> Ask:
        """Return *count* suggestions."""
        return ask_in_turn(self.space, history, count, self._suggest)

    def recommend(self, history: History) -> int | None:
        """Return the trial with the lowest sum over the models of the rank of its posterior mean.

        A low value that its neighbours contradict is taken for luck. Trials that were stopped count only when none was trained in
        full; ties go to the lower value, then to the lower index.
        """
        best = recommend_best(history)
        trials = sorted(history.evaluated, key=lambda trial: trial.index)
        if best is None or len(trials) < _LEAST_OBSERVED or not self._encoding.width:
            return best
        feasible = [trial for trial in trials if trial.feasible]
        candidates = [trial for trial in feasible if not trial.stopped] or feasible
        candidates = sorted(candidates, key=lambda trial: (trial.values[0], trial.index))[:MOST_RECOMMENDED]
        F = self._models.features(self._encoding.encode(trial.assignment for trial in candidates))
        observations = Observations.of(trials)
        total = np.zeros(len(candidates))
        for shape in TURNS:
            mean = self._models.objective(shape, observations).mean(F)[:, 0]
            total += np.searchsorted(np.sort(mean), mean)
        return candidates[int(np.argmin(total))].index

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.space)

    @cached_property
    def _models(self) -> Models:
        return Models(self._encoding, Features(self._encoding))

    def _suggest(self, history: History, used: Set[Key]) -> Suggestion | Exhausted:
        index = history.next_index
        rng = generator(self.seed, index)
        if not self._encoding.width:
            candidates, detail = iter([self.space.default()]), "the only assignment"
        elif index < design_length(self._encoding, self.startup_trials):
            candidates, detail = iter([design_point(self._encoding, self.seed, index)]), "initial design"
        elif len(history.evaluated) < _LEAST_OBSERVED:
            candidates, detail = iter([self.space.sample(rng)]), "drawn at random until three trials have finished"
        else:
            shape = TURNS[index % len(TURNS)]
            candidates = self._modelled(history, shape, rng)
            detail = f"{shape} model of {len(history.evaluated)} trials"
        found = unseen(self.space, used, candidates, rng)
        return found if isinstance(found, Exhausted) else Suggestion(assignment=found, algorithm="gp", detail=detail)

    def _modelled(self, history: History, shape: Shape, rng: np.random.Generator) -> Iterator[Assignment]:
        """Yield assignments in the order of what they promise."""
        observations, index = Observations.of(history.evaluated), history.next_index
        model = self._models.objective(shape, observations)
        rows = self._models.rows(observations)
        X = self._models.encode(observations, rows)
        trials = [history.evaluated[int(i)] for i in rows]
        mean = model.mean(model.F)[:, 0]
        feasible = np.array([trial.feasible or not any(v > 0 for v in trial.violations) for trial in trials])
        incumbent = np.array([mean[feasible].min()]) if feasible.any() else None
        if history.pending:
            model, incumbent = self._with_pending(history, model, incumbent, rng)
        acquisition = Acquisition(
            encoding=self._encoding,
            features=self._models.features,
            model=model,
            incumbent=incumbent,
            limits=self._limits(history.evaluated),
            pull=self.default_pull / len(history.evaluated),
            centre=self._encoding.centre,
        )
        known = np.vstack([X, self._encoding.encode(trial.assignment for trial in history.pending)])
        branch = due_branch(self._encoding, known, index)
        parents = X[np.lexsort((mean, ~feasible))]
        if branch is not None:
            inside = parents[np.isclose(parents[:, branch.column], branch.place)]
            parents = inside if len(inside) else all_over(self._encoding, _PARENTS, rng, branch)
        # Close to a good point there may be a better one; close to a bad one there is nothing to learn.
        bad = X[mean > mean.min() + _GOOD * (np.median(mean) - mean.min())]
        for row in apart_first(most_promising(acquisition, parents[:_PARENTS], rng, branch), bad):
            yield self._encoding.decode(row)

    def _with_pending(
        self, history: History, model: Posterior, incumbent: Array | None, rng: np.random.Generator
    ) -> tuple[Posterior, Array | None]:
        """Return the model and the incumbents given antithetic samples of the outcomes of running trials."""
        F = self._models.features(self._encoding.encode(trial.assignment for trial in history.pending))
        half = rng.standard_normal((len(F), _SAMPLES // 2))
        sampled = model.with_pending(F, np.hstack([half, -half]))
        if incumbent is None:
            return sampled, None
        return sampled, np.minimum(incumbent, sampled.mean(F).min(axis=0))

    def _limits(self, trials: tuple[Evaluated, ...]) -> tuple[Limit, ...]:
        """Return a model for each constraint that any trial has been measured on."""
        measured = [trial for trial in trials if trial.violations and not trial.failed]
        if not measured:
            return ()
        models = [self._models.constraint(measured, c) for c in range(len(measured[0].violations))]
        return tuple(Limit(model=model, threshold=threshold) for model, threshold in models)


def build_gp(space: SearchSpace, settings: Settings) -> Gp:
    """Return the algorithm with the numbers ``startup_trials`` (by the number of parameters) and ``default_pull`` (2).

    Raises:
        ValueError: If there are several objectives.
    """
    if settings.objectives > 1:
        raise ValueError(
            f"gp takes one objective, but the study has {settings.objectives}: use auto, tpe or nsga2 for several"
        )
    startup = settings.numbers.get("startup_trials")
    return Gp(
        space=space,
        seed=settings.seed,
        startup_trials=None if startup is None else int(startup),
        default_pull=settings.numbers.get("default_pull", 2.0),
    )
