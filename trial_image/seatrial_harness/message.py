"""The termination message: one JSON object of at most 2,048 bytes, whatever was reported.

Pure. What is cut, and in which order, is docs/wire.md: the curve, then metrics that are no objective, then the text.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from seatrial_harness import wire
from seatrial_harness.record import Record, Tally

__all__ = ["CheckpointMark", "Ending", "Status", "build_message"]

_TEXT_LIMIT = 1000
_OTHERS_LIMIT = 24


class Status(StrEnum):
    """How a trial ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    PAUSED = "paused"
    DIVERGED = "diverged"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointMark:
    """Names the newest checkpoint: its step, digest and folder."""

    step: int
    digest: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a trial has to say at its end.

    Attributes:
        reason: One word for machines that explains a failure; may be empty.
        freed_bytes: What the removal of checkpoints that nothing needs has freed.
    """

    status: Status
    record: Record
    checkpoint: CheckpointMark | None = None
    text: str = ""
    reason: str = ""
    freed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """How much of each part is let in."""

    points: int | None
    others: int
    text: int
    objectives: int


def build_message(ending: Ending, limit: int = wire.TERMINATION_LIMIT_BYTES) -> bytes:
    """Return the message as UTF-8, at most *limit* bytes, with NaN and infinities as bare words.

    Raises:
        ValueError: If *limit* is too small for even the status.
    """
    for room in _ever_less_room(ending):
        encoded = json.dumps(_document(ending, room), ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
        if len(encoded) <= limit:
            return encoded
    raise ValueError(f"the termination message's limit is {limit} bytes, too few for its status")


def _ever_less_room(ending: Ending) -> Iterator[_Room]:
    objectives = len(ending.record.objectives)
    others = min(_OTHERS_LIMIT, len(ending.record.tallies))
    for points in (None, 64, 32, 16, 8):
        yield _Room(points=points, others=others, text=_TEXT_LIMIT, objectives=objectives)
    for fewer in range(others - 1, -1, -1):
        yield _Room(points=8, others=fewer, text=_TEXT_LIMIT, objectives=objectives)
    for points, text in ((8, 500), (8, 250), (2, 250), (0, 250), (0, 100), (0, 0)):
        yield _Room(points=points, others=0, text=text, objectives=objectives)
    for fewer in range(objectives - 1, -1, -1):
        yield _Room(points=0, others=0, text=0, objectives=fewer)


def _document(ending: Ending, room: _Room) -> dict[str, object]:
    record = ending.record
    document: dict[str, object] = {"v": 1, "status": ending.status.value}
    if ending.reason:
        document["reason"] = ending.reason
    if record.step is not None:
        document["step"] = record.step
    objectives = [name for name in record.objectives if name in record.tallies][: room.objectives]
    others = [name for name in record.tallies if name not in record.objectives][: room.others]
    document["metrics"] = {name: _summary(record.tallies[name]) for name in [*objectives, *others]}
    if record.curve is not None and room.points != 0:
        points = record.curve.points(room.points)
        document["curve"] = {"metric": record.curve.metric, "points": [list(point) for point in points]}
    if ending.checkpoint is not None:
        document["checkpoint"] = {
            "step": ending.checkpoint.step,
            "digest": ending.checkpoint.digest,
            "path": ending.checkpoint.path,
        }
    if ending.freed_bytes:
        document["freedBytes"] = ending.freed_bytes
    document["stepsTrained"] = record.steps_trained
    document["message"] = clip(ending.text, room.text)
    return document


def _summary(tally: Tally) -> dict[str, float]:
    summary: dict[str, float] = {"last": tally.last, "lastStep": tally.last_step}
    # No finite value was ever reported: there is no extreme to tell.
    if tally.min <= tally.max:
        summary |= {"min": tally.min, "max": tally.max, "minStep": tally.min_step, "maxStep": tally.max_step}
    return summary


def clip(text: str, limit: int) -> str:
    """Return *text* within *limit* UTF-8 bytes, its middle replaced by `` … `` where it is longer."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    half = (limit - 5) // 2
    if half <= 0:
        return ""
    return encoded[:half].decode("utf-8", "ignore") + " … " + encoded[-half:].decode("utf-8", "ignore")
