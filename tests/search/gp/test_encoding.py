"""Rows of numbers stand for assignments, and know what is active."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.gp.spaces import BRANCHES, MIXED
from search.strategies import spaces
from seatrial.search.gp.candidates import all_over, around
from seatrial.search.gp.encoding import Encoding
from seatrial.search.gp.features import ARC_RADIUS, Features
from seatrial.search.gp.optimise import single_changes


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_a_row_decodes_to_what_the_space_decodes(space, seed):
    encoding = Encoding(space)
    columns = [space.position[p.name] for p in encoding.free]
    cube = np.random.default_rng(seed).random((20, len(space)))

    rows = encoding.from_cube(cube[:, columns])

    for row, u in zip(rows, cube, strict=True):
        decoded, expected = encoding.decode(row), space.from_unit(u)
        assert decoded.keys() == expected.keys()
        for name, value in expected.items():
            assert decoded[name] == pytest.approx(value) if isinstance(value, float) else decoded[name] == value


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_encoding_what_a_row_decodes_to_gives_the_row_back(space, seed):
    encoding = Encoding(space)
    rows = all_over(encoding, 20, np.random.default_rng(seed))

    np.testing.assert_allclose(encoding.encode(encoding.decode(row) for row in rows), rows, atol=1e-9)
    np.testing.assert_allclose(encoding.canonical(rows), rows, atol=1e-12)


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_active_columns_are_the_parameters_of_the_assignment(space, seed):
    encoding = Encoding(space)
    rows = all_over(encoding, 20, np.random.default_rng(seed))

    for row, active in zip(rows, encoding.active(rows), strict=True):
        assignment = encoding.decode(row)
        assert [p.name for p, on in zip(encoding.free, active, strict=True) if on] == [
            p.name for p in encoding.free if p.name in assignment
        ]


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_candidates_and_single_changes_are_points_of_the_space(space, seed):
    encoding, rng = Encoding(space), np.random.default_rng(seed)
    if not encoding.width:
        return
    parents = all_over(encoding, 3, rng)

    for row in [*around(encoding, parents, 20, rng), *single_changes(encoding, parents[0])]:
        assert space.problems(encoding.decode(row)) == []
        np.testing.assert_allclose(encoding.encode([encoding.decode(row)])[0], row, atol=1e-9)


def test_a_single_change_wakes_up_what_the_new_choice_activates():
    encoding = Encoding(BRANCHES)
    [row] = encoding.encode([{"model": "svm", "c": 0.25}])

    changed = [encoding.decode(x) for x in single_changes(encoding, row)]

    # The middle of two choices is the second one, which activates a depth in its middle.
    assert changed == [{"model": "forest", "rule": "entropy", "depth": 5}, {"model": "knn"}]


def test_a_single_change_takes_every_level_of_a_short_range_and_the_neighbours_in_a_long_one():
    encoding = Encoding(MIXED)
    [row] = encoding.encode([{"lr": 0.01, "hidden": 100, "batch": 64, "optimizer": "adamw", "epochs": 9}])

    changed = [encoding.decode(x) for x in single_changes(encoding, row)]

    assert [a["hidden"] for a in changed if a["hidden"] != 100] == [98, 99, 101, 102]
    assert [a["batch"] for a in changed if a["batch"] != 64] == [32, 128, 256]
    assert [a["optimizer"] for a in changed if a["optimizer"] != "adamw"] == ["sgd", "lion"]


def distance(a, b):
    """Return the sum of all D_j of two assignments in BRANCHES."""
    features = Features(Encoding(BRANCHES))
    return float(features.distances(features(features.encoding.encode([a, b]))).sum())


def test_two_active_numbers_are_about_as_far_apart_as_they_differ():
    chord = 2 * ARC_RADIUS**2 * (1 - np.cos(0.3 / ARC_RADIUS))

    assert distance({"model": "svm", "c": 0.2}, {"model": "svm", "c": 0.5}) == pytest.approx(chord)
    assert chord == pytest.approx(0.3**2, rel=0.02)


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0])
def test_an_active_number_is_equally_far_from_every_branch_without_it(c):
    # The model differs (1), and so does whether c is active.
    assert distance({"model": "svm", "c": c}, {"model": "knn"}) == pytest.approx(1 + ARC_RADIUS**2)


def test_an_inactive_choice_is_a_code_of_its_own():
    assert distance({"model": "knn"}, {"model": "forest", "rule": "gini"}) == pytest.approx(2.0)
    assert distance({"model": "knn"}, {"model": "knn"}) == 0.0


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_derivatives_of_the_features_are_those_of_finite_differences(space, seed):
    encoding = Encoding(space)
    features = Features(encoding)
    X = all_over(encoding, 3, np.random.default_rng(seed))
    active = encoding.active(X)
    for j in np.flatnonzero(~encoding.categorical & ~encoding.parents):
        step = np.zeros(encoding.width)
        step[j] = 1e-6
        numeric = (features(X + step) - features(X - step)) / 2e-6
        own = features.owner == j

        expected = np.where(active[:, [j]], features.derivative(X)[:, own], numeric[:, own])
        np.testing.assert_allclose(numeric[:, own], expected, atol=1e-7)
        assert not numeric[:, ~own].any()
