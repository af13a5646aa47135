"""Affine coupling in which both halves change.

With u1 the first C // 2 channels and u2 the rest:
Forward: v1 = u1 · exp(s2(u2)) + t2(u2), then v2 = u2 · exp(s1(v1)) + t1(v1); log-det = Σ s2 + Σ s1.
Inverse: u2 = (v2 - t1(v1)) · exp(-s1(v1)), then u1 = (v1 - t2(u2)) · exp(-s2(u2)).
Source: FusionINN (arXiv 2403.15769) eq. 1, after Dinh et al. 2016, "Density estimation using Real NVP", eqs. 7-8.
A conditioner gives s and t together, s in the first half of its channels; s is bounded by
clamp · 0.636 · atan(s), so |s| < clamp (FrEIA's "ATAN"; 0.636 ≈ 2/π).
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, Cotangents, Params, Pullback, sum_per_example

# (params, u (B, ..., c), channels) -> (B, ..., 2 * channels): s, then t, for a half of `channels` channels
Conditioner = Callable[[Params, jax.Array, int], jax.Array]
# (key, u, channels) -> params of a conditioner that will see arrays like u
ConditionerInit = Callable[[jax.Array, jax.Array, int], Params]

CLAMP = 2.0
ATAN_SLOPE = 0.636

# atan(t) / t for t in [0, 1] as a polynomial of t², interpolated at Chebyshev points; in float32 within 1.7e-7 of atan
_ATAN = (1.0, -0.33333278, 0.19998075, -0.14260016, 0.10932341, -0.08349725, 0.05708956, -0.030351864, 0.01048765,
         -0.0017011701)


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


def _split(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    if x.shape[-1] < 2:
        raise ValueError(f"a coupling needs at least 2 channels on the last axis; got shape {x.shape}")
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def _scale_shift(conditioner: Conditioner, params: Params, u: jax.Array, target: jax.Array,
                 clamp: float | None) -> tuple[jax.Array, jax.Array]:
    """s and t for `target`, from the other half `u`, in the target's precision."""
    channels = target.shape[-1]
    both = conditioner(params, u, channels)
    if both.shape != (*target.shape[:-1], 2 * channels):
        raise ValueError(f"the conditioner gave {both.shape}; s and t for {target.shape} need "
                         f"{(*target.shape[:-1], 2 * channels)}")
    both = both.astype(target.dtype)  # a bfloat16 conditioner must not lower the flow's own precision
    s, t = both[..., :channels], both[..., channels:]
    return (s if clamp is None else clamp * ATAN_SLOPE * _atan(s)), t


