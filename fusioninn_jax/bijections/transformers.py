"""What a coupling does to each element of its moving part: an invertible function of one number.

To add one, give `Transformer` two functions of `(raw, u)`: `raw` holds what the conditioner gave, `parameters` arrays
of the shape of `u`, any real values; they return the transformed values and, in the same shape, log |dv/du|, float32 at
least. All-zero `raw` should leave `u` as it is, so that a flow can start as the identity. Functions of a module, with
`functools.partial` for configuration, so that flows pickle.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import log_det_dtype

Raw = Sequence[jax.Array]
Elementwise = Callable[[Raw, jax.Array], tuple[jax.Array, jax.Array]]

CLAMP = 2.0
ATAN_SLOPE = 0.636
LARGEST = 40.0  # |s| of the odds: exp(2 · s), in their gradient, stays within float32
LEAST = 1e-3  # width, height and slope of a spline's bin, as shares of the interval and of 1

# atan(t) / t for t in [0, 1] as a polynomial of t², interpolated at Chebyshev points; in float32 within 1.7e-7 of atan
_ATAN = (
    1.0,
    -0.33333278,
    0.19998075,
    -0.14260016,
    0.10932341,
    -0.08349725,
    0.05708956,
    -0.030351864,
    0.01048765,
    -0.0017011701,
)


class Transformer(NamedTuple):
    """An invertible function of one number.

    Attributes:
      parameters: how many values an element takes from the conditioner.
      forward: `(raw, u) -> (v, log |dv/du|)`.
      inverse: `(raw, v) -> (u, log |du/dv|)`.
    """

    parameters: int
    forward: Elementwise
    inverse: Elementwise


@jax.custom_jvp
def _atan(x: jax.Array) -> jax.Array:
    """atan(x). XLA's CPU backend takes float32 values one by one, as long as the rest of a coupling; hence this."""
    if x.dtype != jnp.float32:
        return jnp.atan(x)
    inside = jnp.abs(x) <= 1
    t = jnp.where(inside, x, 1 / x)
    ratio = jnp.full_like(t, _ATAN[-1])
    for coefficient in _ATAN[-2::-1]:
        ratio = ratio * (t * t) + coefficient
    return jnp.where(inside, t * ratio, jnp.copysign(jnp.float32(jnp.pi / 2), x) - t * ratio)


_atan.defjvps(lambda tangent, _, x: tangent / (1 + x * x))


def _clamped(s: jax.Array, clamp: float | None) -> jax.Array:
    return s if clamp is None else clamp * ATAN_SLOPE * _atan(s)


