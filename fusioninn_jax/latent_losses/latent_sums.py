"""What the latent loss adds up over pixels and patches, on one device: see `characteristic` for what it is for."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PATCH = 3
REACH = 2  # pixels, of the term `neighbours`
BLOCK = 8  # pixels, of the term `places`
CELL = 4  # pixels, of the term `phases`
STEP, POINTS = 0.4, 8  # the points t of characteristic functions: 0.4, 0.8, ... 3.2, and by symmetry their negatives
T = STEP * np.arange(1, POINTS + 1, dtype=np.float32)
DENSE, PAIRS = 4, 4  # directions over the whole patch; directions over its centre and one other value
WAVES = 8  # random features of the fused image's patch
LAGS = tuple(
    (down, right) for down in range(REACH + 1) for right in range(-REACH, REACH + 1) if (down, right) >= (0, 0)
)


class Sums(NamedTuple):
    """What devices add up; n pixels in the mask, N patches with their centre in it, K directions, F features."""

    pixels: jax.Array  # n
    hermite: jax.Array  # (4, C): Σ He_k(z)
    lags: jax.Array  # (LAGS,): pairs of pixels at each lag
    products: jax.Array  # (LAGS, C, C)
    patches: jax.Array  # N
    waves: jax.Array  # (2, POINTS, K): Σ cos(t p), Σ sin(t p)
    features: jax.Array  # (F, F): Σ f f'
    cross: jax.Array  # (F, 3 (DENSE + C)): Σ f h(p)
    blocks: jax.Array  # blocks with a pixel in the mask
    squares: jax.Array  # (2 C,): over the blocks, Σ (Σ h)² / pixels for h = z, (z² - 1) / √2
    phase_pixels: jax.Array  # (CELL², 1): pixels at each place in the cells
    phases: jax.Array  # (CELL², 2 C): Σ h over them


@jax.custom_vjp
def wave_sums(p: jax.Array, weight: jax.Array) -> jax.Array:
    """Σ weight cos(t p) and Σ weight sin(t p) over the last axis, for every t of T.

    Multiples of one angle follow from one cosine and one sine; the gradient, a trigonometric polynomial, is evaluated
    anew, so that nothing of size POINTS is kept.

    Args:
      p: (K, N) float.
      weight: (N,); no gradient flows to it.

    Returns:
      (2, POINTS, K).
    """
    first = jnp.cos(STEP * p), jnp.sin(STEP * p)

    def sums(now: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        return _turned(now, first), jnp.stack([now[0] @ weight, now[1] @ weight])

    return jax.lax.scan(sums, first, None, POINTS)[1].swapaxes(0, 1)


def _turned(now: tuple[jax.Array, jax.Array], by: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of the sum of two angles."""
    return now[0] * by[0] - now[1] * by[1], now[1] * by[0] + now[0] * by[1]