def _joined(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.concatenate([first, second], axis=-1)


def _affine(s: jax.Array, t: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    return u * jnp.exp(s) + t, sum_per_example(s)


def _affine_inverse(s: jax.Array, t: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (v - t) * jnp.exp(-s), -sum_per_example(s)


def coupling_forward(params: Params, x: jax.Array, conditioner: Conditioner, *,
                     clamp: float | None = CLAMP) -> tuple[jax.Array, jax.Array]:
    """The coupling of (B, ..., C), C ≥ 2.

    Args:
      params: `subnet2`, for the conditioner that sees u2, and `subnet1`, for the one that sees v1.
      x: (B, ..., C).
      conditioner: `(params, u, channels) -> (B, ..., 2 * channels)`, any function: it is never inverted.
      clamp: bound of |s|; None leaves s as it comes.

    Returns:
      (y, log_det), shaped as x and (B,).

    Raises:
      ValueError: fewer than two channels, or a conditioner whose output does not fit.
    """
    u1, u2 = _split(x)
    v1, log_det2 = _affine(*_scale_shift(conditioner, params["subnet2"], u2, u1, clamp), u1)
    v2, log_det1 = _affine(*_scale_shift(conditioner, params["subnet1"], v1, u2, clamp), u2)
    return _joined(v1, v2), log_det1 + log_det2


def coupling_inverse(params: Params, y: jax.Array, conditioner: Conditioner, *,
                     clamp: float | None = CLAMP) -> tuple[jax.Array, jax.Array]:
    """The exact inverse of `coupling_forward`, same arguments; returns (x, log_det of ∂x/∂y)."""
    v1, v2 = _split(y)
    u2, log_det1 = _affine_inverse(*_scale_shift(conditioner, params["subnet1"], v1, v2, clamp), v2)
    u1, log_det2 = _affine_inverse(*_scale_shift(conditioner, params["subnet2"], u2, v1, clamp), v1)
    return _joined(u1, u2), log_det1 + log_det2


def _half_pullback(scale_shift: Callable[..., Any], params: Params, u: jax.Array, out: jax.Array,
                   cotangents: Cotangents, step: Callable[..., Any], undo: Callable[..., Any]) -> Any:
    """Backward through one half, `out, log_det = step(*scale_shift(params, u, ...), value)`, from `out` alone.

    Returns:
      value, and the cotangents of value, params and u. The conditioner is evaluated once for both.
    """
    s_t, pull_s_t = jax.vjp(lambda params, u: scale_shift(params, u, out), params, u)
    value, _ = undo(*s_t, out)
    g_s, g_t, g_value = jax.vjp(step, *s_t, value)[1](cotangents)
    return value, g_value, *pull_s_t((g_s, g_t))


def _pullbacks(conditioner: Conditioner, clamp: float | None) -> tuple[Pullback, Pullback]:
    """The backward passes of `coupling_forward` and `coupling_inverse` from their outputs."""
    def scale_shift(params: Params, u: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _scale_shift(conditioner, params, u, target, clamp)

    def forward(params: Params, y: jax.Array, cotangents: Cotangents) -> tuple[jax.Array, Params, jax.Array]:
        (v1, v2), (g1, g2), g_log_det = _split(y), _split(cotangents[0]), cotangents[1]
        u2, g2, g_subnet1, g = _half_pullback(scale_shift, params["subnet1"], v1, v2, (g2, g_log_det),
                                              _affine, _affine_inverse)
        u1, g1, g_subnet2, g = _half_pullback(scale_shift, params["subnet2"], u2, v1, (g1 + g, g_log_det),
                                              _affine, _affine_inverse)
        return _joined(u1, u2), {"subnet1": g_subnet1, "subnet2": g_subnet2}, _joined(g1, g2 + g)

    def inverse(params: Params, x: jax.Array, cotangents: Cotangents) -> tuple[jax.Array, Params, jax.Array]:
        (u1, u2), (g1, g2), g_log_det = _split(x), _split(cotangents[0]), cotangents[1]
        v1, g1, g_subnet2, g = _half_pullback(scale_shift, params["subnet2"], u2, u1, (g1, g_log_det),
                                              _affine_inverse, _affine)
        v2, g2, g_subnet1, g = _half_pullback(scale_shift, params["subnet1"], v1, u2, (g2 + g, g_log_det),
                                              _affine_inverse, _affine)
        return _joined(v1, v2), {"subnet1": g_subnet1, "subnet2": g_subnet2}, _joined(g1 + g, g2)

    return forward, inverse


def coupling(conditioner: Conditioner, conditioner_init: ConditionerInit = lambda key, u, channels: {}, *,
             clamp: float | None = CLAMP) -> Bijection:
    """An affine coupling as a Bijection.

    Args:
      conditioner: see `coupling_forward`.
      conditioner_init: `(key, u, channels) -> params`; the default is for a conditioner without parameters.
      clamp: bound of |s|, or None.
    """
    def init(key: jax.Array, x: jax.Array) -> Params:
        u1, u2 = _split(x)
        key1, key2 = jax.random.split(key)
        return {"subnet1": conditioner_init(key1, u1, u2.shape[-1]),
                "subnet2": conditioner_init(key2, u2, u1.shape[-1])}

    return Bijection(init, lambda params, x: coupling_forward(params, x, conditioner, clamp=clamp),
                     lambda params, y: coupling_inverse(params, y, conditioner, clamp=clamp),
                     *_pullbacks(conditioner, clamp))
