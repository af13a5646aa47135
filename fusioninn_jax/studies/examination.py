"""A study fused, decomposed from the fused image alone and scored, slice by slice, cut to the box of its brain."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import volumes
from fusioninn_jax.anatomy.brain import bounding_box, inside
from fusioninn_jax.formats import background, dicom, files, nifti
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import cores
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.progress import bar
from fusioninn_jax.studies import annotation, fusing, page_colour, slice_scores, study_background
from fusioninn_jax.trained_model import TrainedModel, calibration

CHUNK = 16  # slices at a time
MARGIN = 16  # pixels kept around the brain: farther than any score looks


@dataclasses.dataclass(frozen=True)
class Examination:
    """A study with everything that a page shows, cut to the box of its brain, (Z, Y, X) each.

    Attributes:
      labels: what the sources are.
      sources, decomposed, error: (m, Z, Y, X), 0 … 1 in the range of each slice; mean over the samples of the latent,
        and the error that it is expected to have, one standard deviation.
      calibrated: whether that is the error of validation slices where samples spread as much, or the spread alone.
      fused: (Z, Y, X), about [0, 1].
      low, high: (m, Z) range of each slice of each source, in its units.
      brain: bool.
      tumour: uint8, labels of the mask, 0 outside and where there is no mask.
      scores: title -> (Z,), NaN where a slice is not scored.
      corner: voxel (z, y, x) of the whole volume where the box begins.
      whole: (Z, Y, X) shape of the whole volume.
      affine: (4, 4) of the whole volume.
      geometry: whether the affine is the file's; False for images without one.
      samples, seed: of the latent.
      conspicuity: how the tumour stands out, `annotation.conspicuity`.
      chroma: for each source (Z, Y, X, 2) in its units, None of a grey one.
      fused_chroma: (Z, Y, X, 2) in parts of white, None where all are grey.
    """

    labels: tuple[str, ...]
    sources: np.ndarray
    fused: np.ndarray
    decomposed: np.ndarray
    error: np.ndarray
    calibrated: bool
    low: np.ndarray
    high: np.ndarray
    brain: np.ndarray
    tumour: np.ndarray
    scores: dict[str, np.ndarray]
    corner: tuple[int, int, int]
    whole: tuple[int, int, int]
    affine: np.ndarray
    geometry: bool
    samples: int
    seed: int
    conspicuity: dict[str, dict[str, list[float]]]
    chroma: tuple[np.ndarray | None, ...]
    fused_chroma: np.ndarray | None


def examine(
    trained: TrainedModel,
    sources: Sequence[Series],
    tumour: np.ndarray,
    labels: Sequence[str],
    *,
    samples: int,
    seed: int,
    annotation_name: str = "",
) -> Examination:
    """Fuses and decomposes a study and scores every slice.

    Args:
      trained: a model that can decompose.
      sources: m series on one grid.
      tumour: (Z, H, W) labels of a mask on their grid, 0 where there is none.
      labels: m names.
      samples: fresh latents per slice.
      seed: of the latents.
      annotation_name: of the mask's file, which may tell whose labels it holds.

    Raises:
      UserError: a model that cannot decompose, or another number of sources than it takes.
    """
    if trained.model.decompose is None:
        raise UserError("the model of this checkpoint cannot decompose; give a FusionINN --checkpoint")
    sources, floors = study_background.darkened(sources, labels)
    values = np.stack([source.values for source in sources])
    brain = inside(values - floors[:, None, None, None], 0)[0]
    box = brain_box(brain)
    found = _fused_and_scored(trained, _Whole(sources, values, brain, box), labels, samples, seed)
    error = calibration.expected_error(trained.calibration, np.moveaxis(found.deviation, 0, -1), samples)
    parts = annotation.tumour_parts(tumour[box], annotation_name)
    return Examination(
        labels=tuple(labels),
        sources=found.unit,
        fused=found.fused,
        decomposed=found.decomposed,
        error=np.moveaxis(error, -1, 0),
        calibrated=trained.calibration is not None and samples > 1,
        low=found.low,
        high=found.high,
        brain=brain[box],
        tumour=labels_of(tumour[box]),
        scores=found.scores,
        corner=(box[0].start, box[1].start, box[2].start),
        whole=brain.shape,
        affine=sources[0].affine,
        geometry=sources[0].origin["kind"] in (nifti.KIND, dicom.KIND),
        samples=samples,
        seed=seed,
        conspicuity=annotation.conspicuity(found.unit, found.fused, brain[box], parts, list(labels)),
        chroma=page_colour.of_sources(sources, box),
        fused_chroma=page_colour.of_fused(sources, found.fused, box),
    )


class _Whole(NamedTuple):
    """A study before it is cut: its series, their values (m, Z, H, W), the mask (Z, H, W) and the box of its brain."""

    sources: Sequence[Series]
    values: np.ndarray
    brain: np.ndarray
    box: tuple[slice, slice, slice]


class _Scored(NamedTuple):
    """A study cut to its box; names as in `Examination`, `unit` its sources, `deviation` that of the samples."""

    unit: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fused: np.ndarray
    decomposed: np.ndarray
    deviation: np.ndarray
    scores: dict[str, np.ndarray]


def _fused_and_scored(trained: TrainedModel, whole: _Whole, labels: Sequence[str], samples: int, seed: int) -> _Scored:
    """Fuses whole slices, decomposes and scores them within the box, and tells on a bar how it goes."""
    _, values, brain, box = whole
    size = _chunked(brain[box].shape[0], brain.shape)
    with (
        bar(len(brain) + len(range(*box[0].indices(len(brain)))), "fusing", "slices") as progress,
        ThreadPoolExecutor(1) as pool,  # compiles while the other core fuses
    ):
        work = pool.submit(_compiled, trained, labels, size, box[1:], samples, seed)
        asked = (background.MINIMUM,)
        volume = fusing.fuse(trained, whole.sources, files.FLOAT, asked=asked, done=progress.update).volume
        low, high = np.moveaxis(np.asarray(volume.ranges)[box[0]], -1, 0).transpose(0, 2, 1)
        scale = np.where(high > low, high - low, 1)[..., None, None]
        unit = (values[:, *box] - low[..., None, None]) / scale
        fused = np.asarray(volume.fused)[box[0]]  # whole slices: the model sees far beyond the box
        progress.set_description(f"decomposing {samples} times, scoring")
        decomposed, deviation, scores = _in_chunks(work, unit, fused, brain[box], progress.update)
    scored = slice_scores.is_scored(brain)[box[0]]
    kept = {title: np.where(scored, scores[title], np.nan) for title in slice_scores.titles(labels) if scores}
    return _Scored(unit, low, high, fused[:, *box[1:]], decomposed, deviation, kept)


def brain_box(brain: np.ndarray) -> tuple[slice, slice, slice]:
    """The box (z, y, x) of a mask `brain`, (Z, H, W), `MARGIN` pixels wider in y and x; all of it where it is empty."""
    z, y, x = bounding_box(brain, (0, MARGIN, MARGIN))
    return z, y, x


def labels_of(mask: np.ndarray) -> np.ndarray:
    """A `mask`, (Z, Y, X), as uint8: its labels where all are whole numbers below 256, else 1 where it is above 0."""
    inside = mask[mask > 0]
    if inside.size and inside.max() < 256 and (inside == np.rint(inside)).all():
        return np.where(mask > 0, mask, 0).astype(np.uint8)
    return (mask > 0).astype(np.uint8)


Parts = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]
Work = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Parts]


def _chunked(count: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the slices that are worked on at a time: of `count` of a volume of this shape."""
    return (min(CHUNK, count), *shape[1:])


