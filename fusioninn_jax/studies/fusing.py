"""Series in, a fused image and its latent out, and back; on every device, slices shared out among them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from fusioninn_jax import pretrained, volumes
from fusioninn_jax.formats import background, colour, images, nifti, provenance
from fusioninn_jax.formats.files import Storage
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series, to_type
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import parts, study_background, study_negatives
from fusioninn_jax.trained_model import TrainedModel, calibration
from fusioninn_jax.volumes import FusedVolume


class Fusion(NamedTuple):
    """What fusing a study gives: the image as it will be stored, its record, and the flow's exact output."""

    image: Series
    record: Provenance
    volume: FusedVolume


def load(checkpoint: str | None) -> TrainedModel:
    """A model by the folder of its training or of its two files (`pretrained`).

    Args:
      checkpoint: the folder; None for the model that ships with the package.

    Raises:
      UserError: neither is there, or its calibration is damaged.
    """
    trained = _load(checkpoint)
    folder = pretrained.FOLDER if checkpoint is None else checkpoint
    name = pretrained.fingerprint(trained.variables, trained.config)
    return trained._replace(calibration=calibration.load(folder, name))


def _load(checkpoint: str | None) -> TrainedModel:
    trained = pretrained.load() if checkpoint is None else pretrained.load_from(checkpoint)
    if "data" in trained.config and trained.config.data.get("normalisation", "minmax") != "minmax":
        print(
            f"{checkpoint}: trained on intensities scaled by {trained.config.data.normalisation}; here each slice is "
            "scaled by its own minimum and maximum, from which it comes back whole",
            file=sys.stderr,
        )
    return _with_sound_weights(trained._replace(variables=jax.tree.map(np.asarray, trained.variables)))


def _with_sound_weights(trained: TrainedModel) -> TrainedModel:
    """The model, provided that its weights are finite; else raises UserError."""
    if not all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(trained.variables)):
        raise UserError(
            "the weights of this model are not finite: its training failed, or its file is damaged; give "
            "another --checkpoint"
        )
    return trained


def fuse(
    trained: TrainedModel,
    sources: Sequence[Series],
    storage: Storage,
    *,
    asked: Sequence[str | float] = (background.AUTO,),
    names: Sequence[str] = (),
    inverted: Sequence[int] = (),
    done: Callable[[int], object] | None = None,
) -> Fusion:
    """Fuses series that lie on one grid; the image is rounded to `storage`, the volume is not.

    Args:
      trained: the model.
      sources: its series.
      storage: of the fused image.
      asked: the background of each series, or one for all, see `formats.background`: where parts of the brain lie
        below it, it is fused as the darkest value, and the record says how it was.
      names: of the series, for messages.
      inverted: numbers, from 1, of series that are fused as negatives, see `formats.negative`.
      done: told the number of slices of each part that is fused; None for a bar.

    Raises:
      UserError: another number of series than the model takes, a background that cannot be told, or no series of
        that number.
    """
    if trained.model.sources not in (None, len(sources)):
        raise UserError(
            f"{len(sources)} series: the model of this checkpoint fuses {trained.model.sources}; give as "
            "many, or another --checkpoint"
        )
    names = names or [f"series {i}" for i, _ in enumerate(sources, 1)]
    grounds = study_background.find_all(sources, asked, names)
    values = [background.darkened(source.values, found) for source, found in zip(sources, grounds, strict=True)]
    negatives = study_negatives.find_all(values, inverted, names)
    volume = parts.run(
        parts.fuse(trained.model),
        trained.variables,
        *study_negatives.negated(values, negatives),
        what="fusing",
        done=done,
    )
    check_finite(np.asarray(volume.fused), "the fused image")
    image = _as_image(np.asarray(volume.fused), sources, storage)
    name = pretrained.fingerprint(trained.variables, trained.config)
    record = provenance.make(image, list(sources), np.asarray(volume.ranges), name, trained.prior)
    study_background.note(record, grounds)
    study_negatives.note(record, negatives)
    return Fusion(image, record, volume)


def check_finite(volume: np.ndarray, what: str) -> None:
    """Raises UserError where a model made NaN or infinite values: (..., Z, H, W).

    Args:
      volume: what the model made.
      what: its name, for the message.
    """
    bad = ~np.isfinite(volume).all((-2, -1))
    if bad.any():
        number = int(np.argmax(bad.reshape(-1, bad.shape[-1]).any(0))) + 1
        raise UserError(
            f"slice {number} of {what} is not finite: the weights or settings of the model are damaged, or "
            "it was not trained; give another --checkpoint"
        )


