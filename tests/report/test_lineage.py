"""The family tree and the schedule of a population."""

from functools import partial

import pytest

from decide.builders import a_study
from reconcile.simulation import World, at_once
from reconcile.simulation import trained as ordinary
from reconcile.test_population import a_population, rough, trained
from seatrial.report.figures import plot_schedule, plot_tree
from seatrial.report.view import build_view


def view_of(world: World):
    return build_view(at_once(world.store.read_study(world.key)), world.records(), {}, world.clock.now())


@pytest.fixture(scope="module")
def population():
    return World(a_population(), script=trained).run()


def lines(trace):
    """Return the pieces of a trace that gaps divide."""
    pieces, piece = [], []
    for point in zip(trace["x"], trace["y"], strict=True):
        if point[0] is None:
            pieces.append(piece)
            piece = []
        else:
            piece.append(point)
    return pieces


def test_the_tree_draws_every_trial_in_its_member_s_row_and_the_winner_s_line_without_a_gap(population):
    plot = plot_tree(view_of(population))

    traces = {trace["name"]: trace for trace in plot.choices[0].wide["data"]}
    expected = [
        [
            (0 if t.spec.parent is None else t.spec.parent.step, t.spec.membership.member),
            (t.spec.until_step, t.spec.membership.member),
        ]
        for t in population.records()
    ]
    assert lines(traces["goes on"]) == expected
    winner = lines(traces["the winner's line"])
    steps = sorted({x for piece in winner for x, _ in piece})
    assert steps == [0, 3, 6, 9]
    marked = [index for trace in traces.values() for index in trace.get("customdata", [])]
    assert sorted(marked) == list(range(12))


def test_the_schedule_follows_the_winner_s_line(population):
    view = view_of(population)
    plot = plot_schedule(view)

    [choice] = plot.choices
    line = next(trace for trace in choice.wide["data"] if trace["name"] == "the winner's line")
    by_step = dict(zip(line["x"][1::2], line["y"][1::2], strict=False))
    assert by_step[9] == pytest.approx(view.winner.assignment["lr"], rel=1e-5)
    assert [x for x in line["x"] if x is not None] == [0, 3, 3, 6, 6, 9]


def test_a_rough_population_is_drawn_whole():
    view = view_of(World(a_population(), script=partial(rough, seed=11)).run())

    plot = plot_tree(view)

    marked = [index for trace in plot.choices[0].wide["data"] for index in trace.get("customdata", [])]
    assert sorted(marked) == [trial.index for trial in view.trials]


def test_a_study_without_checkpoints_to_start_from_has_neither():
    view = view_of(World(a_study(budget={"maxTrials": 3}), script=ordinary).run())

    assert plot_tree(view) is None
    assert plot_schedule(view) is None
