"""exp, log and reciprocal: errors against long double over the whole range, and the limits."""

import numpy as np
import operations as kernels
import pytest

from fastgmm import simd

BOTH = pytest.mark.parametrize("dtype", [np.float64, np.float32])
N = 200_000

EXP_ERROR, LOG_ERROR, RECIPROCAL_ERROR = 1.25, 1.0, 1.0  # ulp; exp's goal is 1.5


def computed(x):
    """Return exp, exp_nonpositive, log and reciprocal of an array."""
    out = np.empty((4, x.size), x.dtype)
    kernels.functions(x, *out)
    return out


def error(result, exact):
    """Return the largest error in units of the exact result's last place."""
    ulp = np.spacing(np.abs(exact).astype(result.dtype))
    return np.max(np.abs(result - exact) / ulp)


def exp_limits(dtype):
    """Return the smallest and largest argument whose exp is a normal number."""
    info = np.finfo(dtype)
    low, high = np.log(np.longdouble(info.tiny)), np.log(np.longdouble(info.max))
    low, high = low.astype(dtype), high.astype(dtype)
    return (
        low if low > np.log(np.longdouble(info.tiny)) else np.nextafter(low, dtype(0)),
        high if high < np.log(np.longdouble(info.max)) else np.nextafter(high, dtype(0)),
    )


def exp_arguments(dtype):
    low, high = exp_limits(dtype)
    draw = np.random.default_rng(0)
    tiny = np.exp2(draw.uniform(-60, 0, N)) * draw.choice([-1, 1], N)
    # around the points where the rounded quotient changes, the reduced argument is largest
    turns = (np.arange(-1000, 1000) + 0.5) * np.log(2) / 16
    x = np.concatenate([draw.uniform(low, high, N), draw.uniform(-2, 2, N), tiny, turns])
    return np.clip(x.astype(dtype), low, high)


@BOTH
def test_exp_is_good_to_an_ulp_and_a_quarter(dtype):
    x = exp_arguments(dtype)
    exact = np.exp(x.astype(np.longdouble))
    result, nonpositive = computed(x)[:2]
    assert error(result, exact) < EXP_ERROR
    below = x <= 0
    lowest = -640 if dtype == np.float64 else -64
    expected = np.where(x >= lowest, result, 0)
    np.testing.assert_array_equal(nonpositive[below], expected[below])


@BOTH
def test_exp_at_its_limits(dtype):
    low, high = exp_limits(dtype)
    info = np.finfo(dtype)
    cases = {
        0.0: 1,
        -1e-300: 1,  # -0 in float32
        -np.inf: 0,
        -info.max: 0,
        -1e5: 0,
        np.nextafter(low, dtype(-np.inf)) - dtype(1e-3): 0,  # it would be subnormal
        info.max: np.inf,
        1e5: np.inf,
        np.nextafter(high, dtype(np.inf)): np.inf,
        np.inf: np.inf,
        np.nan: np.nan,
    }
    x = np.array(list(cases), dtype)
    result, nonpositive = computed(x)[:2]
    np.testing.assert_array_equal(result, np.array(list(cases.values()), dtype))
    defined = ~(x > 0)
    np.testing.assert_array_equal(nonpositive[defined], result[defined])


@BOTH
def test_exp_reaches_the_smallest_and_the_largest_number(dtype):
    ends = np.array(exp_limits(dtype))
    result = computed(ends)[0]
    assert error(result, np.exp(ends.astype(np.longdouble))) < EXP_ERROR
    assert result[0] >= np.finfo(dtype).tiny
    assert np.isfinite(result[1])


def powers_of_two(x):
    out = np.empty_like(x)
    kernels.powers(x, out)
    return out


@BOTH
def test_powers_of_two_are_good_to_an_ulp_and_a_quarter(dtype):
    draw = np.random.default_rng(2)
    lowest = -923 if dtype == np.float64 else -92
    tiny = -np.exp2(draw.uniform(-60, 0, N))
    turns = -(np.arange(1000) + 0.5) / 16
    turns = np.concatenate([turns, np.nextafter(turns, 0), np.nextafter(turns, -1000)])
    x = np.concatenate([draw.uniform(lowest, 0, N), draw.uniform(-2, 0, N), tiny, turns, [lowest]])
    x = np.clip(x.astype(dtype), lowest, 0)
    assert error(powers_of_two(x), np.exp2(x.astype(np.longdouble))) < EXP_ERROR
    whole = np.arange(lowest, 1).astype(dtype)
    np.testing.assert_array_equal(powers_of_two(whole), np.exp2(whole))


@BOTH
def test_powers_of_two_at_their_limits(dtype):
    lowest = dtype(-923 if dtype == np.float64 else -92)
    below = np.nextafter(lowest, dtype(-np.inf))
    x = np.array([-np.inf, np.finfo(dtype).min, -1e5, below, -0.0, 0.0, np.nan], dtype)
    np.testing.assert_array_equal(powers_of_two(x), np.array([0, 0, 0, 0, 1, 1, np.nan], dtype))


@BOTH
def test_log_and_reciprocal_are_good_to_an_ulp(dtype):
    info = np.finfo(dtype)
    draw = np.random.default_rng(1)
    every = np.exp2(draw.uniform(np.log2(info.tiny), np.log2(info.max), N)).astype(dtype)
    near_one = draw.uniform(0.5, 2, N).astype(dtype)
    close_to_one = (1 + draw.uniform(-1e-3, 1e-3, N)).astype(dtype)
    ends = np.array([info.tiny, info.max, 1, np.nextafter(dtype(1), dtype(0))], dtype)
    x = np.clip(np.concatenate([every, near_one, close_to_one, ends]), info.tiny, info.max)
    exact = np.log(x.astype(np.longdouble))
    by_log, by_reciprocal = computed(x)[2:]
    assert error(by_log, exact) < LOG_ERROR
    assert np.all(by_log[x == 1] == 0)
    assert np.isnan(computed(np.full(64, np.nan, dtype))[2]).all()
    normal = 1 / x.astype(np.longdouble) >= info.tiny
    exact = 1 / x[normal].astype(np.longdouble)
    assert error(by_reciprocal[normal], exact) < RECIPROCAL_ERROR
    assert error(-computed(-x)[3][normal], exact) < RECIPROCAL_ERROR


@BOTH
def test_lanes_do_not_know_each_other(dtype):
    """The same number gives the same result in every lane, whatever stands in the others."""
    w = simd.lanes(dtype)
    for lane in range(w):
        x = np.full(w, -np.inf, dtype)
        x[lane] = -1.25
        assert computed(x)[0][lane] == computed(np.full(1, -1.25, dtype))[0][0]
        assert np.count_nonzero(computed(x)[0]) == 1
