"""From a study as written to space, settings and algorithm."""

import pytest

from seatrial.api.study import StudySpec
from seatrial.search.build import build_algorithm, build_settings, build_space
from seatrial.search.parameters import Categorical, Condition, Constant, Float, Int, Ordinal

PARAMETERS = [
    {"name": "lr", "type": "float", "min": 1e-5, "max": 1e-1, "scale": "log", "default": 0.001},
    {"name": "drop", "type": "float", "min": 0, "max": 0.5, "step": 0.1},
    {"name": "hidden", "type": "int", "min": 16, "max": 512, "step": 16},
    {"name": "batch", "type": "ordinal", "choices": [32, 64]},
    {"name": "optimizer", "type": "categorical", "choices": ["sgd", "adamw"]},
    {"name": "nesterov", "type": "constant", "value": True, "when": {"parameter": "optimizer", "in": ["sgd"]}},
]


def a_spec(**changes):
    base = {
        "objectives": [{"metric": "loss", "goal": "minimize"}],
        "parameters": PARAMETERS,
        "trial": {"template": {}},
    }
    return StudySpec.model_validate(base | changes)


def test_each_kind_of_parameter_becomes_its_own_type_with_whole_numbers_for_ints():
    space = build_space(a_spec().parameters)

    assert space.declared == (
        Float(name="lr", low=1e-5, high=1e-1, log=True, default=0.001),
        Float(name="drop", low=0.0, high=0.5, step=0.1),
        Int(name="hidden", low=16, high=512, step=16),
        Ordinal(name="batch", choices=(32, 64)),
        Categorical(name="optimizer", choices=("sgd", "adamw")),
        Constant(name="nesterov", value=True, when=Condition(parent="optimizer", values=("sgd",))),
    )
    assert type(space.by_name["hidden"].low) is int


def test_settings_are_the_algorithms_own_with_defaults_filled_in():
    spec = a_spec(
        algorithm={"name": "evolution", "seed": 7, "evolution": {"tournamentSize": 3}},
        budget={"maxTrials": 60},
        steps={"max": 27},
    )

    settings = build_settings(spec)

    assert (settings.seed, settings.objectives, settings.max_trials, settings.max_step) == (7, 1, 60, 27)
    assert settings.numbers == {"population_size": 20.0, "tournament_size": 3.0}


def test_resolutions_of_a_grid_are_kept_by_name():
    grid = {"points": 4, "resolutions": [{"parameter": "lr", "points": 3}]}

    settings = build_settings(a_spec(algorithm={"name": "grid", "grid": grid}))

    assert settings.numbers == {"points": 4.0}
    assert settings.resolutions == {"lr": 3}


@pytest.mark.parametrize("name", ["random", "grid", "tpe"])
def test_the_algorithm_is_the_one_named(name):
    algorithm = {"name": name} | ({"grid": {"points": 3}} if name == "grid" else {})
    spec = a_spec(algorithm=algorithm)

    built = build_algorithm(spec, build_space(spec.parameters))

    assert type(built).__module__.startswith("seatrial.search.algorithms.")
    assert type(built).__name__.lower().startswith(name)


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "x", "type": "float", "min": 0},
        {"name": "x", "type": "float", "min": 2, "max": 1},
        {"name": "x", "type": "float", "min": 0, "max": 1, "scale": "log"},
        {"name": "x", "type": "int", "min": 0.5, "max": 3},
        {"name": "x", "type": "categorical"},
        {"name": "x", "type": "constant"},
    ],
)
def test_a_parameter_that_lacks_what_its_type_needs_is_refused(broken):
    with pytest.raises(ValueError, match="parameter x"):
        build_space(a_spec(parameters=[broken]).parameters)
