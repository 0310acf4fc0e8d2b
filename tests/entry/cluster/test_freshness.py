"""Signs of life, on a clock that the test moves."""

import pytest

from seatrial.entry.cluster.freshness import Freshness, Stale


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_is_fresh_until_its_bound_is_passed_and_again_when_it_beats():
    clock = Clock()
    loops = Freshness(clock)
    loops.expect("lease", 30)

    clock.now += 30
    assert loops.stale() == ()

    clock.now += 1
    assert loops.stale() == (Stale(name="lease", age_seconds=31, bound_seconds=30),)
    assert str(loops.stale()[0]) == "lease has shown no life for 31 s (at most 30 s)"

    loops.beat("lease")
    assert loops.stale() == ()


def test_all_stale_loops_are_named_in_order():
    clock = Clock()
    loops = Freshness(clock)
    for name, bound in (("trials", 10), ("pods", 10), ("lease", 1000)):
        loops.expect(name, bound)

    clock.now += 11

    assert [loop.name for loop in loops.stale()] == ["pods", "trials"]


def test_a_worker_is_stale_only_while_its_work_takes_too_long():
    clock = Clock()
    loops = Freshness(clock)
    with loops.busy("worker", 60):
        clock.now += 61
        during = loops.stale()
    clock.now += 1000

    assert [loop.name for loop in during] == ["worker"]
    assert loops.stale() == ()


def test_nothing_more_is_expected_of_work_that_ended_by_an_error():
    clock = Clock()
    loops = Freshness(clock)
    with pytest.raises(RuntimeError), loops.busy("worker", 60):
        raise RuntimeError
    clock.now += 1000

    assert loops.stale() == ()


def test_a_forgotten_loop_is_never_stale():
    clock = Clock()
    loops = Freshness(clock)
    loops.expect("lease", 1)
    loops.forget("lease")
    clock.now += 1000

    assert loops.stale() == ()
    assert loops.ages() == {}


def test_a_beat_of_a_loop_that_nobody_expects_is_a_bug():
    with pytest.raises(KeyError, match="never expected"):
        Freshness(Clock()).beat("lease")


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_must_be_positive(bound: int):
    with pytest.raises(ValueError, match="must be positive"):
        Freshness(Clock()).expect("lease", bound)