def _compiled(
    trained: TrainedModel,
    labels: Sequence[str],
    size: tuple[int, ...],
    cut: tuple[slice, slice],
    samples: int,
    seed: int,
) -> Work:
    """What is done to some whole slices, of one shape: decomposed, then cut to a box of y and x and scored there."""
    decomposed = _compiled_decomposition(trained, len(labels), size, cut, samples, seed)
    score = _compiled_score(labels, (size[0], *(side.stop - side.start for side in cut)))

    def run(sources: np.ndarray, fused: np.ndarray, brain: np.ndarray, numbers: np.ndarray) -> Parts:
        mean, deviation = decomposed(fused, numbers)
        scores = (
            {}
            if score is None
            else score(sources[..., None], fused[:, *cut, None], jnp.expand_dims(mean, -1), brain[..., None])
        )
        return np.asarray(mean), np.asarray(deviation), {title: np.asarray(value) for title, value in scores.items()}

    return run


def _compiled_decomposition(
    trained: TrainedModel, count: int, size: tuple[int, ...], cut: tuple[slice, slice], samples: int, seed: int
) -> Callable[[np.ndarray, np.ndarray], tuple[jax.Array, jax.Array]]:
    """Mean and deviation of draws for fused slices of `size`, (count, slices, y, x), cut to the box."""
    key, ranges = jax.random.key(seed), np.tile(np.array([0, 1], np.float32), (size[0], count, 1))

    def decompose(fused: jax.Array, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
        volume = volumes.from_fused(fused, ranges, trained.model.multiple)
        mean, deviation = volumes.decompose_samples(
            trained.model, trained.variables, volume, key=key, samples=samples, prior=trained.prior, numbers=numbers
        )
        return mean[:, :, *cut], deviation[:, :, *cut]

    flat, numbers = jax.ShapeDtypeStruct(size, np.float32), jax.ShapeDtypeStruct(size[:1], np.int32)
    return jax.jit(decompose).lower(flat, numbers).compile()


def _compiled_score(labels: Sequence[str], size: tuple[int, ...]) -> Callable[..., dict[str, jax.Array]] | None:
    """`slice_scores.make_score` for slices of this size; None where they are too small for it."""
    if min(size[1:]) < slice_scores.SMALLEST:
        return None
    image, stack = (jax.ShapeDtypeStruct(shape, np.float32) for shape in ((*size, 1), (len(labels), *size, 1)))
    mask = jax.ShapeDtypeStruct(image.shape, bool)
    return slice_scores.make_score(labels).lower(stack, image, stack, mask).compile()


def _in_chunks(
    work: Future[Work], sources: np.ndarray, fused: np.ndarray, brain: np.ndarray, done: Callable[[int], object]
) -> Parts:
    """Decomposed images, their deviation and the scores of every slice, some at a time, two at once."""
    run, count, size = work.result(), len(fused), min(CHUNK, len(fused))

    def one(start: int) -> Parts:
        z = np.minimum(np.arange(start, start + size), count - 1).astype(np.int32)  # one shape, one compilation
        mean, deviation, scores = run(sources[:, z], fused[z], brain[z], z)
        own = min(size, count - start)
        done(own)
        return mean[:, :own], deviation[:, :own], {title: value[:own] for title, value in scores.items()}

    with cores.pool(2) as pool:
        parts = list(pool.map(one, range(0, count, size)))
    join = functools.partial(np.concatenate, axis=1)
    return (
        join([part[0] for part in parts]),
        join([part[1] for part in parts]),
        {title: np.concatenate([part[2][title] for part in parts]) for title in parts[0][2]},
    )
