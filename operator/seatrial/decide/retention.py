"""Which checkpoints must stay: those that live lineage, the best trials and the winner need. Everything else of ended trials may go.

Only trials that are over ever lose a checkpoint by this plan, and only where every checkpoint that must stay can be named exactly; what
is not named as over is left alone: open and paused trials, those of which nothing exact is known, and all that began after the plan.
Nothing is removed here: that happens where the volume is.
"""

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from seatrial.api.algorithm import AlgorithmName, PbtSettings
from seatrial.api.conditions import TrialReason
from seatrial.api.study import StudySpec
from seatrial.api.trial import Trial
from seatrial.decide.snapshot import StudySnapshot, TrialSnapshot
from seatrial.search.algorithms import TRAITS
from seatrial.search.pareto import pareto_ranks
from seatrial.search.recommend import MOST_RECOMMENDED

__all__ = ["Need", "Needed", "Ref", "future_parents", "parse_ref", "plan_retention"]

_PATH = re.compile(r"(0|[1-9][0-9]{0,9})/step-(0|[1-9][0-9]{0,18})")
_WIRE_LIMIT = 65_536
# Members choose among trials of the last generation; stragglers lag behind by one or two.
_GENERATIONS_KEPT = 3


class Need(StrEnum):
    """Why a checkpoint must stay."""

    PARENT = "Parent"
    CANDIDATE = "Candidate"
    WINNER = "Winner"
    BEST = "Best"
    LAST = "Last"


class Ref(NamedTuple):
    """One checkpoint of a study: index of its trial, attempt that wrote it, step."""

    trial: int
    attempt: int
    step: int

    @property
    def path(self) -> str:
        """Its path below the study's checkpoints, with the trial's index for its name: ``3/0/step-27``."""
        return f"{self.trial}/{self.attempt}/step-{self.step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What of a study's checkpoints must stay.

    Attributes:
        ended: Indices of the trials of which only :attr:`keep` must stay; of all others everything must.
        keep: Why each of them must.
    """

    ended: frozenset[int] = frozenset()
    keep: Mapping[Ref, Need]

    def to_wire(self) -> str | None:
        """Return the value of ``SEATRIAL_CHECKPOINTS_NEEDED``; None when nothing may go.

        A value that would be too long for a variable leaves the earliest trials out: attempts that started before were told of them.
        """
        ended = sorted(self.ended)
        while ended:
            first = ended[0]
            keep = [ref.path for ref in sorted(self.keep) if ref.trial >= first]
            text = json.dumps({"ended": _ranges(ended), "keep": keep}, separators=(",", ":"))
            if len(text) <= _WIRE_LIMIT:
                return text
            ended = ended[(len(ended) + 1) // 2 :]
        return None


def parse_ref(trial: Trial) -> Ref | None:
    """Return the last checkpoint that a trial's record names; None when it names none, or one that only its script can find."""
    saved = trial.status.checkpoint
    found = _PATH.fullmatch(saved.path) if saved else None
    if found is None:
        return None
    return Ref(trial.spec.index, int(found[1]), int(found[2]))


def future_parents(study: StudySnapshot) -> frozenset[int]:
    """Return the trials that a later one may still start from: the last generations, and all from the hindmost member on."""
    algorithm = study.spec.algorithm
    if not TRAITS[algorithm.name.value].continues:
        return frozenset()
    size = (algorithm.pbt or PbtSettings()).population_size if algorithm.name is AlgorithmName.PBT else 1
    first = len(study.trials) - _GENERATIONS_KEPT * max(size, study.limits.parallel)
    latest = {t.membership.member: t.membership.generation for t in study.trials if t.membership}
    # One that still trains began in the generation before.
    hindmost = min(latest.values(), default=0) - 1
    return frozenset(
        trial.index
        for trial in study.trials
        if trial.index >= first or (trial.membership is not None and trial.membership.generation >= hindmost)
    )


