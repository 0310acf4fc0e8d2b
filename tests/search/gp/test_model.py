"""The kernel, its fit, and the posterior."""

import math

import numpy as np
import pytest

from search.gp.spaces import MIXED
from seatrial.search.gp.candidates import all_over
from seatrial.search.gp.encoding import Encoding
from seatrial.search.gp.features import Features
from seatrial.search.gp.fitting import NUGGET, Objective, fit
from seatrial.search.gp.kernel import Hyper, Kernel, matern52, matern52_slope, matern52_with_slope
from seatrial.search.gp.linear import factor, inverse
from seatrial.search.gp.posterior import condition

LINE = Kernel(1, np.array([0]))
# Pure Matern without noise: the broad term is switched off.
PLAIN = Hyper(weights=np.array([1.0]), noise=0.0, detail=1.0, broad=0.0, reach=1.0)


def a_model(points=30):
    encoding = Encoding(MIXED)
    features = Features(encoding)
    rng = np.random.default_rng(0)
    F = features(all_over(encoding, points, rng))
    return Kernel(encoding.width, features.owner), features, F, rng


def naive_covariance(kernel, hyper, F):
    """The formulas of the kernel, entry by entry."""
    n = len(F)
    K = np.empty((n, n))
    for a in range(n):
        for b in range(n):
            squares = (F[a] - F[b]) ** 2
            D = np.array([squares[kernel.owner == j].sum() for j in range(kernel.width)])
            r2 = hyper.weights @ D
            K[a, b] = hyper.detail * matern(r2) + hyper.broad * math.exp(-0.5 * hyper.reach * r2)
    return K


def matern(r2):
    r = math.sqrt(r2)
    return (1 + math.sqrt(5) * r + 5 * r2 / 3) * math.exp(-math.sqrt(5) * r)


@pytest.mark.parametrize(
    ("r2", "expected"),
    [
        pytest.param(0.0, 1.0, id="no distance"),
        # (1 + 2.2360680 + 1.6666667) exp(-2.2360680)
        pytest.param(1.0, 0.523994, id="one length scale"),
        # (1 + 4.4721360 + 6.6666667) exp(-4.4721360)
        pytest.param(4.0, 0.138660, id="two length scales"),
    ],
)
def test_matern_by_hand(r2, expected):
    assert matern52(np.array([r2]))[0] == pytest.approx(expected, abs=1e-6)


def test_slope_of_matern_is_that_of_finite_differences_and_finite_at_zero():
    r2 = np.array([1e-3, 0.5, 2.0, 9.0])

    numeric = (matern52(r2 + 1e-7) - matern52(r2 - 1e-7)) / 2e-7

    np.testing.assert_allclose(matern52_slope(r2), numeric, rtol=1e-6)
    assert matern52_slope(np.array([0.0]))[0] == pytest.approx(-5 / 6)
    np.testing.assert_allclose(matern52_with_slope(r2), [matern52(r2), matern52_slope(r2)])


def test_covariance_is_that_of_the_formulas_and_positive_definite():
    kernel, _, F, rng = a_model()
    hyper = kernel.hyper(kernel.prior_mean + rng.normal(size=len(kernel.prior_mean)) * 0.3)

    K = kernel.cross(hyper, F, F)

    np.testing.assert_allclose(K, naive_covariance(kernel, hyper, F), atol=1e-7)
    assert np.linalg.eigvalsh(K).min() > -1e-8
    assert K[0, 0] == pytest.approx(hyper.variance)


def test_gradient_of_the_covariance_is_that_of_finite_differences():
    kernel, _, F, rng = a_model()
    hyper = kernel.hyper(kernel.prior_mean)
    moving, U = F[:4] + 0.1 * rng.random((4, F.shape[1])), rng.normal(size=(4, len(F)))
    numeric = np.empty_like(moving)
    for place in np.ndindex(moving.shape):
        up, down = moving.copy(), moving.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric[place] = (U * (kernel.cross(hyper, up, F) - kernel.cross(hyper, down, F))).sum() / 2e-6

    np.testing.assert_allclose(kernel.pull_back(hyper, moving, F, U), numeric, rtol=1e-5, atol=1e-6)


