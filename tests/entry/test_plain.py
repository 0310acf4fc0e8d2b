"""Progress as lines: golden for the rehearsal, summed up when trials are tiny."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from decide.builders import NOON
from entry.rehearsal import digits_study, rehearse
from seatrial.api.conditions import TrialReason
from seatrial.entry.cli.cells import ASCII
from seatrial.entry.cli.chronicle import Chronicle, Event, EventKind
from seatrial.entry.cli.plain import PlainLines

GOLDEN = Path(__file__).parent / "golden"


def test_plain_progress_reads_as_it_did() -> None:
    chronicle, lines = Chronicle(), []
    looks = rehearse(digits_study())
    plain = PlainLines(metrics=["val_accuracy"], since=looks[0].snapshot.now)
    for look in looks:
        lines += plain.tell(chronicle.see(look), look.snapshot.now)
    lines += plain.flush(looks[-1].snapshot.now)

    assert "".join(f"{line}\n" for line in lines) == (GOLDEN / "plain.txt").read_text()


def ended(index: int, value: float, *, best: bool = False, outcome: TrialReason = TrialReason.COMPLETED) -> Event:
    return Event(
        kind=EventKind.ENDED, at=NOON, trial=f"s-{index}", outcome=outcome, values=(value,), best=best, text="x=1"
    )


def test_a_flood_of_tiny_trials_becomes_one_line_a_second() -> None:
    plain = PlainLines(metrics=["loss"], since=NOON)
    lines, told = [], 0
    for tick in range(50):  # ten seconds of a hundred trials a second
        now = NOON + timedelta(seconds=0.2 * tick)
        events = [ended(20 * tick + i, 1.0, best=tick == 30 and i == 0) for i in range(20)]
        told += len(events)
        lines += plain.tell(events, now)
    lines += plain.flush(NOON + timedelta(seconds=10))

    single = [line for line in lines if "s-" in line and " completed loss" in line and ";" not in line]
    summed = [line for line in lines if line not in single]
    counted = sum(int(line.split("] ")[1].split()[0]) for line in summed)
    assert len(single) + counted == told
    assert len(lines) < 20 + 12  # the first ones singly, then one a second
    assert any("best so far s-600 loss 1" in line for line in summed)


def test_what_concerns_the_study_is_never_held_back() -> None:
    plain = PlainLines(metrics=["loss"], since=NOON)
    plain.tell([ended(i, 1.0) for i in range(60)], NOON)

    lines = plain.tell([Event(kind=EventKind.STUDY, at=NOON, text="The study is complete.")], NOON)

    assert [line.split("] ")[1] for line in lines] == ["40 completed", "The study is complete."]


def test_the_last_failure_of_a_flood_is_named() -> None:
    plain = PlainLines(metrics=["loss"], since=NOON)
    flood = [ended(i, 1.0) for i in range(30)] + [ended(30, 1.0, outcome=TrialReason.FAILED)]

    plain.tell(flood, NOON)

    assert plain.flush(NOON) == ["[    0.0s] 10 completed, 1 failed; last failure s-30: x=1"]


def test_a_line_is_one_line_in_what_the_output_can_show() -> None:
    plain = PlainLines(metrics=["loss"], since=NOON, signs=ASCII)
    event = Event(
        kind=EventKind.ENDED, at=NOON, trial="s-0", outcome=TrialReason.FAILED, text="Traceback…\n\x1b[1mNaN\x1b[0m"
    )

    assert plain.tell([event], NOON) == ["[    0.0s] s-0 failed: Traceback... [1mNaN [0m"]
