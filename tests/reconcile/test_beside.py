"""Calls that do not depend on each other."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from seatrial.beside import Beside, run_beside


class Calls:
    """Calls that note when they begin and end."""

    def __init__(self) -> None:
        self.running = self.peak = 0
        self.ended: list[int] = []

    async def call(self, number: int, *, fails: bool = False) -> None:
        self.running += 1
        self.peak = max(self.peak, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self.ended.append(number)
        if fails:
            raise ValueError(f"call {number}")


@pytest.mark.parametrize("most", [1, 3, 8])
def test_no_more_run_at_a_time_than_were_asked_for_and_all_end(most: int):
    calls = Calls()

    asyncio.run(run_beside([partial(calls.call, number) for number in range(20)], most))

    assert calls.peak == most
    assert sorted(calls.ended) == list(range(20))


@pytest.mark.parametrize("most", [1, 8])
@pytest.mark.parametrize("count", [1, 5])
def test_the_first_failure_is_raised_when_all_have_ended(most: int, count: int):
    calls = Calls()

    with pytest.raises(ValueError, match=r"^call 0$"):
        asyncio.run(run_beside([partial(calls.call, number, fails=number in {0, 3}) for number in range(count)], most))

    assert calls.ended == list(range(count))


@pytest.mark.parametrize("most", [1, 8])
def test_a_failure_of_the_block_itself_goes_first(most: int):
    calls = Calls()

    async def fail() -> None:
        async with Beside(most) as beside:
            await beside.run(partial(calls.call, 0, fails=True), alone=False)
            raise KeyError("block")

    with pytest.raises(KeyError):
        asyncio.run(fail())

    assert calls.ended == [0]
