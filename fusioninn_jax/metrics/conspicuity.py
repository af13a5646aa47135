"""Whether a picture shows a lesion: how far a labelled region stands out from the rest of the brain by grey value.

Images are (B, H, W, 1) or (B, H, W) float, sources in [0, 1], a raw fused image may leave it; `region` and `reference`
have that shape and are true where a pixel counts. Results are (B,). Images are taken as they are: to judge the picture
that is kept, give the image rounded to its grey levels, or count them: `grey_levels` of several slices may be added
up, and `auc_of_levels` and `contrast_to_noise_of_levels` then pool the pixels of a whole patient.

`region` is a part of the annotation, `reference` the other brain: `other_brain`, which holds no annotated pixel of any
part. A value is NaN for an image where either is empty: nothing can be said of it, and 0 would be a judgement.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fusioninn_jax import ssim as structural
from fusioninn_jax.metrics import _inputs

LEVELS = 256
CHANCE = {"auc": 0.5, "contrast_to_noise": 0.0}  # of an image that does not show the region at all
ROUNDING = 1 / (255 * 12**0.5)  # standard deviation of the rounding to 8 bits, in units of the range [0, 1]


class Relative(NamedTuple):
    """A measure of conspicuity of the fused image and of what it was made from.

    Attributes:
      fused: of the fused image.
      sources: (m, ...) of each source.
      mean: of the plain mean of the sources, the fusion that costs nothing.
      over_best: how much farther from chance the fused image is than the source that shows the region best.
      over_mean: the same, than the plain mean.
    """

    fused: jax.Array
    sources: jax.Array
    mean: jax.Array
    over_best: jax.Array
    over_mean: jax.Array


def other_brain(brain: ArrayLike, labels: ArrayLike) -> jax.Array:
    """The pixels of the brain that no part of the annotation claims.

    Args:
      brain: (B, H, W, 1) bool.
      labels: the same shape, 0 where nothing is annotated.

    Returns:
      The same shape, bool.
    """
    return jnp.asarray(brain).astype(bool) & (jnp.asarray(labels) == 0)


def grey_levels(image: ArrayLike, inside: ArrayLike) -> jax.Array:
    """How many pixels have each of the 256 grey levels of the 8-bit picture.

    Args:
      image: (B, H, W, 1) or (B, H, W), floats about [0, 1]; what leaves it is clipped.
      inside: the same shape, true where a pixel counts.

    Returns:
      (B, 256) int32.

    Raises:
      ValueError: shapes differ; outside jit also values that are not finite, or 0..255.
    """
    (image,), mask = _inputs.prepare({"image": image}, mask=inside, raw=("image",))
    assert mask is not None
    return _count(image.reshape(len(image), -1), mask.reshape(len(image), -1))


@jax.jit
def _count(image: jax.Array, inside: jax.Array) -> jax.Array:
    levels = _inputs.to_8bit(image).astype(jnp.int32)
    return jax.vmap(lambda row, of: jnp.zeros(LEVELS, jnp.int32).at[row].add(of))(levels, inside.astype(jnp.int32))


def _prepare(image: ArrayLike, region: ArrayLike, reference: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(B, H·W) each."""
    (array,), first = _inputs.prepare({"image": image}, mask=region, raw=("image",))
    _, second = _inputs.prepare({"image": array}, mask=reference, raw=("image",))
    assert first is not None and second is not None
    return array.reshape(len(array), -1), first.reshape(len(array), -1), second.reshape(len(array), -1)


