"""Where a trial's weights come from: the family tree of a study, the line of one trial, and the schedule that this line followed.

Everything is read from the trials' own records; nothing is kept beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from seatrial.api.base import Assignment
from seatrial.api.study import Study
from seatrial.api.trial import Trial

__all__ = ["Stretch", "build_replay", "build_schedule", "build_stretches", "line_of", "schedule_document"]

_NAME_LIMIT = 52


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One trial as a part of a training.

    Attributes:
        trial: Its record.
        source: Index of the trial from whose checkpoint it started, None when it started anew.
        from_step: Step of that checkpoint, 0 when it started anew.
        to_step: Step that it reached, or is to reach; None when neither is known.
        member: Number of its member; trials outside of a population are members 0.
        move: start, continue, exploit or replace.
    """

    trial: Trial
    source: int | None
    from_step: int
    to_step: int | None
    member: int
    move: str

    @property
    def index(self) -> int:
        """Index of the trial."""
        return self.trial.spec.index

    @property
    def assignment(self) -> Assignment:
        """What it was trained with."""
        return self.trial.spec.assignment


def build_stretches(trials: Sequence[Trial]) -> tuple[Stretch, ...]:
    """Return all trials as stretches, by index."""
    by_name = {trial.metadata.name: trial for trial in trials}
    return tuple(_stretch(trial, by_name) for trial in sorted(trials, key=lambda trial: trial.spec.index))


def _stretch(trial: Trial, by_name: Mapping[str, Trial]) -> Stretch:
    parent, place, seen = trial.spec.parent, trial.spec.membership, trial.status.observation
    source = by_name.get(parent.trial) if parent else None
    reached = seen.step if seen and seen.step is not None else trial.spec.until_step
    return Stretch(
        trial=trial,
        source=source.spec.index if source else None,
        from_step=parent.step if parent else 0,
        to_step=reached,
        member=place.member if place else 0,
        move=place.move if place else "continue" if parent else "start",
    )


def line_of(stretches: Sequence[Stretch], index: int) -> tuple[Stretch, ...]:
    """Return the ancestors of a trial and itself, the oldest first; the line begins later where a record is gone.

    Raises:
        KeyError: If there is no trial of that index.
    """
    by_index = {stretch.index: stretch for stretch in stretches}
    line = [by_index[index]]
    # A parent is always older than its child: this ends.
    while (source := line[-1].source) is not None and source < line[-1].index:
        line.append(by_index[source])
    return tuple(reversed(line))


def build_schedule(line: Sequence[Stretch]) -> tuple[tuple[int, Assignment], ...]:
    """Return (until step, assignment) of each part of a line; neighbours with the same assignment are one part.

    A stretch counts up to the checkpoint from which the next one started.
    """
    parts: list[tuple[int, Assignment]] = []
    for stretch, following in zip(line, [*line[1:], None], strict=True):
        until = following.from_step if following else stretch.to_step
        if until is None or until <= stretch.from_step:
            continue
        if parts and parts[-1][1] == stretch.assignment:
            parts.pop()
        parts.append((until, stretch.assignment))
    return tuple(parts)


def schedule_document(schedule: Sequence[tuple[int, Assignment]]) -> list[JsonValue]:
    """Return a schedule as ``algorithm.replay.schedule`` takes it."""
    return [{"untilStep": until, "parameters": dict(assignment)} for until, assignment in schedule]


def build_replay(study: Study, schedule: Sequence[tuple[int, Assignment]]) -> dict[str, JsonValue]:
    """Return a study, as its file, that trains one model along *schedule*; everything else is as in *study*."""
    spec = study.spec.to_wire()
    for name in ("initialTrials", "stopping", "suspend"):
        spec.pop(name, None)
    budget = {k: v for k, v in (spec.get("budget") or {}).items() if k not in {"maxTrials", "parallelTrials"}}
    if budget:
        spec["budget"] = budget
    else:
        spec.pop("budget", None)
    replay = {"schedule": schedule_document(schedule)}
    spec["algorithm"] = {"name": "replay", "seed": study.spec.algorithm.seed, "replay": replay}
    name = f"{study.metadata.name[: _NAME_LIMIT - len('-replay')].rstrip('-.')}-replay"
    metadata: dict[str, JsonValue] = {"name": name}
    if study.metadata.namespace:
        metadata["namespace"] = study.metadata.namespace
    return {"apiVersion": study.api_version, "kind": study.kind, "metadata": metadata, "spec": spec}