def _as_image(fused: np.ndarray, sources: Sequence[Series], storage: Storage) -> Series:
    """The fused image as a series on the first source's grid."""
    dtype, slope, intercept, takes_colour = storage
    first, chroma = sources[0], None
    if takes_colour and any(source.chroma for source in sources):
        stored, chroma = images.of_fused(
            fused, colour.of_fused([source.chroma for source in sources], [source.values for source in sources])
        )
    else:
        stored = to_type((fused.astype(np.float64) - intercept) / slope, dtype)
    return Series(
        stored,
        np.full(len(fused), slope),
        np.full(len(fused), intercept),
        first.affine,
        nifti.adopt(first.origin, dtype, slope, intercept),
        chroma=chroma,
    )


def latent_channels(fusion: Fusion) -> tuple[np.ndarray, bool]:
    """(Z, H', W', C) for the latent's file: the latent and, unless it is 0, the remainder of the fused image.

    The remainder is what the stored fused image lacks: its rounding, and its padding where H or W is odd.

    Args:
      fusion: from `fuse`.
    """
    assert fusion.volume.latent is not None
    remainder = np.asarray(fusion.volume.whole - _padded(fusion.image, fusion.volume.whole.shape))[..., None]
    channels = [fusion.volume.latent] + ([remainder] if remainder.any() else [])
    return np.concatenate(channels, -1), len(channels) > 1


def _padded(image: Series, shape: tuple[int, ...]) -> np.ndarray:
    lack = [(0, wanted - there) for wanted, there in zip(shape, image.stored.shape, strict=True)]
    return np.pad(image.values, lack, mode="edge")


def as_volume(
    trained: TrainedModel, image: Series, record: Provenance, latent: np.ndarray | None = None, remainder: bool = False
) -> FusedVolume:
    """A FusedVolume from a fused image as stored and, where it was kept, what `latent_channels` made of it.

    Args:
      trained: the model that fused.
      image: the fused image as stored.
      record: its provenance.
      latent: (Z, H', W', C) from the latent's file; None for a fresh one.
      remainder: whether its last channel is the remainder of the fused image.
    """
    volume = volumes.from_fused(image.values, np.asarray(record["ranges"], np.float32), trained.model.multiple)
    if latent is not None and remainder:
        volume = dataclasses.replace(volume, whole=volume.whole + latent[..., -1])
        latent = latent[..., :-1]
    return dataclasses.replace(volume, latent=latent)


def decompose(trained: TrainedModel, volume: FusedVolume, seed: int) -> np.ndarray:
    """(m, Z, H, W) float32 sources, from the volume's latent or a fresh one.

    Args:
      trained: the model that fused.
      volume: from `as_volume`.
      seed: of a fresh latent.
    """
    numbers, key = np.arange(len(volume.whole)), jax.random.key(seed)
    result = parts.run(
        parts.decompose(trained.model, trained.prior), (trained.variables, key), volume, numbers, what="decomposing"
    )
    check_finite(np.moveaxis(result, 1, 0), "the decomposition")
    return np.moveaxis(result, 1, 0)


def decompose_samples(
    trained: TrainedModel, volume: FusedVolume, seed: int, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of `samples` decompositions and its standard error, each (m, Z, H, W), in the units of the sources.

    The error is what the calibration makes of the spread of the samples; without one it is that spread, which is
    smaller.

    Args:
      trained: the model that fused.
      volume: from `as_volume`.
      seed: of the latents.
      samples: how many.
    """
    numbers, key = np.arange(len(volume.whole)), jax.random.key(seed)
    mean, deviation = parts.run(
        parts.sample(trained.model, trained.prior, samples),
        (trained.variables, key),
        dataclasses.replace(volume, latent=None),
        numbers,
        what=f"decomposing {samples} times",
    )
    check_finite(np.moveaxis(mean, 1, 0), "the decomposition")
    low, high = np.moveaxis(np.asarray(volume.ranges, np.float32), -1, 0)[..., None, None]
    width = np.where(high > low, high - low, 1)  # (Z, m, 1, 1)
    error = calibration.expected_error(trained.calibration, np.moveaxis(deviation / width, 1, -1), samples)
    deviation = np.moveaxis(error, -1, 1) * width
    return np.moveaxis(mean, 1, 0), np.moveaxis(deviation, 1, 0)