@jax.jit
def _auc(image: jax.Array, region: jax.Array, reference: jax.Array) -> jax.Array:
    def of_one(row: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        values, region, reference = row
        ordered = jnp.sort(jnp.where(reference, values, jnp.inf))  # what does not count lies above every value
        below = jnp.searchsorted(ordered, values, side="left", method="scan_unrolled")
        not_above = jnp.searchsorted(ordered, values, side="right", method="scan_unrolled")
        share = (below + not_above) / (2 * reference.sum())  # 0/0: NaN
        return jnp.where(region, share, 0).sum() / region.sum().astype(share.dtype)

    return jax.lax.map(of_one, (image, region, reference))


def auc(image: ArrayLike, region: ArrayLike, reference: ArrayLike) -> jax.Array:
    """Area under the receiver operating characteristic curve of grey value as a test for the region.

    P(a > b) + P(a = b) / 2, with a a pixel of the region and b one of the reference: the Mann-Whitney statistic over
    the number of pairs, exact, ties at a half. Rewards a region brighter than the other brain, whatever the gain and
    offset of the image. Traps: a region darker than the other brain scores below a half and stands out as well; the
    shape of the region, by which an eye also finds it, does not count.

    Args:
      image: (B, H, W, 1) or (B, H, W), floats about [0, 1].
      region: the same shape, true in the region.
      reference: the same shape, true in what it is compared with.

    Returns:
      (B,) in [0, 1]; a half where the image tells nothing, NaN where region or reference is empty.

    Raises:
      ValueError: shapes differ; outside jit also values that are not finite, or 0..255.

    Source: Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC)
    curve", section III.
    """
    return _auc(*_prepare(image, region, reference))


@jax.jit
def auc_of_levels(region: jax.Array, reference: jax.Array) -> jax.Array:
    """`auc` of pixels counted by `grey_levels`.

    Args:
      region: (..., 256) counts in the region.
      reference: (..., 256) counts in what it is compared with.

    Returns:
      (...); NaN where either is empty.
    """
    region, reference = (_shares(counts) for counts in (region, reference))
    below = jnp.cumsum(reference, -1) - reference
    return (region * (below + reference / 2)).sum(-1)


def _shares(counts: jax.Array) -> jax.Array:
    """Counts over their sum; 0/0: NaN."""
    counts = jnp.asarray(counts, jnp.promote_types(jnp.asarray(counts).dtype, jnp.float32))
    return counts / counts.sum(-1, keepdims=True)


@jax.jit
def _contrast_to_noise(image: jax.Array, region: jax.Array, reference: jax.Array) -> jax.Array:
    def mean(values: jax.Array, inside: jax.Array) -> jax.Array:
        return jnp.where(inside, values, 0).sum(1) / inside.sum(1).astype(values.dtype)  # 0/0: NaN

    level = mean(image, reference)
    variance = mean((image - level[:, None]) ** 2, reference)
    return (mean(image, region) - level) / jnp.sqrt(jnp.maximum(variance, ROUNDING**2))


def contrast_to_noise(image: ArrayLike, region: ArrayLike, reference: ArrayLike) -> jax.Array:
    """(mean of the region - mean of the reference) / standard deviation of the reference, with divisor N.

    Rewards a region far from the other brain in units of how that varies. Traps: the other brain's spread is mostly
    anatomy, not noise; a few very bright pixels lift the mean.

    Args:
      image: (B, H, W, 1) or (B, H, W), floats about [0, 1].
      region: the same shape, true in the region.
      reference: the same shape, true in what it is compared with.

    Returns:
      (B,); negative where the region is darker, NaN where region or reference is empty. The deviation counts as that
      of 8-bit rounding at least, 0.0011, so that a constant image scores 0.

    Raises:
      ValueError: shapes differ; outside jit also values that are not finite, or 0..255.
    """
    return _contrast_to_noise(*_prepare(image, region, reference))


@jax.jit
def contrast_to_noise_of_levels(region: jax.Array, reference: jax.Array) -> jax.Array:
    """`contrast_to_noise` of pixels counted by `grey_levels`.

    Args:
      region, reference: as for `auc_of_levels`.

    Returns:
      (...); NaN where either is empty.
    """
    region, reference = (_shares(counts) for counts in (region, reference))
    levels = jnp.arange(LEVELS, dtype=region.dtype) / (LEVELS - 1)
    level = (reference * levels).sum(-1)
    variance = (reference * (levels - level[..., None]) ** 2).sum(-1)
    return ((region * levels).sum(-1) - level) / jnp.sqrt(jnp.maximum(variance, ROUNDING**2))


def relative(fused: jax.Array, sources: jax.Array, mean: jax.Array, *, chance: float) -> Relative:
    """A measure of the fused image beside that of each source and of the plain mean.

    What is compared is the distance from chance, since a region darker than the other brain stands out as a brighter
    one does.

    Args:
      fused: (...) values of `auc` or `contrast_to_noise`, of the fused image.
      sources: (m, ...) of each source.
      mean: (...) of the plain mean of the sources.
      chance: CHANCE of the measure.
    """
    distance, of_mean = jnp.abs(fused - chance), jnp.abs(mean - chance)
    return Relative(fused, sources, mean, distance - jnp.abs(sources - chance).max(0), distance - of_mean)


def fairness(*images: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
    """SSIM of the fused image with the source that it resembles least: min over i of SSIM(x_i, y).

    Rewards a picture that leans on no source at the cost of another; Q_SSIM, the mean over two sources, may hide that.
    Trap: what can be had depends on the pair, so compare with the plain mean of the same sources, not with 1.

    Args:
      images: m sources (B, H, W, 1) in [0, 1], H and W at least 11, and after them the fused image, which may leave it.
      mask: (B, H, W, 1), true where a pixel counts: the brain.

    Returns:
      (B,) in [-1, 1]; 0 for an empty mask.

    Raises:
      ValueError: no source; shapes differ or are too small; outside jit also sources outside [0, 1], values that are
        not finite.

    Source: SSIM of Wang, Bovik, Sheikh, Simoncelli 2004, eq. 13; the minimum is ours.
    """
    if len(images) < 2:
        raise ValueError("fairness takes one source at least, and after the sources the fused image")
    named = {f"source {i}": image for i, image in enumerate(images[:-1], 1)} | {"fused": images[-1]}
    (*sources, fused), inside = _inputs.prepare(named, mask=mask, window=structural.WINDOW, raw=("fused",))
    return _worst_ssim(tuple(sources), fused, inside)


@jax.jit
def _worst_ssim(sources: tuple[jax.Array, ...], fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    of_fused = structural.moments(fused)
    return jnp.stack(
        [structural.ssim(source, fused, mask=mask, known=(structural.moments(source), of_fused)) for source in sources]
    ).min(0)
