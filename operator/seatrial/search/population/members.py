"""A history read as a population: what each member's latest trial left, and when there is nothing to go on from."""

from collections.abc import Iterable, Sequence

from seatrial.search.base import Evaluated, Exhausted, History, Membership, Pending, Why
from seatrial.search.population.exploit import Contender

__all__ = ["contenders_of", "latest", "nobody_left", "outcomes_of", "place_of"]

Trial = Evaluated | Pending


def place_of(trial: Trial, population: int) -> Membership | None:
    """Return the place of a trial, None for one of another algorithm (the study's algorithm was changed)."""
    place = trial.membership
    return place if place is not None and place.member < population else None


def latest(trials: Iterable[Trial], population: int) -> dict[int, Trial]:
    """Return the newest trial of each member that has one."""
    found: dict[int, Trial] = {}
    for trial in sorted(trials, key=lambda trial: trial.index):
        place = place_of(trial, population)
        if place is not None:
            found[place.member] = trial
    return found


def contenders_of(history: History, generation: int, population: int) -> tuple[Contender, ...] | None:
    """Return what the members left in a generation, None while one of them still trains.

    A member whose trial was cancelled or lost has nothing there. When that is so for all, the study was ended and then extended: the
    generation before counts.

    Args:
        history: What is known.
        generation: Number of the generation, from 0.
        population: Number of members.
    """
    if any(place.generation == generation for t in history.pending if (place := place_of(t, population))):
        return None
    for number in range(generation, -1, -1):
        there = {
            place.member: trial
            for trial in history.evaluated
            if (place := place_of(trial, population)) and place.generation == number
        }
        if there:
            return tuple(Contender(member=member, trial=there.get(member)) for member in range(population))
    return tuple(Contender(member=member, trial=None) for member in range(population))


def outcomes_of(history: History, generation: int, population: int) -> tuple[Contender, ...]:
    """Return what the members left in a generation, only those that are there already."""
    return tuple(
        Contender(member=place.member, trial=trial)
        for trial in history.evaluated
        if (place := place_of(trial, population)) and place.generation == generation
    )


def nobody_left(contenders: Sequence[Contender]) -> Exhausted:
    """Say why no member can go on."""
    trials = [contender.trial for contender in contenders if contender.trial is not None]
    good = [trial for trial in trials if not trial.failed and not trial.stopped]
    if good:
        first = min(good, key=lambda trial: trial.index)
        found = "none" if first.saved is None else f"one of step {first.saved.step}"
        return Exhausted(
            why=Why.NO_CHECKPOINT,
            message=(
                f"trial {first.index} ended well at step {first.until_step} and left {found}; "
                "let the script call trial.load() before and trial.save(…) in every step, and see that its checkpoint directory is kept and has room"
            ),
        )
    return Exhausted(
        why=Why.LOST,
        message=f"all {len(contenders)} members of the population failed, diverged or were stopped, so that nobody can be copied; "
        "narrow the ranges of the parameters, or look at why the trials fail",
    )
