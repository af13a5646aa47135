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

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, Params, sum_per_example

# (params, u (B, ..., c), channels) -> (B, ..., 2 * channels): s, then t, for a half of `channels` channels
Conditioner = Callable[[Params, jax.Array, int], jax.Array]
# (key, u, channels) -> params of a conditioner that will see arrays like u
ConditionerInit = Callable[[jax.Array, jax.Array, int], Params]

CLAMP = 2.0
ATAN_SLOPE = 0.636


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
    return (s if clamp is None else clamp * ATAN_SLOPE * jnp.atan(s)), t


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
    s2, t2 = _scale_shift(conditioner, params["subnet2"], u2, u1, clamp)
    v1 = u1 * jnp.exp(s2) + t2
    s1, t1 = _scale_shift(conditioner, params["subnet1"], v1, u2, clamp)
    v2 = u2 * jnp.exp(s1) + t1
    return jnp.concatenate([v1, v2], axis=-1), sum_per_example(s1) + sum_per_example(s2)


def coupling_inverse(params: Params, y: jax.Array, conditioner: Conditioner, *,
                     clamp: float | None = CLAMP) -> tuple[jax.Array, jax.Array]:
    """The exact inverse of `coupling_forward`, same arguments; returns (x, log_det of ∂x/∂y)."""
    v1, v2 = _split(y)
    s1, t1 = _scale_shift(conditioner, params["subnet1"], v1, v2, clamp)
    u2 = (v2 - t1) * jnp.exp(-s1)
    s2, t2 = _scale_shift(conditioner, params["subnet2"], u2, v1, clamp)
    u1 = (v1 - t2) * jnp.exp(-s2)
    return jnp.concatenate([u1, u2], axis=-1), -(sum_per_example(s1) + sum_per_example(s2))


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
                     lambda params, y: coupling_inverse(params, y, conditioner, clamp=clamp))