def _affine_forward(clamp: float | None, raw: Raw, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    s = _clamped(raw[0], clamp)
    return u * jnp.exp(s) + raw[1], s.astype(log_det_dtype(u))


def _affine_inverse(clamp: float | None, raw: Raw, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    s = _clamped(raw[0], clamp)
    return (v - raw[1]) * jnp.exp(-s), -s.astype(log_det_dtype(v))


def affine(clamp: float | None = CLAMP) -> Transformer:
    """v = u · exp(s) + t; s is bounded by clamp · 0.636 · atan(s), so |s| < clamp; None leaves s as it comes.

    Source: Dinh et al. 2016, "Density estimation using Real NVP", eqs. 7-8; FrEIA's "ATAN" clamp (0.636 ≈ 2/π).

    Args:
      clamp: bound of |s|; None for none.
    """
    return Transformer(2, functools.partial(_affine_forward, clamp), functools.partial(_affine_inverse, clamp))


def _additive_forward(raw: Raw, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    return u + raw[0], jnp.zeros_like(u, log_det_dtype(u))


def _additive_inverse(raw: Raw, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    return v - raw[0], jnp.zeros_like(v, log_det_dtype(v))


def additive() -> Transformer:
    """v = u + t; keeps volumes. Source: Dinh et al. 2014, "NICE", section 3.2."""
    return Transformer(1, _additive_forward, _additive_inverse)


def _odds_forward(low: float, high: float, raw: Raw, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    wide = log_det_dtype(u)
    s = jnp.clip(raw[0].astype(wide), -LARGEST, LARGEST)
    p = (u.astype(wide) - low) / (high - low)
    inside = jnp.clip(p, 0, 1)
    growth = (1 - inside) + inside * jnp.exp(s)  # 1 + inside · expm1(s) cancels where s is far below 0
    moved = inside * jnp.exp(s) / growth + jnp.minimum(p, 0) * jnp.exp(s) + jnp.maximum(p - 1, 0) * jnp.exp(-s)
    return (low + (high - low) * moved).astype(u.dtype), s - 2 * jnp.log(growth)


def _odds_inverse(low: float, high: float, raw: Raw, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _odds_forward(low, high, (-raw[0],), v)


def odds(low: float = 0.0, high: float = 1.0) -> Transformer:
    """The odds (u - low) / (high - u) times exp(s): moves what lies between the ends, which stay, up or down.

    Beyond the ends it goes on straight, with the slopes that it has there, exp(s) and exp(-s). |s| is at most 40.

    Args:
      low: the lower end.
      high: the upper end.

    Raises:
      ValueError: ends that are not in order.
    """
    if not low < high:
        raise ValueError(f"odds takes low < high; got {low} and {high}")
    return Transformer(1, functools.partial(_odds_forward, low, high), functools.partial(_odds_inverse, low, high))


class _Bin(NamedTuple):
    """Of each element's bin: left and lower end, width, height, slopes at its two ends."""

    x: jax.Array
    y: jax.Array
    width: jax.Array
    height: jax.Array
    slope0: jax.Array
    slope1: jax.Array


def _knots(raw: jax.Array, bound: float) -> jax.Array:
    """(K, ...) raw values -> (K + 1, ...) rising positions from -bound to bound."""
    share = LEAST + (1 - LEAST * len(raw)) * jax.nn.softmax(raw, axis=0)
    inner = 2 * bound * jnp.cumsum(share[:-1], axis=0) - bound
    ends = jnp.full_like(raw[:1], bound)
    return jnp.concatenate([-ends, inner, ends])


def _bins(raw: Raw, bins: int, bound: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Knots on both axes and the slopes at them, (K + 1, ...) each, float32 at least."""
    stacked = jnp.stack([part.astype(log_det_dtype(part)) for part in raw])
    one = jnp.ones_like(stacked[:1])  # the slope of the straight lines beyond the interval
    inner = LEAST + jax.nn.softplus(stacked[2 * bins :] + math.log(math.expm1(1 - LEAST)))
    return _knots(stacked[:bins], bound), _knots(stacked[bins : 2 * bins], bound), jnp.concatenate([one, inner, one])


def _bin_of(value: jax.Array, edges: jax.Array, xs: jax.Array, ys: jax.Array, slopes: jax.Array) -> _Bin:
    """The bin whose `edges` have `value` between them."""
    not_below = (value[None] >= edges[:-1]).at[0].set(True)
    not_above = (value[None] < edges[1:]).at[-1].set(True)

    def at(of_bins: jax.Array) -> jax.Array:  # a sum, not a gather: on a CPU autodiff of a gather is a slow loop
        return jnp.where(not_below & not_above, of_bins, 0).sum(0)

    x, y = at(xs[:-1]), at(ys[:-1])
    return _Bin(x, y, at(xs[1:]) - x, at(ys[1:]) - y, at(slopes[:-1]), at(slopes[1:]))


def _log_slope(own: _Bin, share: jax.Array) -> jax.Array:
    """log dv/du at the share of the bin's width: eq. 5."""
    slope, rest = own.height / own.width, share * (1 - share)
    top = own.slope1 * share**2 + 2 * slope * rest + own.slope0 * (1 - share) ** 2
    below = slope + (own.slope0 + own.slope1 - 2 * slope) * rest
    return 2 * jnp.log(slope) + jnp.log(top) - 2 * jnp.log(below)


def _bin_forward(own: _Bin, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """v and log dv/du: eqs. 4 and 5."""
    slope, share = own.height / own.width, (u - own.x) / own.width
    rest = share * (1 - share)
    below = slope + (own.slope0 + own.slope1 - 2 * slope) * rest
    return own.y + own.height * (slope * share**2 + own.slope0 * rest) / below, _log_slope(own, share)


def _bin_inverse(own: _Bin, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """u and log du/dv: eqs. 6-8, of the two roots the one that does not cancel."""
    slope, up = own.height / own.width, v - own.y
    bend = own.slope0 + own.slope1 - 2 * slope
    a = own.height * (slope - own.slope0) + up * bend
    b = own.height * own.slope0 - up * bend
    c = -slope * up
    share = 2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, jnp.finfo(v.dtype).tiny)))
    share = share + jax.lax.stop_gradient(jnp.clip(share, 0, 1) - share)  # at a knot the slope of a clip is 1/2
    return own.x + share * own.width, -_log_slope(own, share)


def _spline(inverse: bool, bins: int, bound: float, raw: Raw, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    wide = value.astype(log_det_dtype(value))
    within, inside = (wide > -bound) & (wide < bound), jnp.clip(wide, -bound, bound)
    xs, ys, slopes = _bins(raw, bins, bound)
    own = _bin_of(inside, ys if inverse else xs, xs, ys, slopes)
    moved, log_slope = _bin_inverse(own, inside) if inverse else _bin_forward(own, inside)
    return jnp.where(within, moved, wide).astype(value.dtype), jnp.where(within, log_slope, 0)


def rational_quadratic(bins: int = 8, bound: float = 4.0) -> Transformer:
    """A monotone rational-quadratic spline on [-bound, bound], the identity beyond.

    Of the 3 · bins - 1 parameters of an element the first `bins` give the widths, the next the heights, the rest the
    slopes at the inner knots. No width or height is below a thousandth of the interval, no slope below a thousandth.
    Source: Durkan et al. 2019, "Neural spline flows", section 3.1.

    Args:
      bins: number of pieces, 2 to 500.
      bound: half the interval, above 0.

    Raises:
      ValueError: another number of bins or bound.
    """
    if not 2 <= bins <= 500 or not bound > 0:
        raise ValueError(f"a spline takes 2 to 500 bins and a bound above 0; got {bins} and {bound}")
    forward, inverse = (functools.partial(_spline, inverse, bins, bound) for inverse in (False, True))
    return Transformer(3 * bins - 1, forward, inverse)
