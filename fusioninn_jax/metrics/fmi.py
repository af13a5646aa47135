"""Q_FMI: feature mutual information between 3x3 windows of the sources and of the fused image (Fast-FMI, raw pixels).

Images are (B, H, W, 1) or (B, H, W), values in [0, 1], scored as 0..255; the result is (B,).

A window's nine pixels, read column by column, are min-max stretched and divided by their sum: a distribution p over
the positions 1…9. Everything below works on the undivided weights w = T p, w = pixel - minimum, because on 8-bit
images these, their cumulative sums and the products of those are integers under 2²⁴, exact in float32: a tie, a zero
correlation or a flat window is found by an exact comparison.

The Fréchet bound M(i, j) = min(F_a(i), F_f(j)) is the joint law of two variables that rise together. Its cells lie
on a staircase that crosses each of the 17 antidiagonals i + j = const at most once, so J = φ·(cell of M) +
(1 - φ)·p_a·p_f differs from a plain product of marginals in 17 cells, not 81; the entropy of the product is known.
The other bound, max(0, F_a + F_f - 1), is the same thing with one window read backwards.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fusioninn_jax.metrics._inputs import check_variant, prepare, to_8bit
from fusioninn_jax.metrics._maps import add_all, map_mean

SIDE = 3
SIZE = SIDE * SIDE
VARIANTS = ("toolbox", "fusioninn")


class Window(NamedTuple):
    """3x3 windows as weights over nine positions; every array (B, H - 2, W - 2, 1)."""

    weights: list[jax.Array]  # >= 0; all ones where the window is flat
    total: jax.Array  # T, their sum
    log_moment: jax.Array  # Σ w log2 w / T
    entropy: jax.Array  # of w / T, in bits
    spread: jax.Array  # deviation of the position over that of the weights; 0 where either vanishes


def _x_log_x(x: jax.Array) -> jax.Array:
    """x log2|x|, 0 at 0."""
    magnitude = jnp.abs(x)
    return x * jnp.log2(jnp.where(magnitude > 0, magnitude, 1))


def _pixels(image: jax.Array) -> list[jax.Array]:
    """The nine pixels of every window, column by column, each (B, H - 2, W - 2, 1)."""
    height, width = image.shape[1] - SIDE + 1, image.shape[2] - SIDE + 1
    return [image[:, row : row + height, column : column + width] for column in range(SIDE) for row in range(SIDE)]


def _window(pixels: Sequence[jax.Array]) -> Window:
    low = functools.reduce(jnp.minimum, pixels)
    high = functools.reduce(jnp.maximum, pixels)
    weights = [jnp.where(high > low, pixel - low, 1) for pixel in pixels]
    total = add_all(weights)
    first, second = (add_all(w * (k - SIZE // 2) ** power for k, w in enumerate(weights)) for power in (1, 2))
    of_position = total * second - first**2
    of_weights = SIZE * add_all(w * w for w in weights) - total**2
    defined = (high > low) & (high - low < total)  # neither flat nor all the weight on one position
    ratio = jnp.where(defined, of_position / jnp.where(defined, of_weights, 1), 1)
    log_moment = add_all(map(_x_log_x, weights)) / total
    return Window(weights, total, log_moment, jnp.log2(total) - log_moment, jnp.where(defined, jnp.sqrt(ratio), 0))


def _cumulative(weights: Sequence[jax.Array]) -> list[jax.Array]:
    sums = [jnp.zeros_like(weights[0])]
    for weight in weights:
        sums.append(sums[-1] + weight)
    return sums


def _staircase(a: Sequence[jax.Array], f: Sequence[jax.Array]) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    """The Fréchet bound of two weightings, all of it times T_a T_f.

    Returns:
      Σ(M - F_a F_f), and for each antidiagonal the bound's one cell on it with the product of the two weights there
      (both 0 if it has none).
    """
    sums_a, sums_f = _cumulative(a), _cumulative(f)
    scaled_a, scaled_f = [x * sums_f[-1] for x in sums_a], [x * sums_a[-1] for x in sums_f]
    bound = -add_all(sums_a[1:-1]) * add_all(sums_f[1:-1])
    steps = []
    for diagonal in range(2 * SIZE - 1):
        step, product = jnp.zeros_like(bound), jnp.zeros_like(bound)
        for i in range(max(0, diagonal - SIZE + 1), min(SIZE, diagonal + 1)):
            j = diagonal - i
            upper = jnp.minimum(scaled_a[i + 1], scaled_f[j + 1])
            cell = upper - jnp.maximum(scaled_a[i], scaled_f[j])
            if max(i, j) < SIZE - 1:
                bound = bound + upper
            step = jnp.where(cell > 0, cell, step)
            product = jnp.where(cell > 0, a[i] * f[j], product)
        steps.append((step, product))
    return bound, steps


def _window_score(pixels_a: Sequence[jax.Array], pixels_f: Sequence[jax.Array]) -> jax.Array:
    a, f = _window(pixels_a), _window(pixels_f)
    covariance = SIZE * add_all(x * y for x, y in zip(a.weights, f.weights, strict=True)) - a.total * f.total
    falling = covariance < 0
    weights_f = [
        jnp.where(falling, backward, forward) for forward, backward in zip(f.weights, reversed(f.weights), strict=True)
    ]
    bound, steps = _staircase(a.weights, weights_f)
    phi = jnp.abs(covariance) * a.spread * f.spread / jnp.where(bound > 0, bound, 1)
    rest = 1 - phi
    change = add_all(_x_log_x(phi * step + rest * product) - _x_log_x(rest * product) for step, product in steps)
    information = _x_log_x(rest) - phi * (a.log_moment + f.log_moment) + change / (a.total * f.total)
    related = phi > 0
    score = jnp.where(related, 2 * information / jnp.where(related, a.entropy + f.entropy, 1), 0)
    same = functools.reduce(jnp.logical_and, [x == y for x, y in zip(pixels_a, pixels_f, strict=True)])
    return jnp.where(same, 1, score)


@jax.custom_vjp
def _similarity(pixels_a: list[jax.Array], pixels_f: list[jax.Array]) -> jax.Array:
    """2 MI / (H_a + H_f) of each window pair, (B, H - 2, W - 2, 1), from their nine pixels.

    Reverse mode through the unrolled staircase takes XLA minutes to compile, so the derivative is made of 18 forward
    ones, one per pixel: seconds to compile, about fifty times the time of a score to run.
    """
    return _window_score(pixels_a, pixels_f)


def _similarity_forward(
    pixels_a: list[jax.Array], pixels_f: list[jax.Array]
) -> tuple[jax.Array, tuple[list[jax.Array], list[jax.Array]]]:
    return _window_score(pixels_a, pixels_f), (pixels_a, pixels_f)


def _similarity_backward(
    pixels: tuple[list[jax.Array], list[jax.Array]], cotangent: jax.Array
) -> tuple[list[jax.Array], list[jax.Array]]:
    def derivative(chosen: jax.Array) -> jax.Array:
        tangents = [jnp.broadcast_to(part, cotangent.shape) for part in chosen]
        return jax.jvp(_window_score, pixels, (tangents[:SIZE], tangents[SIZE:]))[1]

    gradients = list(jax.lax.map(derivative, jnp.eye(2 * SIZE, dtype=cotangent.dtype)) * cotangent)
    return gradients[:SIZE], gradients[SIZE:]


_similarity.defvjp(_similarity_forward, _similarity_backward)


@functools.partial(jax.jit, static_argnames="quantize")
def _score(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None, quantize: bool) -> jax.Array:
    sources = to_8bit(jnp.concatenate([x1, x2]), quantize=quantize)
    twice = to_8bit(jnp.concatenate([fused, fused]), quantize=quantize)
    if mask is not None:
        mask = functools.reduce(jnp.logical_and, _pixels(jnp.concatenate([mask, mask])))
    # two maps, two means: the mean of the maps would have XLA compute each of them pixel by pixel, three times slower
    return map_mean(_similarity(_pixels(sources), _pixels(twice)), mask).reshape(2, -1).mean(0)


def q_fmi(
    x1: ArrayLike,
    x2: ArrayLike,
    fused: ArrayLike,
    *,
    variant: str = "toolbox",
    mask: ArrayLike | None = None,
    quantize: bool = True,
) -> jax.Array:
    """Feature mutual information of 3x3 windows: how much of each source's local pattern the fused image tells.

    Per valid 3x3 window and source a: the nine pixels, read column by column, min-max stretched (a flat window becomes
    all ones) and divided by their sum, are a distribution p over positions. With F cumulative sums, σ the deviation of
    the position and c the Pearson correlation of p_a and p_f, the joint distribution is
      J = φ·∂²M + (1 - φ)·p_a p_f,  M = min(F_a, F_f) if c >= 0 else max(0, F_a + F_f - 1),
      φ = c σ_a σ_f / Σ(M - F_a F_f), not clipped (0 where c, σ_a or σ_f is 0),
    the mutual information H_a + H_f - H_af, with H_af = -Σ J log2|J|, and the window scores 2 MI / (H_a + H_f);
    windows with equal pixels score 1, and no information scores 0. Mean over windows and over the two sources.
    (Haghighat & Razian 2014, "Fast-FMI: non-reference image fusion metric", AICT; feature = raw pixels. Joint
    distribution: Nelsen 1987, "Discrete bivariate distributions with given marginals and correlation".)
    Mostly in [0, 1], 1 where fused = x1 = x2; φ above 1 makes J negative and may carry a window a little outside.
    It rewards the same local pattern, whatever its brightness and contrast.

    Traps: where both background windows are blank and equal they score 1; a flat window against any other scores 0,
    so one grey level of noise on a background takes it from 1 to near 0. The window score does not see contrast:
    a fused image of a tenth of the contrast keeps its FMI. Other programs that say FMI compare gradients, edges or
    wavelets of larger windows and give other numbers. Constant images are defined: 1 where fused equals the
    source, 0 where it differs.

    Args:
      x1: first source, (B, H, W, 1) or (B, H, W), floats in [0, 1].
      x2: second source, the same shape.
      fused: the same shape.
      variant: 'toolbox' or 'fusioninn'; for this metric they are the same.
      mask: (B, H, W[, 1]), true inside the brain: mean over windows wholly inside (0 if there is none).
      quantize: round to 8 bits first; False keeps the score differentiable (piecewise).

    Returns:
      (B,).

    Raises:
      ValueError: shapes differ, images under 3x3, unknown variant; outside jit also NaN or values outside [0, 1].
    """
    check_variant(variant, VARIANTS)
    (x1, x2, fused), mask = prepare({"x1": x1, "x2": x2, "fused": fused}, mask=mask, window=SIDE)
    return _score(x1, x2, fused, mask, quantize=quantize)
