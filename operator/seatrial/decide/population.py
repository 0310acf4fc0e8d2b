"""What a population asks of the planner: who may be made now, and who keeps the others waiting for too long.

Which trial a member makes next is decided by the algorithm, from what is on record. A straggler is stopped here, so that this is on
record, too: the algorithm sees a member that cannot go on, and never a clock.
"""

import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta

from seatrial.api.algorithm import AlgorithmName, PbtMode, PbtSettings
from seatrial.api.conditions import TrialReason
from seatrial.decide.attempts import Phase
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot

__all__ = ["find_stragglers", "next_straggler_seconds", "room"]

_LEAST_PATIENCE_SECONDS = 30.0


def room(study: StudySnapshot) -> int | None:
    """Return how many trials can be made now whatever the number of free slots, None when nothing but slots is missing.

    A generation is made when the one before is over, a segment of a schedule likewise.
    """
    first = study.next_index
    match study.spec.algorithm.name:
        case AlgorithmName.REPLAY:
            return 0 if any(not trial.terminal for trial in study.trials[:first]) else 1
        case AlgorithmName.PBT:
            settings = _settings(study)
            if settings.mode is PbtMode.ASYNCHRONOUS:
                return _idle_members(study, settings)
            size = settings.population_size
            before = study.trials[first - first % size - size : first - first % size] if first >= size else ()
            return 0 if any(not trial.terminal for trial in before) else size - first % size
        case _:
            return None


def find_stragglers(study: StudySnapshot) -> Mapping[str, str]:
    """Return why trials should be stopped for whom their generation waits for too long, by name.

    That is when at least half of the population has trained the generation, and the attempt has run ``stragglerFactor`` times as
    long as the median of these, and 30 s longer than it: half a minute is no matter even where a generation takes a second.
    """
    found = {}
    for trial, limit, median in _watched(study):
        ran = _running_seconds(study, trial)
        if ran >= limit and trial.membership is not None:
            found[trial.name] = (
                f"member {trial.membership.member} has run for {ran:.0f} s, and the median of its generation is {median:.0f} s; "
                "it is replaced, so that the others go on"
            )
    return found


def next_straggler_seconds(study: StudySnapshot) -> float | None:
    """Return the seconds until the next trial becomes a straggler, None when nobody can."""
    left = [limit - _running_seconds(study, trial) for trial, limit, _ in _watched(study)]
    return min((seconds for seconds in left if seconds > 0), default=None)


def _settings(study: StudySnapshot) -> PbtSettings:
    return study.spec.algorithm.pbt or PbtSettings()


def _idle_members(study: StudySnapshot, settings: PbtSettings) -> int:
    """Return the number of members without an open trial that are unborn or have steps left.

    When no trial is open all count: only the algorithm knows that it is over, and has to be asked.
    """
    if all(trial.terminal for trial in study.trials):
        return settings.population_size
    end = study.spec.steps.max if study.spec.steps else 0
    newest: dict[int, TrialSnapshot] = {}
    for trial in study.trials:
        if trial.membership is not None and trial.reason is not TrialReason.CANCELLED:
            newest[trial.membership.member] = trial
    through = (t for t in newest.values() if not t.terminal or (t.until_step or 0) >= end)
    return settings.population_size - sum(1 for _ in through)


def _watched(study: StudySnapshot) -> Sequence[tuple[TrialSnapshot, float, float]]:
    """Return (trial, seconds that it may run, median of its generation) of each running trial that others wait for."""
    settings = _settings(study)
    if study.spec.algorithm.name is not AlgorithmName.PBT or settings.mode is PbtMode.ASYNCHRONOUS:
        return ()
    running = [
        trial
        for trial in study.trials
        if trial.live is not None and trial.live.phase is Phase.RUNNING and trial.stop is None and trial.membership
    ]
    found = []
    for number in sorted({trial.membership.generation for trial in running if trial.membership}):
        peers = [t for t in study.trials if t.membership is not None and t.membership.generation == number]
        done = [t.run_seconds for t in peers if t.reason is TrialReason.COMPLETED]
        if 2 * len(done) < settings.population_size:
            continue
        median = statistics.median(done)
        limit = max(settings.straggler_factor * median, median + _LEAST_PATIENCE_SECONDS)
        found += [(t, limit, median) for t in running if t.membership and t.membership.generation == number]
    return found


def _running_seconds(study: StudySnapshot, trial: TrialSnapshot) -> float:
    """Return how long the attempt has run; time that earlier attempts lost is not the member's fault."""
    started = trial.live.started_at if trial.live else None
    return 0.0 if started is None else (study.now - started) / timedelta(seconds=1)
