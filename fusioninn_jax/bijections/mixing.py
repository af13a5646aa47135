"""Linear maps of the channels, the same at every position: an invertible 1x1 convolution, and an orthogonal one.

Forward: y = W x for the C channels of each position. `convolution1x1`: W = P L (U + diag(exp(log_s))) with a fixed
permutation P, L lower triangular with unit diagonal, U strictly upper triangular; log-det = (positions) · Σ log_s.
Source: Kingma & Dhariwal 2018, "Glow", section 3.2, eqs. 10-11.
`orthogonal`: W = (I - A)(I + A)⁻¹ with A = S - Sᵀ (Cayley), so W⁻¹ = Wᵀ and log-det = 0.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from fusioninn_jax.bijections.base import Bijection, Condition, Params, bound, checked, each, log_det_dtype, no_log_det
from fusioninn_jax.bijections.permutation import Order, checked_order, permutation_forward, permutation_inverse

START = 0.1  # standard deviation of the triangles, times 1/√C, and of S

_start = jax.nn.initializers.normal


def _channels(taker: str, matrix: jax.Array, x: jax.Array) -> jax.Array:
    count = matrix.shape[0]
    return checked(taker, x, f"(B, ..., {count})", lambda shape: len(shape) > 1 and shape[-1] == count)


def mixed(matrix: jax.Array, x: jax.Array) -> jax.Array:
    """`matrix`, (C, C), applied to the channels of `x`, (B, ..., C)."""
    return jnp.einsum("...i,ji->...j", x, matrix.astype(x.dtype), precision="highest")


def _triangles(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """L, U + diag(exp(log_s)), and the log-det."""
    log_s = params["log_s"].astype(log_det_dtype(x))
    lower = jnp.tril(params["lower"], -1).astype(log_s.dtype) + jnp.eye(len(log_s), dtype=log_s.dtype)
    upper = jnp.triu(params["upper"], 1).astype(log_s.dtype) + jnp.diag(jnp.exp(log_s))
    return lower, upper, each(log_s.sum() * math.prod(x.shape[1:-1]), x)


def _order(order: Order | None, channels: int) -> np.ndarray:
    return np.arange(channels)[::-1] if order is None else checked_order(order, channels)


def convolution1x1_forward(
    params: Params, x: jax.Array, condition: Condition = None, *, order: Order | None = None
) -> tuple[jax.Array, jax.Array]:
    """y = P L (U + diag(exp(log_s))) x on (B, ..., C); returns (y, log_det (B,)).

    Args:
      params: `lower` and `upper`, (C, C), of which the strict triangles count, and `log_s`, (C,).
      x: (B, ..., C).
      condition: is not used.
      order: the permutation P, as in `permutation`; None: the channels in reverse.

    Raises:
      TypeError: `x` holds integers.
      ValueError: other channels than the params have, or an order that is no permutation of them.
    """
    del condition
    x = _channels("convolution1x1", params["log_s"], x)
    lower, upper, log_det = _triangles(params, x)
    product = mixed(jnp.matmul(lower, upper, precision="highest"), x)
    return permutation_forward(_order(order, x.shape[-1]), product)[0], log_det


def convolution1x1_inverse(
    params: Params, y: jax.Array, condition: Condition = None, *, order: Order | None = None
) -> tuple[jax.Array, jax.Array]:
    """The inverse of `convolution1x1_forward`, errors as there; returns (x, log_det of ∂x/∂y).

    Args:
      params, condition, order: see `convolution1x1_forward`.
      y: (B, ..., C), floats, as the forward map gives them.
    """
    del condition
    y = _channels("convolution1x1", params["log_s"], y)
    lower, upper, log_det = _triangles(params, y)
    half = solve_triangular(lower, jnp.eye(len(lower), dtype=lower.dtype), lower=True, unit_diagonal=True)
    unmixed = solve_triangular(upper, half, lower=False)
    return mixed(unmixed, permutation_inverse(_order(order, y.shape[-1]), y)[0]), -log_det


def _convolution1x1_init(key: jax.Array, x: jax.Array, condition: Condition = None) -> Params:
    del condition
    channels, dtype = x.shape[-1], log_det_dtype(x)
    lower, upper = _start(START / math.sqrt(channels))(key, (2, channels, channels), dtype)
    return {"lower": lower, "upper": upper, "log_s": jnp.zeros(channels, dtype)}


def convolution1x1(order: Order | None = None) -> Bijection:
    """An invertible 1x1 convolution (a dense layer, of vectors) as a Bijection; starts near the permutation `order`.

    Args:
      order: channel order[i] goes to place i; None: the channels in reverse.
    """
    return Bijection(
        _convolution1x1_init, bound(convolution1x1_forward, order=order), bound(convolution1x1_inverse, order=order)
    )


def _rotation(params: Params, x: jax.Array) -> jax.Array:
    skew = params["skew"].astype(log_det_dtype(x))
    skew = skew - skew.T
    eye = jnp.eye(len(skew), dtype=skew.dtype)
    return jnp.linalg.solve(eye + skew, eye - skew)  # the two commute


def orthogonal_forward(params: Params, x: jax.Array, condition: Condition = None) -> tuple[jax.Array, jax.Array]:
    """y = W x with W orthogonal on (B, ..., C); returns (y, zeros (B,)).

    Args:
      params: `skew`, (C, C); W depends on it less its transpose.
      x: (B, ..., C).
      condition: is not used.

    Raises:
      TypeError: `x` holds integers.
      ValueError: other channels than the params have.
    """
    del condition
    x = _channels("orthogonal", params["skew"], x)
    return mixed(_rotation(params, x), x), no_log_det(x)


def orthogonal_inverse(params: Params, y: jax.Array, condition: Condition = None) -> tuple[jax.Array, jax.Array]:
    """x = Wᵀ y; returns (x, zeros (B,)). Raises as `orthogonal_forward`.

    Args:
      params, condition: see `orthogonal_forward`.
      y: (B, ..., C), floats, as the forward map gives them.
    """
    del condition
    y = _channels("orthogonal", params["skew"], y)
    return mixed(_rotation(params, y).T, y), no_log_det(y)


def _orthogonal_init(key: jax.Array, x: jax.Array, condition: Condition = None) -> Params:
    del condition
    return {"skew": _start(1 / math.sqrt(x.shape[-1]))(key, (x.shape[-1],) * 2, log_det_dtype(x))}


def orthogonal() -> Bijection:
    """A trained rotation of the channels as a Bijection; starts at a random one."""
    return Bijection(_orthogonal_init, orthogonal_forward, orthogonal_inverse)