def plan_retention(
    study: StudySnapshot,
    records: Mapping[str, Trial],
    *,
    winners: Set[int] = frozenset(),
    candidates: Set[int] = frozenset(),
) -> Needed:
    """Decide which checkpoints must stay.

    Args:
        study: The study now.
        records: Its trials by name: what they saved and what they start from.
        winners: Indices of the trials that the study's status names as best.
        candidates: Indices of trials that a later suggestion may start from, see :func:`future_parents`.
    """
    keep: dict[Ref, Need] = {}
    refs = {trial.index: parse_ref(records[trial.name]) for trial in study.trials if trial.name in records}
    ended = {trial.index for trial in study.trials if trial.terminal and _is_plain(records.get(trial.name))}
    keep_best = _keep_best(study.spec)
    # Without keepBest a record's last checkpoint stays, so that nothing that is shown anywhere leads nowhere.
    needs: list[tuple[Need, Sequence[int]]] = [
        (Need.CANDIDATE, sorted(candidates)),
        (Need.WINNER, sorted(winners)),
        (Need.BEST, _best(study, keep_best or 0)),
        (Need.LAST, [] if keep_best is not None else sorted(ended)),
    ]
    for need, indices in needs:
        for index in indices:
            ref = refs.get(index)
            if ref is not None:
                keep.setdefault(ref, need)
            else:
                ended.discard(index)
    _keep_parents(study, records, keep, ended)
    return Needed(ended=frozenset(ended), keep={ref: need for ref, need in keep.items() if ref.trial in ended})


def _keep_parents(study: StudySnapshot, records: Mapping[str, Trial], keep: dict[Ref, Need], ended: set[int]) -> None:
    """Keep what open trials start from, and whatever else cannot be named exactly of the same parents."""
    by_name = {trial.name: trial for trial in study.trials}
    for trial in study.trials:
        record = records.get(trial.name)
        if trial.terminal or record is None:
            continue
        original = by_name.get(trial.reuse_of or "")
        if original is not None:
            ended.discard(original.index)
        parent = record.spec.parent
        source = by_name.get(parent.trial) if parent is not None else None
        if parent is None or source is None:
            continue
        ref, saved = parse_ref(records[source.name]), records[source.name].status.checkpoint
        if ref is not None and saved is not None and (saved.step, saved.digest) == (parent.step, parent.digest):
            keep[ref] = Need.PARENT
        else:
            # An earlier checkpoint of it: which attempt saved that is not on record.
            ended.discard(source.index)


def _is_plain(record: Trial | None) -> bool:
    """Whether what a trial saved lies where the harness puts it, or nothing is on record."""
    return record is not None and (record.status.checkpoint is None or parse_ref(record) is not None)


def _keep_best(spec: StudySpec) -> int | None:
    settings = spec.trial.checkpoints
    return settings.keep_best if settings is not None else None


def _best(study: StudySnapshot, count: int) -> list[int]:
    """Return the best trials, those trained in full first; the points of a Pareto front always."""
    good = [trial for trial in study.trials if trial.feasible]
    if not good:
        return []
    if study.completed_at is None and TRAITS[study.spec.algorithm.name.value].chooses:
        count = max(count, MOST_RECOMMENDED)
    ranks = pareto_ranks([[value for value in trial.values if value is not None] for trial in good])
    rank_of = {trial.index: int(rank) for trial, rank in zip(good, ranks, strict=True)}
    order = sorted(good, key=lambda trial: (_is_partial(trial), rank_of[trial.index], trial.index))
    full = [trial for trial in order if not _is_partial(trial)] or order
    front = [trial for trial in full if rank_of[trial.index] == 0] if len(study.signs) > 1 else full[:1]
    return list(dict.fromkeys(trial.index for trial in [*front, *order[:count]]))


def _is_partial(trial: TrialSnapshot) -> bool:
    return trial.reason is not TrialReason.COMPLETED


def _ranges(indices: Sequence[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ranges