def test_objective_of_the_fit_is_likelihood_plus_prior_and_its_gradient_that_of_finite_differences():
    kernel, features, F, rng = a_model()
    t = rng.normal(size=len(F))
    objective = Objective(kernel, features.distances(F), t)
    theta = kernel.prior_mean + rng.normal(size=len(kernel.prior_mean)) * 0.3

    value, gradient = objective(theta)

    hyper = kernel.hyper(theta)
    K = naive_covariance(kernel, hyper, F) + (hyper.noise + NUGGET) * np.eye(len(F))
    Ki = np.linalg.inv(K)
    y = t - (Ki.sum(axis=0) @ t) / Ki.sum()
    likelihood = 0.5 * y @ Ki @ y + 0.5 * np.linalg.slogdet(K)[1] + 0.5 * len(F) * math.log(2 * math.pi)
    prior = 0.5 * np.sum(((theta - kernel.prior_mean) / kernel.prior_sd) ** 2)
    assert value == pytest.approx(likelihood + prior)
    numeric = [(objective(theta + e)[0] - objective(theta - e)[0]) / 2e-5 for e in 1e-5 * np.eye(len(theta))]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-5)


def test_fit_ends_no_worse_than_its_starts_and_inside_its_box():
    kernel, features, F, rng = a_model()
    objective = Objective(kernel, features.distances(F), rng.normal(size=len(F)))

    theta = fit(kernel, objective.D, objective.t, iterations=40)

    assert objective(theta)[0] <= min(objective(start)[0] for start in kernel.starts())
    low, high = kernel.bounds
    assert (low <= theta).all()
    assert (theta <= high).all()


def test_fit_finds_out_which_parameter_matters():
    encoding = Encoding(MIXED)
    features = Features(encoding)
    X = all_over(encoding, 40, np.random.default_rng(1))
    t = np.sin(6 * X[:, 0])
    kernel = Kernel(encoding.width, features.owner)

    theta = fit(kernel, features.distances(features(X)), (t - t.mean()) / t.std(), iterations=40)

    assert np.argmin(theta[: encoding.width]) == 0


def test_posterior_of_two_points_by_hand():
    # k(0, 1) = c; K = [[1, c], [c, 1]]; by symmetry the mean is halfway between the targets, at x = 0 it is the first one.
    posterior = condition(LINE, PLAIN, np.array([[0.0], [1.0]]), np.array([2.0, -1.0]))

    mean, variance, _ = posterior.moments(np.array([[0.0], [0.5], [50.0]]))

    c, h = matern(1.0), matern(0.25)
    assert posterior.constant == pytest.approx(0.5)
    np.testing.assert_allclose(mean[:, 0], [2.0, 0.5, 0.5], atol=1e-5)
    np.testing.assert_allclose(variance, [0.0, 1 - 2 * h * h / (1 + c), 1.0], atol=1e-5)


def test_a_running_trial_takes_away_the_doubt_about_its_place_and_leaves_the_mean():
    model = condition(LINE, PLAIN, np.array([[0.0], [3.0]]), np.array([1.0, -1.0]))
    half = np.random.default_rng(0).standard_normal((1, 200))
    place = np.array([[1.5]])

    sampled = model.with_pending(place, np.hstack([half, -half]))

    before_mean, before, _ = model.moments(place)
    after_mean, after, _ = sampled.moments(place)
    assert after[0] < 1e-3 < before[0]
    # Antithetic samples average to the mean exactly; their spread is the doubt there was.
    assert after_mean.mean() == pytest.approx(before_mean[0, 0], abs=1e-4)
    assert after_mean.var() == pytest.approx(before[0], rel=0.3)


def test_running_trials_raise_no_variance_anywhere():
    kernel, _, F, rng = a_model()
    model = condition(kernel, kernel.hyper(kernel.prior_mean), F[:20], rng.normal(size=20))

    sampled = model.with_pending(F[20:24], rng.standard_normal((4, 8)))

    assert (sampled.moments(F)[1] <= model.moments(F)[1] + 1e-6).all()


@pytest.mark.parametrize(
    "K",
    [
        pytest.param(np.ones((4, 4)), id="four times the same point"),
        pytest.param(np.array([[1.0, 1.0 + 1e-9], [1.0 + 1e-9, 1.0]]), id="rounding beyond positive definite"),
        pytest.param(np.zeros((3, 3)), id="no variance at all"),
        pytest.param(np.array([[1.0, 3.0], [3.0, 1.0]]), id="no covariance matrix"),
    ],
)
def test_factor_of_a_hopeless_matrix_is_finite_and_near_it_where_it_can_be(K):
    L = factor(K)

    assert np.isfinite(L).all()
    assert (np.diag(L) > 0).all() or not K.any()
    np.testing.assert_allclose(np.diag(L @ L.T), np.diag(K), atol=0.02)


def test_inverse_is_that_of_the_factored_matrix():
    A = np.random.default_rng(0).normal(size=(6, 6))
    K = A @ A.T + np.eye(6)

    np.testing.assert_allclose(inverse(factor(K)) @ K, np.eye(6), atol=1e-9)
