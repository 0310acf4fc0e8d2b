"""Population-based training: a population is trained side by side, and at every interval losers go on from winners' checkpoints.

Source: Jaderberg et al. 2017, "Population based training of neural networks", Algorithm 1, https://arxiv.org/abs/1711.09846; with
``explore: pb2`` Parker-Holder et al. 2020, https://arxiv.org/abs/2002.02518. In the words of the paper's loop:

    step, eval     one trial: it trains from its source's checkpoint to the next multiple of the interval, saves, and ends
    ready          it has ended
    exploit        the next trial of the member starts from another member's checkpoint and assignment
    explore        and changes that assignment

so that a member is a chain of trials, and everything that happened is in the trials' records. In synchronous mode trial
g * population + m is generation g of member m and depends on the outcomes of generation g - 1 alone: in which order trials end
changes nothing. In asynchronous mode a member goes on as soon as it is ready, judged among those of its generation that are there by
then: values of different steps are never compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.search.base import (
    Ask,
    Evaluated,
    Exhausted,
    History,
    Membership,
    Move,
    Pending,
    Settings,
    Source,
    Suggestion,
    Why,
)
from seatrial.search.chance import generator
from seatrial.search.population.exploit import Contender, Selection, choose_source, quantile_size
from seatrial.search.population.explore import Explorer, explore
from seatrial.search.population.intervals import default_interval, generations
from seatrial.search.population.members import contenders_of, latest, nobody_left, outcomes_of, place_of
from seatrial.search.population.pb2 import Improvement, Trained, explore_by_bandit, improvements
from seatrial.search.space import Assignment, SearchSpace

__all__ = ["Pbt", "build_pbt"]

_EXPLOIT, _EXPLORE, _START = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pbt:
    """Population-based training with *population* members that are judged every *interval* steps until *max_step*."""

    space: SearchSpace
    seed: int
    population: int
    interval: int
    max_step: int
    selection: Selection
    quantile: float
    explorer: Explorer
    bandit: bool = False
    asynchronous: bool = False
    initial: Sequence[Assignment] = ()

    def ask(self, history: History, count: int) -> Ask:
        """Return the next trials; fewer while the members that they depend on still train."""
        found: list[Suggestion] = []
        for _ in range(count):
            answer = self._next(history)
            if isinstance(answer, Exhausted):
                return Ask(suggestions=tuple(found), exhausted=answer)
            if answer is None:
                break
            found.append(answer)
            history = history.with_suggestion(answer)
        return Ask(suggestions=tuple(found))

    def recommend(self, history: History) -> int | None:
        """Return the best member at the last step that any of them has reached."""
        good = [t for t in history.evaluated if t.feasible and not t.stopped]
        furthest = max((t.until_step or t.step or 0 for t in good), default=0)
        last = [t for t in good if (t.until_step or t.step or 0) == furthest]
        return min(last, key=lambda t: (t.values[0], t.index)).index if last else None

    # ---- whose turn it is ----------------------------------------------------------------------------------------------

    def _next(self, history: History) -> Suggestion | Exhausted | None:
        return self._next_ready(history) if self.asynchronous else self._next_in_generation(history)

    def _next_in_generation(self, history: History) -> Suggestion | Exhausted | None:
        number, member = divmod(history.next_index, self.population)
        if number >= generations(self.max_step, self.interval):
            return self._trained()
        if number == 0:
            return self._start(history.next_index, member)
        contenders = contenders_of(history, number - 1, self.population)
        if contenders is None:
            return None
        return self._go_on(history, contenders, member, number)

    def _next_ready(self, history: History) -> Suggestion | Exhausted | None:
        every = latest((*history.evaluated, *history.pending), self.population)
        unborn = [member for member in range(self.population) if member not in every]
        if unborn:
            return self._start(history.next_index, unborn[0])
        last = generations(self.max_step, self.interval) - 1
        idle = [
            (place.generation, place.member)
            for t in every.values()
            if isinstance(t, Evaluated) and (place := t.membership)
        ]
        idle = sorted(place for place in idle if place[0] < last)
        for generation, member in idle:
            found = self._go_on(history, outcomes_of(history, generation, self.population), member, generation + 1)
            if isinstance(found, Suggestion):
                return found
        if history.pending:
            return None
        return nobody_left(outcomes_of(history, idle[0][0], self.population)) if idle else self._trained()

    def _trained(self) -> Exhausted:
        words = f"the population of {self.population} has trained all {self.max_step} steps"
        return Exhausted(why=Why.TRAINED, message=words)

    # ---- what it does ----------------------------------------------------------------------------------------------------

    def _start(self, index: int, member: int) -> Suggestion:
        place = Membership(member=member, generation=0, move=Move.START)
        until = min(self.interval, self.max_step)
        if member < len(self.initial):
            known = self.initial[member]
            return Suggestion(assignment=known, algorithm="initial", until_step=until, membership=place)
        drawn = self.space.sample(generator(self.seed, index, _START))
        detail = f"member {member}, drawn at random"
        return Suggestion(assignment=drawn, algorithm="pbt", detail=detail, until_step=until, membership=place)

    def _go_on(
        self, history: History, contenders: Sequence[Contender], member: int, generation: int
    ) -> Suggestion | Exhausted:
        """Return the next trial of *member*: from its own checkpoint, or from a better member's."""
        index = history.next_index
        rng = generator(self.seed, index, _EXPLOIT)
        chosen = choose_source(contenders, member, selection=self.selection, quantile=self.quantile, rng=rng)
        if chosen is None or chosen.trial is None or chosen.trial.saved is None:
            return nobody_left(contenders)
        parent, saved = chosen.trial, chosen.trial.saved
        own = next(c for c in contenders if c.member == member)
        move = Move.CONTINUE if chosen is own else Move.EXPLOIT if own.able else Move.REPLACE
        assignment = parent.assignment
        if move is not Move.CONTINUE:
            assignment = self._explore(history, parent.assignment, generation)
        return Suggestion(
            assignment=assignment,
            algorithm="pbt",
            detail=_words(move, member, own, parent),
            until_step=min((generation + 1) * self.interval, self.max_step),
            source=Source(trial=parent.index, step=saved.step, digest=saved.digest),
            membership=Membership(member=member, generation=generation, move=move),
        )

    def _explore(self, history: History, winner: Assignment, generation: int) -> Assignment:
        seeds = (self.seed, history.next_index, _EXPLORE)
        if self.bandit:
            known, running = self._rows(history, generation)
            found = explore_by_bandit(
                self.space,
                winner,
                self.explorer,
                known=known,
                running=running,
                generation=generation,
                rng=generator(*seeds),
            )
            if found is not None:
                return found
        return explore(self.space, winner, self.explorer, generator(*seeds))

    def _rows(self, history: History, generation: int) -> tuple[Sequence[Improvement], Sequence[Trained]]:
        """Return (known, running) intervals, in synchronous mode without a look at who of this generation is done already."""
        everybody: list[Evaluated | Pending] = [*history.evaluated, *history.pending]
        places = {t.index: p for t in everybody if (p := place_of(t, self.population))}
        if self.asynchronous:
            beside: list[Evaluated | Pending] = [t for t in history.pending if t.index in places]
            earlier = [t for t in history.evaluated if t.index in places]
        else:
            beside = [t for t in everybody if t.index in places and places[t.index].generation == generation]
            earlier = [t for t in history.evaluated if t.index in places and places[t.index].generation < generation]
        running = [
            Trained(assignment=t.assignment, generation=places[t.index].generation)
            for t in sorted(beside, key=lambda t: t.index)
            # A lost record that is made anew is told what it was told the first time.
            if t.index < history.next_index
        ]
        return improvements(sorted(earlier, key=lambda t: t.index)), running


