"""Errors become words and codes in one place, and a bug is never a traceback in somebody's face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seatrial.entry.cli.exits import ExitCode, guarded
from seatrial.errors import Problem, SeatrialError, SpecError, TransientError, UsageError


def _raise(error: BaseException) -> Callable[[], ExitCode]:
    def command() -> ExitCode:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (SpecError([Problem(path="spec.suspend", message="is 3", line=7)]), 2, "spec.suspend is 3\n"),
        (UsageError("no such thing"), 2, "seatrial: no such thing\n"),
        (TransientError("the disk is full"), 3, "seatrial: the disk is full\n"),
        (SeatrialError("else"), 2, "seatrial: else\n"),
        (KeyboardInterrupt(), 130, "\nseatrial: interrupted\n"),
    ],
)
def test_every_kind_of_error_has_its_code(error: BaseException, code: int, text: str, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        guarded(_raise(error))()

    assert left.value.code == code
    assert capsys.readouterr().err == text


def test_a_bug_is_told_with_the_place_of_its_traceback(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".seatrial").mkdir()

    with pytest.raises(SystemExit) as left:
        guarded(_raise(TypeError("a bug")))()

    told = capsys.readouterr().err
    assert left.value.code == 70
    assert "TypeError: a bug" in told
    assert "Traceback" not in told
    assert "TypeError: a bug" in (tmp_path / ".seatrial" / "crash.log").read_text()


def test_a_command_ends_with_the_code_that_it_returns() -> None:
    with pytest.raises(SystemExit) as left:
        guarded(lambda: ExitCode.BUSY)()

    assert left.value.code == 3
