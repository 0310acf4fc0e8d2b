"""What a point promises."""

import numpy as np
import pytest

from search.gp.spaces import BRANCHES, LINE, MIXED
from seatrial.search.gp.acquisition import Acquisition, Limit, log_improvement
from seatrial.search.gp.candidates import all_over
from seatrial.search.gp.encoding import Encoding
from seatrial.search.gp.features import Features
from seatrial.search.gp.kernel import Kernel
from seatrial.search.gp.optimise import NEAR, apart_first, most_promising
from seatrial.search.gp.posterior import condition


# Sixty digits of log(phi(z) + z Phi(z)), rounded; the last two by the expansion phi(z) / z^2 (1 - 3 / z^2 + 15 / z^4).
@pytest.mark.parametrize(
    ("z", "expected"),
    [
        (3.0, 1.0987396653277077727),
        (1.0, 0.080026218849306940029),
        (0.0, -0.91893853320467274178),
        (-1.0, -2.4851210257126413368),
        (-1.0001, -2.4853114564458833408),
        (-5.0, -16.744301162660990143),
        (-40.0, -808.29856835661996024),
        (-1000.0, -500014.73445209115845),
        (-1e5, -5000000023.9447894634),
        (-1e7, -50000000000033.15513),
    ],
)
def test_log_of_the_improvement_has_all_digits_however_small_it_is(z, expected):
    assert log_improvement(np.array([z]))[0][0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("z", [4.0, 0.3, -0.9, -1.1, -6.0, -300.0])
def test_slope_of_the_log_of_the_improvement_is_that_of_finite_differences(z):
    step = 1e-5 * max(1.0, abs(z))
    up, down = (log_improvement(np.array([z + s]))[0][0] for s in (step, -step))

    assert log_improvement(np.array([z]))[1][0] == pytest.approx((up - down) / (2 * step), rel=1e-5)


def an_acquisition(space, *, limited=False, seeking=True, pull=0.1, seed=0):
    """An acquisition function on a few random observations with two trials running."""
    encoding, rng = Encoding(space), np.random.default_rng(seed)
    features = Features(encoding)
    F = features(all_over(encoding, 12, rng))
    kernel = Kernel(encoding.width, features.owner)
    hyper = kernel.hyper(kernel.prior_mean)
    model = condition(kernel, hyper, F[:10], rng.normal(size=10))
    other = condition(kernel, hyper, F[:10], rng.normal(size=10))
    return Acquisition(
        encoding=encoding,
        features=features,
        model=model.with_pending(F[10:], rng.standard_normal((2, 4))),
        incumbent=np.full(4, -1.0) if seeking else None,
        limits=(Limit(model=other, threshold=0.3),) if limited else (),
        pull=pull,
        centre=encoding.centre,
    )


@pytest.mark.parametrize("space", [MIXED, BRANCHES], ids=["mixed", "branches"])
@pytest.mark.parametrize(
    "options",
    [{}, {"limited": True}, {"limited": True, "seeking": False}, {"pull": 3.0}],
    ids=str,
)
def test_gradient_is_that_of_finite_differences(space, options):
    acquisition = an_acquisition(space, **options)
    encoding = acquisition.encoding
    X = all_over(encoding, 6, np.random.default_rng(5))

    value, gradient = acquisition.with_gradient(X)

    np.testing.assert_allclose(value, acquisition(X))
    for j in np.flatnonzero(~encoding.categorical & ~encoding.parents):
        step = np.zeros(encoding.width)
        step[j] = 1e-5
        numeric = (acquisition(X + step) - acquisition(X - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, j], numeric, rtol=1e-4, atol=1e-4)


def test_a_constraint_lowers_the_promise_by_the_logarithm_of_its_probability():
    X = all_over(Encoding(MIXED), 6, np.random.default_rng(5))

    free, limited = an_acquisition(MIXED), an_acquisition(MIXED, limited=True)

    only = an_acquisition(MIXED, limited=True, seeking=False, pull=0.0)
    np.testing.assert_allclose(limited(X) - free(X), only(X), atol=1e-9)
    assert (only(X) < 0).all()


def test_the_pull_grows_with_the_square_of_the_distance_from_the_default():
    X = np.array([[0.5], [0.6], [0.8]])

    difference = an_acquisition(LINE, pull=0.0)(X) - an_acquisition(LINE, pull=2.0)(X)

    # 2 * d^2 / (2 * 0.3^2)
    np.testing.assert_allclose(difference, [0.0, 0.01 / 0.09, 0.09 / 0.09], atol=1e-9)


@pytest.mark.parametrize("space", [LINE, MIXED, BRANCHES], ids=["line", "mixed", "branches"])
@pytest.mark.parametrize("seed", range(3))
def test_the_most_promising_point_beats_two_thousand_random_ones(space, seed):
    acquisition = an_acquisition(space, seed=seed)
    encoding = acquisition.encoding
    parents = all_over(encoding, 5, np.random.default_rng(seed))

    best = most_promising(acquisition, parents, np.random.default_rng(seed))[:1]

    random = acquisition(all_over(encoding, 2000, np.random.default_rng(99)))
    assert acquisition(best)[0] >= random.max() - 1e-9
    np.testing.assert_allclose(encoding.canonical(best), best)


def test_points_that_nearly_repeat_a_bad_one_come_last():
    bad = np.array([[0.5, 1.0], [0.2, 0.0]])
    close, other_choice, apart = [0.5 + NEAR / 2, 1.0], [0.5 + NEAR / 2, 2.0], [0.5 + 2 * NEAR, 1.0]

    ordered = list(apart_first(np.array([close, other_choice, apart]), bad))

    np.testing.assert_allclose(ordered, [other_choice, apart, close])
