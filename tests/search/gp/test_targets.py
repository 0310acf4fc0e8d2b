"""What models are fitted to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.search.gp.targets import Shape, imputed, kept_rows, refit_length, signed_log, standardised

INF = float("inf")


def test_failures_count_as_the_worst_value_seen():
    np.testing.assert_array_equal(imputed(np.array([1.0, INF, 3.0, float("nan")])), [1.0, 3.0, 3.0, 3.0])
    np.testing.assert_array_equal(imputed(np.array([INF, INF])), [0.0, 0.0])


def test_raw_targets_are_standardised_values():
    np.testing.assert_allclose(standardised(np.array([1.0, 2.0, 3.0]), Shape.RAW), [-(1.5**0.5), 0, 1.5**0.5])


def test_half_targets_are_linear_below_the_median_and_logarithmic_above():
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 14.0, 104.0, 1004.0, 4.0, 4.0, 4.0])

    t = standardised(values, Shape.HALF)

    # Median 4, quantile 0.1 is 1: u = (value - 4) / 3, log(1 + u) above.
    u = (values - 4) / 3
    expected = np.where(u > 0, np.log1p(np.maximum(u, 0)), u)
    np.testing.assert_allclose(t, (expected - expected.mean()) / expected.std())


@given(
    st.lists(st.one_of(st.floats(-10, 10), st.sampled_from([1e300, -1e300, 1e-300])), min_size=1, max_size=30),
    st.sampled_from(Shape),
)
def test_targets_are_finite_standardised_and_in_the_order_of_the_values(values, shape):
    y = np.array(values)

    t = standardised(y, shape)

    assert np.isfinite(t).all()
    assert (np.diff(t[np.argsort(y)]) >= -1e-12).all()
    assert not t.any() or (abs(t.mean()) < 1e-6 and t.std() == pytest.approx(1.0))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_signed_log_of_violations_keeps_what_is_kept_and_what_is_broken(violations):
    v = np.array(violations)

    scaled = signed_log(v)

    assert np.isfinite(scaled).all()
    assert ((scaled > 0) <= (v > 0)).all()
    assert ((scaled < 0) <= (v < 0)).all()


def test_signed_log_by_hand():
    # The median of the absolute values is 2.
    np.testing.assert_allclose(signed_log(np.array([-2.0, 0.0, 6.0])), [-np.log(2), 0.0, np.log(4)])


def test_all_trials_are_kept_up_to_the_limit_and_then_the_best_half_and_a_spread_over_the_rest():
    values = np.arange(100.0)[::-1]

    assert kept_rows(values, 100).tolist() == list(range(100))
    # The best five are 95 … 99; the ranks of the other 95 are spread evenly from the sixth to the worst.
    assert kept_rows(values, 10).tolist() == [0, 24, 47, 71, 94, 95, 96, 97, 98, 99]


@pytest.mark.parametrize(
    ("trials", "expected"),
    [(1, 1), (150, 150), (151, 150), (157, 150), (158, 158), (165, 158), (166, 166), (1000, 958)],
)
def test_hyper_parameters_are_fitted_to_a_growing_share_of_the_first_trials(trials, expected):
    assert refit_length(trials) == expected
