"""That what looks at an operator's log sees the errors in it, in whatever way the operator writes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.hostile.watching import find_bugs
from seatrial.entry.cluster.logs import LogFormat, set_up_logs


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The file to which everything that is logged goes, as an operator writes it."""
    root, own = logging.getLogger(), logging.getLogger("seatrial")
    handlers, levels = [*root.handlers], (root.level, own.level)
    path = tmp_path / "operator.log"
    with path.open("w") as stream:
        set_up_logs(LogFormat.JSON, "info", stream)
        yield path
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


@pytest.mark.parametrize("name", ["seatrial.entry.cluster.worker", "kopf.objects", "asyncio"])
def test_an_error_and_an_exception_are_found_whoever_logs_them(log: Path, name: str) -> None:
    logger = logging.getLogger(name)
    logger.info("Well")
    logger.warning("Hm")
    logger.error("Wrong")
    logger.critical("Worse")
    try:
        int("x")
    except ValueError:
        logger.exception("Broken")

    found = find_bugs(log)
    assert [words in line for words, line in zip(["Wrong", "Worse", "ValueError"], found, strict=True)] == [True] * 3


def test_what_is_no_line_of_a_log_is_found(log: Path) -> None:
    logging.getLogger("seatrial").info("Well")
    log.write_text(log.read_text() + "Traceback (most recent call last):\n")

    assert find_bugs(log) == ["Traceback (most recent call last):"]


def test_a_call_that_kopf_makes_again_is_no_bug_and_one_that_it_gives_up_is(log: Path) -> None:
    logger = logging.getLogger("kopf._cogs.clients.api")
    logger.error("Request attempt #1/9 failed; will retry: GET /apis -> TimeoutError()")
    logger.error("Request attempt #9/9 failed; escalating: GET /apis -> TimeoutError()")

    (found,) = find_bugs(log)
    assert "escalating" in found