def _wave_sums_bwd(kept: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    p, weight = kept
    first = jnp.cos(STEP * p), jnp.sin(STEP * p)

    def add(carry: tuple[jax.Array, tuple[jax.Array, jax.Array]], of_t: tuple[jax.Array, jax.Array]):
        slope, now = carry
        t, (of_cos, of_sin) = of_t
        slope = slope + t * (of_sin[:, None] * now[0] - of_cos[:, None] * now[1])
        return (slope, _turned(now, first)), None

    (slope, _), _ = jax.lax.scan(add, (jnp.zeros_like(p), first), (jnp.asarray(T, p.dtype), g.swapaxes(0, 1)))
    return slope * weight, jnp.zeros_like(weight)


wave_sums.defvjp(lambda p, weight: (wave_sums(p, weight), (p, weight)), _wave_sums_bwd)


def _tiles(x: jax.Array, offset: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (N, 9, C): patches side by side from `offset` (2,) on, zeros beyond the image."""
    batch, height, width, channels = x.shape
    rows, columns = (-(-(size + PATCH - 1) // PATCH) for size in (height, width))
    padding = [(PATCH - 1, PATCH * count - size) for count, size in ((rows, height), (columns, width))]
    padded = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    cut = jax.lax.dynamic_slice(padded, (0, offset[0], offset[1], 0), (batch, PATCH * rows, PATCH * columns, channels))
    tiles = cut.reshape(batch, rows, PATCH, columns, PATCH, channels).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(-1, PATCH**2, channels)


def draw_directions(key: jax.Array, channels: int, dtype: jnp.dtype) -> jax.Array:
    """Unit vectors to project patches on.

    Args:
      key: of the draw.
      channels: C, of the latent.
      dtype: of the result.

    Returns:
      (DENSE + C + PAIRS, 9 C): Gaussian directions, the centre of each channel, a centre with one other value.
    """
    dense_key, first_key, second_key, angle_key = jax.random.split(key, 4)
    size, centre = PATCH**2 * channels, PATCH**2 // 2 * channels
    dense = jax.random.normal(dense_key, (DENSE, size), dtype)
    dense = dense / jnp.linalg.norm(dense, axis=1, keepdims=True)
    first = centre + jax.random.randint(first_key, (PAIRS,), 0, channels)
    second = (first + jax.random.randint(second_key, (PAIRS,), 1, size)) % size
    angle = jax.random.uniform(angle_key, (PAIRS, 1), dtype, 0, 2 * jnp.pi)
    pairs = jnp.cos(angle) * jax.nn.one_hot(first, size, dtype=dtype) + jnp.sin(angle) * jax.nn.one_hot(
        second, size, dtype=dtype
    )
    return jnp.concatenate([dense, jnp.eye(size, dtype=dtype)[centre : centre + channels], pairs])


def _projections(tiles: jax.Array, inside: jax.Array, directions: jax.Array) -> jax.Array:
    """(K, N) projections of the (N, 9, C) values inside the mask, scaled so that N(0, I) gives N(0, 1)."""
    flat = len(tiles), directions.shape[1]
    weight = jnp.broadcast_to(inside, tiles.shape).reshape(flat)
    lengths = directions**2 @ weight.T
    projected = directions @ jnp.where(weight > 0, tiles.reshape(flat), 0).T
    return projected / jnp.sqrt(jnp.where(lengths > 1e-6, lengths, 1))


def _features(key: jax.Array, tiles: jax.Array) -> jax.Array:
    """(N, F) features of (N, 9) patches in [0, 1]: 1, mean, contrasts, square, deviation, random waves."""
    mean = tiles.mean(1, keepdims=True)
    contrasts = tiles - mean
    deviation = jnp.sqrt((contrasts**2).mean(1, keepdims=True) + 1e-6)
    mean_key, contrast_key, phase_key = jax.random.split(key, 3)
    angles = (
        mean * 6 * jax.random.normal(mean_key, (1, WAVES), tiles.dtype)
        + contrasts @ (8 * jax.random.normal(contrast_key, (PATCH**2, WAVES), tiles.dtype))
        + jax.random.uniform(phase_key, (1, WAVES), tiles.dtype, 0, 2 * jnp.pi)
    )
    return jnp.concatenate(
        [jnp.ones_like(mean), mean, 10 * contrasts[:, 1:], mean**2, 10 * deviation, jnp.cos(angles)], 1
    )


def _standard_tests(p: jax.Array) -> jax.Array:
    """p, |p| and p² on a new last axis, scaled to mean 0 and variance 1 under N(0, 1)."""
    half = float(np.sqrt(2 / np.pi))
    return jnp.stack([p, (jnp.abs(p) - half) / float(np.sqrt(1 - half**2)), (p**2 - 1) / float(np.sqrt(2))], -1)


def _lag_sums(z: jax.Array, inside: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pairs (LAGS,) and products (LAGS, C, C) of the values, 0 outside, with their neighbours."""
    height, width = z.shape[1:3]
    padding = [(0, 0), (0, REACH), (REACH, REACH), (0, 0)]
    far, far_inside = jnp.pad(z, padding), jnp.pad(inside, padding)
    counts, products = [], []
    for down, right in LAGS:
        place = np.s_[:, down : down + height, REACH + right : REACH + right + width]
        counts.append((inside * far_inside[place]).sum())
        products.append(jnp.einsum("bhwc,bhwd->cd", z, far[place], precision="highest"))
    return jnp.stack(counts), jnp.stack(products)


def _in_squares(x: jax.Array, size: int) -> jax.Array:
    """(B, H, W, C) -> (B, rows, size, columns, size, C): squares side by side, zeros beyond the image."""
    padded = jnp.pad(x, [(0, 0), (0, -x.shape[1] % size), (0, -x.shape[2] % size), (0, 0)])
    batch, height, width, channels = padded.shape
    return padded.reshape(batch, height // size, size, width // size, size, channels)


def _place_tests(z: jax.Array, inside: jax.Array) -> jax.Array:
    """z and (z² - 1) / √2, 0 outside, one after the other: (B, H, W, 2 C)."""
    return jnp.concatenate([z, inside * _hermite(z)[1]], -1)


def _block_sums(tests: jax.Array, inside: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Blocks with a pixel inside, and (2 C,) sums over them of (Σ h)² / pixels."""
    counts, sums = (_in_squares(x, BLOCK).sum((2, 4)) for x in (inside, tests))
    return (counts > 0).sum().astype(tests.dtype), (sums**2 / jnp.maximum(counts, 1)).sum((0, 1, 2))


def _phase_sums(tests: jax.Array, inside: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pixels inside at each place in cells of CELL x CELL, (CELL², 1), and (CELL², 2 C) sums of the tests there."""
    pixels, sums = (_in_squares(x, CELL).sum((0, 1, 3)).reshape(CELL**2, -1) for x in (inside, tests))
    return pixels, sums


def _hermite(z: jax.Array) -> jax.Array:
    """(4, ...): He_k(z) / √(k!), of mean 0 and variance 1 under N(0, 1)."""
    square = z**2
    return jnp.stack(
        [
            z,
            (square - 1) / float(np.sqrt(2)),
            z * (square - 3) / float(np.sqrt(6)),
            (square * (square - 6) + 3) / float(np.sqrt(24)),
        ]
    )


def local_sums(latent: jax.Array, fused: jax.Array, mask: jax.Array, key: jax.Array) -> Sums:
    """The sums of one device's images.

    Args:
      latent: (B, H, W, C).
      fused: (B, H, W, 1), about [0, 1]; no gradient flows to it.
      mask: (B, H, W, 1) bool, true where a pixel counts.
      key: the same on every device.
    """
    channels = latent.shape[-1]
    directions_key, offset_key, features_key = jax.random.split(key, 3)
    inside = mask.astype(latent.dtype)
    z = jnp.where(mask, latent, 0)
    pixels, of_places = z.reshape(-1, channels), _place_tests(z, inside)
    offset = jax.random.randint(offset_key, (2,), 0, PATCH)
    tiles_inside = _tiles(inside, offset)
    projected = _projections(_tiles(z, offset), tiles_inside, draw_directions(directions_key, channels, latent.dtype))
    centre = tiles_inside[:, PATCH**2 // 2, 0]
    features = _features(features_key, _tiles(jax.lax.stop_gradient(fused), offset)[..., 0]) * centre[:, None]
    tests = _standard_tests(projected[: DENSE + channels])
    cross = jnp.einsum("nf,knh->fkh", features, tests, precision="highest").reshape(features.shape[1], -1)
    return Sums(
        inside.sum(),
        jnp.einsum("knc,n->kc", _hermite(pixels), inside.ravel(), precision="highest"),
        *_lag_sums(z, inside),
        centre.sum(),
        wave_sums(projected, centre),
        jnp.einsum("nf,ng->fg", features, features, precision="highest"),
        cross,
        *_block_sums(of_places, inside),
        *_phase_sums(of_places, inside),
    )
