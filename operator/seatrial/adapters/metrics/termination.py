"""The termination message: from bytes of unknown goodness to a report, or to nothing and a note why.

Pure, and never raises: a trial may write anything. docs/wire.md says what it should write.
"""

import json
import math
import re
from collections.abc import Mapping

from seatrial.decide.attempts import FinalMetric, Report, ReportStatus, SavedCheckpoint

__all__ = ["LIMIT_BYTES", "clean_text", "parse_report"]

LIMIT_BYTES = 4096
"""The kubelet keeps so much of a termination message; a laptop does the same."""

_MOST_METRICS = 256
# Signs that would move a terminal's cursor, and halves of characters that no file can hold. Line ends and tabs are harmless.
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_REASON = re.compile(r"[A-Z][A-Za-z]{0,62}")
_MOST_POINTS = 1024
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SDK_KEYS = frozenset({"v", "status", "metrics"})


def clean_text(text: str) -> str:
    """Return a text of a stranger in a form that can be stored and shown: control characters and half characters become U+FFFD."""
    return _UNFIT.sub("\ufffd", text.replace("\r\n", "\n"))


def parse_report(raw: bytes) -> tuple[Report | None, str]:
    """Return the report and an empty note, or None and a note that says what is wrong.

    Args:
        raw: The message; what goes beyond :data:`LIMIT_BYTES` is not looked at.

    Returns:
        ``(None, "")`` when the message is empty: many programs write none.
    """
    if not raw.strip():
        return None, ""
    cut = len(raw) > LIMIT_BYTES
    try:
        document = json.loads(raw[:LIMIT_BYTES].decode("utf-8"))
    except (ValueError, RecursionError):
        why = f"is longer than {LIMIT_BYTES} bytes and was cut" if cut else f"is not one JSON object{_cut_hint(raw)}"
        return None, f"the termination message {why}; it was ignored"
    if not isinstance(document, dict):
        return None, "the termination message is JSON, but no object; it was ignored"
    if not (_SDK_KEYS & document.keys()):
        return _minimal(document)
    return _full(document)


def _cut_hint(raw: bytes) -> str:
    if len(raw) < 1024:
        return ""
    return ", or was cut: Kubernetes keeps the last 4 KiB of a file, and 12 KiB for all containers of a Pod together"


def _minimal(document: Mapping[str, object]) -> tuple[Report | None, str]:
    step = _integer(document.get("step"))
    metrics = [
        FinalMetric(name=name, last=value, last_step=step)
        for name, written in document.items()
        if name != "step" and (value := _number(written)) is not None
    ]
    if not metrics:
        return None, "the termination message has no number in it; it was ignored"
    return Report(step=step, metrics=tuple(metrics[:_MOST_METRICS])), ""


def _full(document: Mapping[str, object]) -> tuple[Report | None, str]:
    notes = []
    status: ReportStatus | None = None
    said = document.get("status")
    if said is not None:
        try:
            status = ReportStatus(str(said))
        except ValueError:
            known = ", ".join(ReportStatus)
            notes.append(f"the termination message has status {str(said)[:40]!r}, but must have one of: {known}")
    written = document.get("metrics")
    metrics = _metrics(written) if isinstance(written, dict) else ()
    message = document.get("message")
    report = Report(
        status=status,
        reason=_reason(document.get("reason")),
        step=_integer(document.get("step")),
        metrics=metrics,
        curve=_curve(document.get("curve")),
        checkpoint=_checkpoint(document.get("checkpoint")),
        freed_bytes=max(0, _integer(document.get("freedBytes")) or 0),
        steps_trained=_count(document.get("stepsTrained")),
        message=clean_text(message) if isinstance(message, str) else "",
    )
    return report, "; ".join(notes)


def _metrics(written: Mapping[str, object]) -> tuple[FinalMetric, ...]:
    found = []
    for name, summary in list(written.items())[:_MOST_METRICS]:
        fields = summary if isinstance(summary, dict) else {"last": summary}
        last = _number(fields.get("last"))
        if last is not None:
            found.append(
                FinalMetric(
                    name=name,
                    last=last,
                    low=_number(fields.get("min")),
                    high=_number(fields.get("max")),
                    low_step=_integer(fields.get("minStep")),
                    high_step=_integer(fields.get("maxStep")),
                    last_step=_integer(fields.get("lastStep")),
                )
            )
    return tuple(found)


def _curve(written: object) -> tuple[tuple[int, float], ...]:
    points = written.get("points") if isinstance(written, dict) else None
    found: list[tuple[int, float]] = []
    for point in points[:_MOST_POINTS] if isinstance(points, list) else ():
        if not isinstance(point, list) or len(point) != 2:
            continue
        step, value = _integer(point[0]), _number(point[1])
        if step is not None and value is not None:
            found.append((step, value))
    return tuple(found)


def _reason(written: object) -> str:
    return written if isinstance(written, str) and _REASON.fullmatch(written) else ""


def _checkpoint(written: object) -> SavedCheckpoint | None:
    if not isinstance(written, dict):
        return None
    step, digest, path = _integer(written.get("step")), written.get("digest"), written.get("path")
    if step is None or step < 0 or not isinstance(digest, str) or not isinstance(path, str):
        return None
    return SavedCheckpoint(step=step, digest=clean_text(digest)[:80], path=clean_text(path)[:1024])


def _count(written: object) -> int | None:
    number = _integer(written)
    return None if number is None or number < 0 else number


def _number(written: object) -> float | None:
    if isinstance(written, str):
        return _WORDS.get(written)
    if isinstance(written, bool) or not isinstance(written, int | float):
        return None
    try:
        return float(written)
    except OverflowError:
        return math.inf if written > 0 else -math.inf


def _integer(written: object) -> int | None:
    number = _number(written)
    # Steps beyond 2^53 are no steps: JSON numbers of that size are not exact.
    if number is None or not math.isfinite(number) or number != int(number) or abs(number) > 2**53:
        return None
    return int(number)
