"""Q_XY (also Q_AB/F): how well the fused image keeps the edges of its sources.

Images are (B, H, W, 1) or (B, H, W), values in [0, 1], scored as 0..255; the result is (B,).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fusioninn_jax.metrics._inputs import check_variant, prepare, to_8bit
from fusioninn_jax.metrics._maps import central_cut, map_mean

CENTRE_RADIUS = 1  # the published numbers come from the central 3x3 pixels
ZERO_GRADIENT = 1e-5  # what the toolbox puts in place of an exact zero


class Sigmoid(NamedTuple):
    """gain / (1 + exp(slope (x - centre)))"""

    gain: float
    slope: float
    centre: float

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.gain / (1 + jnp.exp(self.slope * (x - self.centre)))


# Sigmoids of strength and of orientation. Petrovic & Xydeas scale them so that perfect preservation comes near 1.
TOOLBOX = Sigmoid(1.0, -10.0, 0.5), Sigmoid(1.0, -20.0, 0.75)
XYDEAS2000 = Sigmoid(0.9994, -15.0, 0.5), Sigmoid(0.9879, -22.0, 0.8)
SIGMOIDS = {"toolbox": TOOLBOX, "fusioninn": TOOLBOX, "xydeas2000": XYDEAS2000}


class Edges(NamedTuple):
    """Sobel edges, each (B, H, W, 1): strength >= 0, orientation in [-π/2, π/2]."""

    strength: jax.Array
    orientation: jax.Array


def _sobel(image: jax.Array) -> Edges:
    """Zero-padded, so that the image's own border counts as an edge; exact in float32 on 8-bit numbers."""
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    across = rows[:, :, 2:] - rows[:, :, :-2]
    columns = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    down = columns[:, 2:] - columns[:, :-2]
    across = jnp.where(across == 0, ZERO_GRADIENT, across)
    square = across**2 + down**2
    flat = (jnp.abs(across) <= ZERO_GRADIENT) & (down == 0)
    # the inner `where` keeps the derivatives finite, and 0 on blank pixels, where they would be of the order of 1e5
    strength = jnp.where(flat, ZERO_GRADIENT, jnp.sqrt(jnp.where(flat, 1, square)))
    return Edges(strength, jnp.arctan(jnp.where(flat, 0, down / across)))


def _preservation(source: Edges, fused: Edges, sigmoids: tuple[Sigmoid, Sigmoid]) -> jax.Array:
    weaker = jnp.minimum(source.strength, fused.strength)
    strength = weaker / jnp.maximum(source.strength, fused.strength)
    turn = jnp.abs(jnp.abs(source.orientation - fused.orientation) - jnp.pi / 2)
    of_strength, of_orientation = sigmoids
    return of_strength(strength) * of_orientation(turn * (2 / jnp.pi))


@functools.partial(jax.jit, static_argnames=("variant", "quantize"))
def _score(
    x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None, variant: str, quantize: bool
) -> jax.Array:
    edges1, edges2, edges = (_sobel(to_8bit(image, quantize=quantize)) for image in (x1, x2, fused))
    sigmoids = SIGMOIDS[variant]
    gained = (
        _preservation(edges1, edges, sigmoids) * edges1.strength
        + _preservation(edges2, edges, sigmoids) * edges2.strength
    )
    available = edges1.strength + edges2.strength
    if variant == "xydeas2000":
        total = map_mean(available, mask)
        return map_mean(gained, mask) / jnp.where(total > 0, total, 1)
    quality = gained / available
    if variant == "fusioninn":
        quality = central_cut(quality, CENTRE_RADIUS)
        mask = None if mask is None else central_cut(mask, CENTRE_RADIUS)
    return map_mean(quality, mask)


def q_xy(
    x1: ArrayLike,
    x2: ArrayLike,
    fused: ArrayLike,
    *,
    variant: str = "toolbox",
    mask: ArrayLike | None = None,
    quantize: bool = True,
) -> jax.Array:
    """Xydeas-Petrovic edge preservation: the share of the sources' edges found again in the fused image.

    Sobel strength g and orientation α of each image; for source a, G = min(ga, gf) / max(ga, gf) and
    A = ||αa - αf| - π/2| · 2/π go through sigmoids, Q_a = Γg / (1 + e^{κg (G - σg)}) · Γα / (1 + e^{κα (A - σα)}).
    - 'toolbox': mean over pixels of (Q_1 g1 + Q_2 g2) / (g1 + g2); Γ 1 and 1, κ -10 and -20, σ 0.5 and 0.75; an
      exact zero of strength or of the horizontal derivative counts as 1e-5. Range (0, 0.98666].
    - 'fusioninn': that map on the central 3x3 pixels only, which is what the published numbers are.
    - 'xydeas2000': Σ(Q_1 g1 + Q_2 g2) / Σ(g1 + g2) with Γ 0.9994 and 0.9879, κ -15 and -22, σ 0.5 and 0.8
      (Xydeas & Petrovic 2000, "Objective image fusion performance measure", Electronics Letters 36(4), eqs. 1-8).
      Range (0, 0.97479].
    It rewards edges as strong and as steep as the stronger source's, and direction most of all.

    Traps: blank background scores 0.98666 in 'toolbox', so whole slices flatter every system ('xydeas2000' weighs it
    by nothing). 'fusioninn' is nine pixels: it says little about an image. Noise of one grey level on a flat region
    is an edge. Constant images are defined: all three alike score 0.98666 in their interior in 'toolbox'; their
    border against the zero padding is an edge; all black scores 0.97479 in 'xydeas2000'.

    Args:
      x1: first source, (B, H, W, 1) or (B, H, W), floats in [0, 1].
      x2: second source, the same shape.
      fused: the same shape.
      variant: 'toolbox', 'fusioninn' or 'xydeas2000'.
      mask: (B, H, W[, 1]), true inside the brain: means and sums run over mask pixels (an empty mask gives 0).
      quantize: round to 8 bits first; False keeps the score differentiable.

    Returns:
      (B,).

    Raises:
      ValueError: shapes differ, images under 3x3, unknown variant; outside jit also NaN or values outside [0, 1].
    """
    check_variant(variant, tuple(SIGMOIDS))
    (x1, x2, fused), mask = prepare({"x1": x1, "x2": x2, "fused": fused}, mask=mask, window=3)
    return _score(x1, x2, fused, mask, variant=variant, quantize=quantize)
