"""A fusion flow as what an inverse problem needs: one bijection of the sources, its log-det, a density.

The bijection goes from intensities to (fused image, latent), with the links at both ends inside: what
brings intensities to the flow, and its inverse on the fused channel. Its params are `variables["params"]`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections import Bijection, normal
from fusioninn_jax.bijections.base import Condition, Params, Result
from fusioninn_jax.models.base import Variables


def source_flow(flow: Bijection, link: Bijection) -> Bijection:
    """`flow` with `link` on all that goes in, and its inverse on the fused channel that comes out.

    Args:
      flow: from (B, H, W, m) sources as it takes them to (fused image, latent).
      link: from intensities to what the flow takes, without parameters.
    """
    return Bijection(
        functools.partial(_init, flow, link),
        functools.partial(_forward, flow, link),
        functools.partial(_inverse, flow, link),
    )


def _init(flow: Bijection, link: Bijection, key: jax.Array, x: jax.Array, condition: Condition = None) -> Params:
    return flow.init(key, link.forward({}, x)[0], condition)


def _forward(flow: Bijection, link: Bijection, params: Params, x: jax.Array, condition: Condition = None) -> Result:
    u, of_sources = link.forward({}, x)
    y, of_flow = flow.forward(params, u, condition)
    fused, of_fused = link.inverse({}, y[..., :1])
    return jnp.concatenate([fused, y[..., 1:]], -1), of_sources + of_flow + of_fused


def _inverse(flow: Bijection, link: Bijection, params: Params, y: jax.Array, condition: Condition = None) -> Result:
    fused, of_fused = link.forward({}, y[..., :1])
    u, of_flow = flow.inverse(params, jnp.concatenate([fused, y[..., 1:]], -1), condition)
    x, of_sources = link.inverse({}, u)
    return x, of_fused + of_flow + of_sources


def log_det(flow: Bijection, variables: Variables, *sources: jax.Array) -> jax.Array:
    """log |det ∂(fused, latent)/∂sources| per image, (B,).

    Args:
      flow: from the sources to the fused image and the latent.
      variables: a model's, with `params` of the flow.
      sources: (B, H, W, 1) each, in [0, 1].
    """
    return flow.forward(variables["params"], jnp.concatenate(sources, -1))[1]


def log_prob(flow: Bijection, variables: Variables, *sources: jax.Array) -> jax.Array:
    """The log-density of the sources, (B,), where the latent is standard normal and any fused image equally likely.

    Add log p(fused), where you have one: `flow.forward` gives the fused image. The density is of intensities. It counts
    every pixel; the latent losses look at those of the brain, so the latent of the background is whatever training left
    there, and of two patients' densities the one with more background is not comparable with the other.

    Args:
      flow, variables, sources: see `log_det`.
    """
    y, of_flow = flow.forward(variables["params"], jnp.concatenate(sources, -1))
    return normal().log_prob(y[..., 1:]) + of_flow


def density_fields(flow: Bijection) -> dict[str, Any]:
    """The fields of a FusionModel that come of its `flow`."""
    return {"flow": flow, "log_det": functools.partial(log_det, flow), "log_prob": functools.partial(log_prob, flow)}