def _words(move: Move, member: int, own: Contender, parent: Evaluated) -> str:
    match move:
        case Move.CONTINUE:
            return f"member {member} goes on from trial {parent.index}"
        case Move.REPLACE:
            left = "nothing" if own.trial is None else f"trial {own.trial.index}, from which nobody can go on"
            return f"member {member} takes over trial {parent.index} after {left}"
        case _:
            before = own.trial.index if own.trial is not None else "?"
            return f"member {member} gives up trial {before} and takes over trial {parent.index}"


def build_pbt(space: SearchSpace, settings: Settings) -> Pbt:
    """Return the algorithm; see docs/pbt.md for the settings.

    Raises:
        ValueError: If there are several objectives, no steps, fewer than two members, an interval beyond the last step, a quantile that
            selects nobody, or no parameter that may change.
    """
    if settings.objectives > 1:
        raise ValueError(f"pbt takes one objective, but there are {settings.objectives}; combine them into one metric")
    if settings.max_step is None:
        raise ValueError("pbt needs the study's steps; add steps: {max: …}")
    numbers, words = settings.numbers, settings.words
    free = {parameter.name for parameter in space if parameter.levels != 1}
    found = Pbt(
        space=space,
        seed=settings.seed,
        population=int(numbers.get("population_size", 8)),
        interval=int(numbers.get("ready_interval", default_interval(settings.max_step))),
        max_step=settings.max_step,
        selection=Selection(words.get("selection", "truncation")),
        quantile=float(numbers.get("quantile", 0.25)),
        explorer=Explorer(
            mutable=(settings.mutable or free) & free,
            resample_probability=float(numbers.get("resample_probability", 0.25)),
            down=float(numbers.get("perturb_down", 0.8)),
            up=float(numbers.get("perturb_up", 1.2)),
        ),
        bandit=words.get("explore") == "pb2",
        asynchronous=words.get("mode") == "asynchronous",
        initial=settings.initial,
    )
    _refuse(found)
    return found


def _refuse(found: Pbt) -> None:
    if found.population < 2:
        raise ValueError("pbt needs a population of at least 2")
    if not 1 <= found.interval <= found.max_step:
        raise ValueError(f"pbt has an interval of {found.interval} steps, but a training has {found.max_step}")
    if found.selection is Selection.TRUNCATION and quantile_size(found.population, found.quantile) < 1:
        raise ValueError(f"pbt selects nobody: {found.quantile} of {found.population} members are less than one")
    if not found.explorer.mutable:
        raise ValueError("pbt has no parameter that may change")
