"""How scrapes become curves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics_cluster.worlds import points
from seatrial.adapters.metrics.names import CurveTable
from seatrial.adapters.metrics.scraped import Scrape, ScrapedTrial


def a_trial(*rungs: int) -> ScrapedTrial:
    return ScrapedTrial(lambda: CurveTable({"loss"}, rungs=rungs, window=5, most_others=3))


def seen(step: int | None, loss: float, **rungs: float) -> Scrape:
    """A scrape; ``r3=0.5`` is the value at rung 3."""
    exact = {("loss", int(name[1:])): value for name, value in rungs.items()}
    return Scrape(step=step, metrics={"loss": loss}, rungs=exact)


def test_a_scrape_adds_a_point_when_the_step_moved():
    trial = a_trial()

    for scrape in (seen(1, 0.9), seen(1, 0.9), seen(4, 0.5)):
        trial.take(0, scrape)

    assert points(trial.build()["loss"]) == [(1, 0.9), (4, 0.5)]
    assert trial.build()["loss"].count == 2


def test_a_later_value_of_the_same_step_wins():
    trial = a_trial()

    trial.take(0, seen(2, 0.9))
    trial.take(0, seen(2, 0.8))

    assert points(trial.build()["loss"]) == [(2, 0.8)]


def test_rungs_between_two_scrapes_are_exact():
    trial = a_trial(1, 3, 9)

    trial.take(0, seen(2, 0.7, r1=0.9))
    trial.take(0, seen(11, 0.2, r1=0.9, r3=0.5, r9=0.3))

    assert points(trial.build()["loss"]) == [(1, 0.9), (2, 0.7), (3, 0.5), (9, 0.3), (11, 0.2)]


def test_a_rung_that_was_told_while_the_scrape_was_written_counts_at_the_next_one():
    trial = a_trial(3)

    trial.take(0, seen(2, 0.7, r3=0.5))
    trial.take(0, Scrape(step=5, metrics={"loss": 0.4}))

    assert points(trial.build()["loss"]) == [(2, 0.7), (3, 0.5), (5, 0.4)]


def test_a_step_backwards_forgets_what_is_trained_again_and_no_stale_rung_comes_back():
    trial = a_trial(3, 9)
    trial.take(0, seen(10, 0.2, r3=0.5, r9=0.3))

    trial.take(0, seen(4, 0.6, r3=0.5, r9=0.3))
    backwards = points(trial.build()["loss"])
    trial.take(0, seen(12, 0.1, r3=0.5, r9=0.25))

    assert backwards == [(3, 0.5), (4, 0.6)]
    assert points(trial.build()["loss"]) == [(3, 0.5), (4, 0.6), (9, 0.25), (12, 0.1)]
    assert trial.restarts == 1


def test_a_rung_that_has_the_same_value_again_after_a_restart_is_kept():
    trial = a_trial(3, 9)
    trial.take(0, seen(10, 0.2, r3=0.5, r9=0.3))
    trial.take(0, seen(4, 0.6, r3=0.5, r9=0.3))

    trial.take(0, Scrape(step=12, metrics={"loss": 0.1}))

    assert points(trial.build()["loss"]) == [(3, 0.5), (4, 0.6), (9, 0.3), (12, 0.1)]


def test_a_new_attempt_goes_on_and_a_late_scrape_of_the_old_one_does_not_count():
    trial = a_trial()
    trial.take(0, seen(5, 0.5))
    trial.take(0, seen(8, 0.4))

    trial.take(1, seen(6, 0.45))
    trial.take(0, seen(9, 0.1))

    assert points(trial.build()["loss"]) == [(5, 0.5), (6, 0.45)]


def test_without_steps_each_change_of_a_value_is_one():
    trial = a_trial()

    for loss in (0.9, 0.9, 0.8, math.nan, math.nan, 0.7):
        trial.take(0, seen(None, loss))

    assert [step for step, _ in points(trial.build()["loss"])] == [1, 2, 3, 4]
    assert math.isnan(points(trial.build()["loss"])[2][1])


def test_metrics_beyond_the_bound_are_named_and_objectives_always_have_a_place():
    trial = a_trial()

    trial.take(0, Scrape(step=1, metrics={f"m{i}": 1.0 for i in range(1000)}))
    trial.take(0, seen(2, 0.5))

    assert set(trial.build()) == {"m0", "m1", "m2", "loss"}
    assert len(trial.dropped) == 10


@pytest.mark.slow
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.data())
def test_whatever_scrapes_catch_the_rungs_of_a_training_are_exact(picks: list[int], data: st.DataObject):
    """A training of steps 1..30; scrapes catch some of its steps, in order."""
    rungs = (1, 3, 9, 27)
    trial = a_trial(*rungs)
    caught = sorted({pick for pick in picks if pick > 0} | {30})

    for step in caught:
        shown = {("loss", rung): -float(rung) for rung in rungs if rung <= step}
        trial.take(0, Scrape(step=step, metrics={"loss": -float(step)}, rungs=shown))

    curve = trial.build()["loss"]
    assert points(curve) == [(s, -float(s)) for s in sorted({*caught, *rungs})]
