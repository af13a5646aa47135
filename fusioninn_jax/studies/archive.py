"""The lossless archive: a fused image that any viewer opens, and what gives its sources back bit for bit.

A NIfTI file. Its voxels are the fused image in 12 bits; a header extension holds the latent in rounded steps, the
model, and for each source the residual against what the model's inverse makes of the two, in float64 on the CPU.
Float64 results of two machines differ in the last digits, so where the prediction lies within GUARD of the border
between two integers the chosen one is stored too: decoding is exact as long as machines agree to GUARD of a level
(they agree to about 1e-9). A checksum of the voxels is verified after each decoding, and once before an archive is
called written. See docs/guide/lossless.md.
"""
from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from fusioninn_jax import pretrained, volumes
from fusioninn_jax.formats import nifti, provenance
from fusioninn_jax.formats.files import Storage
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series, to_type
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import fusing, integer_codec
from fusioninn_jax.studies.integer_codec import Block
from fusioninn_jax.trained_model import TrainedModel

LEVEL = 2.0**-12  # of the fused image; finer levels cost more than they save in the residuals
GUARD = 1e-4  # of a level of the prediction
LARGEST = 2.0**62  # levels; int64 holds them
FLOAT_LEVELS = 2.0**16  # over the range of a float source; the residual of its bits does the rest
PARTS = ("residual", "places", "chosen")  # of what is kept for each source
TRIAL_SLICES = 6
TRIAL_STEPS = [2.0**k for k in range(-8, 2)]  # of the latent, in its standard deviations over 8


def encode(trained: TrainedModel, sources: Sequence[Series], *, asked: Sequence[str | float] = ("auto",),
           names: Sequence[str] = ()) -> tuple[Series, list[nifti.Extension]]:
    """The fused image of an archive and the extensions of its header.

    Raises:
      UserError: another number of series than the model takes, or a model that cannot decompose.
    """
    if trained.model.decompose is None:
        raise UserError("--lossless needs a model that can decompose; give a FusionINN --checkpoint")
    image, record, volume = fusing.fuse(trained, sources, Storage(np.dtype(np.int16), LEVEL), asked=asked, names=names)
    ranges = _stored_ranges(sources)
    config, weights = pretrained.to_bytes(trained.variables, trained.config)
    predictor = _predictor(config, weights)
    step = _choose_step(predictor, image, volume.latent, sources, ranges)
    latent = np.rint(np.asarray(volume.latent, np.float64) / step).astype(np.int64)
    prediction = predictor(image, latent * step, ranges)
    levels = [_level(source.stored) for source in sources]
    arrays = {"latent": np.moveaxis(latent, -1, 0)}
    for i, source in enumerate(sources):
        arrays |= {f"{name}{i}": array for name, array in _residual(source.stored, prediction[i], levels[i]).items()}
    meta = {"step": step, "levels": levels, "ranges": ranges.tolist(),
            "sha256": [checksum(source.stored) for source in sources]}
    strings = {"config": config.encode(), "weights": weights}
    payload = integer_codec.pack(Block(meta, arrays, strings))
    return image, [(nifti.COMMENT, provenance.text(record)), (nifti.PRIVATE, payload)]


def payload(path: pathlib.Path) -> bytes | None:
    """What an archive hides in its header, None where a file is no archive."""
    found = [content for code, content in nifti.extensions(path) if code == nifti.PRIVATE]
    return next((content for content in found if content.startswith(integer_codec.MAGIC)), None)


def decode(path: pathlib.Path, image: Series, record: Provenance, content: bytes) -> list[Series]:
    """The sources of an archive, bit for bit.

    Args:
      path: of the archive, for messages.
      image, record: its fused image and record.
      content: from `payload`.

    Raises:
      UserError: a damaged archive, or one whose checksum is not met.
    """
    sources = provenance.sources(record, image)
    try:
        block = integer_codec.unpack(content)
        predictor = _predictor(block.strings["config"].decode(), block.strings["weights"])
        latent = np.moveaxis(block.arrays["latent"], 0, -1) * block.meta["step"]
        prediction = predictor(image, latent, np.asarray(block.meta["ranges"]))
        parts = [{name: block.arrays[f"{name}{i}"] for name in PARTS} for i in range(len(sources))]
        stored = [_restore(parts[i], prediction[i], block.meta["levels"][i], source.stored.dtype)
                  for i, source in enumerate(sources)]
    except (ValueError, KeyError, OSError, EOFError, UserError) as error:
        raise UserError(f"{path}: the archive in its header is damaged ({error}); fetch the file anew") from error
    for i, voxels in enumerate(stored):
        if checksum(voxels) != block.meta["sha256"][i]:
            raise UserError(f"{path}: the checksum of series {i + 1} is not met: the file was changed, or this machine "
                            "computes too differently; fetch it anew or decode it elsewhere")
    return [source._replace(stored=voxels) for source, voxels in zip(sources, stored, strict=True)]


def checksum(stored: np.ndarray) -> str:
    """SHA-256 over type, shape and little-endian voxels of axial slices, 64 hexadecimal digits."""
    little = stored.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{little.str} {stored.shape}".encode())
    digest.update(np.ascontiguousarray(stored, little).tobytes())
    return digest.hexdigest()


def _stored_ranges(sources: Sequence[Series]) -> np.ndarray:
    """(Z, m, 2) float64 minimum and maximum of each slice, in stored levels."""
    return np.stack([np.stack([source.stored.min((1, 2)), source.stored.max((1, 2))], -1).astype(np.float64)
                     for source in sources], 1)


def _predictor(config_text: str, weights: bytes) -> Any:
    """A function (image, latent, ranges) -> (m, Z, H, W) of the model's inverse, all in float64 on the CPU."""
    config = ml_collections.ConfigDict(json.loads(config_text))
    with config.unlocked():
        if "dtype" in config.model[config.model.name]:
            config.model[config.model.name].dtype = "float32"  # else convolutions are rounded to 8 bits
    model, variables, *_ = pretrained.from_bytes(config.to_json(), weights)

    def predict(image: Series, latent: np.ndarray, ranges: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
            precise = jax.tree.map(lambda x: np.asarray(x, np.float64), variables)
            values = image.stored.astype(np.float64) * LEVEL
            volume = dataclasses.replace(volumes.from_fused(values, ranges, model.multiple), latent=latent)
            return np.asarray(volumes.decompose_volume(model, precise, volume, batch_size=1))

    return predict


def _choose_step(predictor: Any, image: Series, latent: Any, sources: Sequence[Series], ranges: np.ndarray) -> float:
    """The rounding step of the latent that makes an archive of some slices with content smallest."""
    latent = np.asarray(latent, np.float64)
    content = np.flatnonzero((ranges[..., 1] > ranges[..., 0]).any(-1))
    if not len(content):
        return 1.0
    some = content[np.unique(np.linspace(0, len(content) - 1, TRIAL_SLICES).round().astype(int))]
    some = np.resize(some, min(TRIAL_SLICES, len(latent)))  # one shape, one compilation
    image = image._replace(stored=image.stored[some], slope=image.slope[some], intercept=image.intercept[some])
    latent, ranges, unit = latent[some], ranges[some], 2.0 ** np.round(np.log2(latent[some].std() or 1.0) - 3)

    def size(step: float) -> int:
        rounded = np.rint(latent / step).astype(np.int64)
        prediction = predictor(image, rounded * step, ranges)
        residuals = [_residual(source.stored[some], prediction[i], _level(source.stored))["residual"]
                     for i, source in enumerate(sources)]
        return len(integer_codec.pack(Block({}, {str(i): a for i, a in enumerate([rounded[..., 0], *residuals])}, {})))

    return min((unit * step for step in TRIAL_STEPS), key=size)


def _level(stored: np.ndarray) -> float:
    """What the prediction is rounded to: 1 for integers; for floats a power of 2, 2⁻¹⁶ to 2⁻¹⁷ of their range."""
    if stored.dtype.kind != "f":
        return 1.0
    span = float(stored.max()) - float(stored.min())
    return 2.0 ** max(-1000, np.floor(np.log2(span / FLOAT_LEVELS))) if span > 0 else 1.0


def _residual(stored: np.ndarray, prediction: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """What `_restore` needs beside the prediction: the residual, and the choices where rounding is uncertain."""
    scaled = prediction / level
    chosen = _rounded(scaled)
    uncertain = np.flatnonzero(np.abs(scaled - chosen) > 0.5 - GUARD)
    return {"residual": _ordered(stored) - _ordered(to_type(chosen * level, stored.dtype)),
            "places": np.diff(uncertain, prepend=0), "chosen": chosen.ravel()[uncertain].astype(np.int64)}


def _restore(parts: dict[str, np.ndarray], prediction: np.ndarray, level: float, dtype: np.dtype) -> np.ndarray:
    """The stored voxels."""
    chosen = _rounded(prediction / level)
    chosen.ravel()[np.cumsum(parts["places"])] = parts["chosen"]
    return _unordered(parts["residual"] + _ordered(to_type(chosen * level, dtype)), dtype)


def _rounded(scaled: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(scaled), -LARGEST, LARGEST)


def _ordered(stored: np.ndarray) -> np.ndarray:
    """Values of any type as int64, one to one; the bits of floats in the order of their values."""
    if stored.dtype.kind != "f":
        return stored.astype(np.int64)
    width = stored.dtype.itemsize * 8
    bits = stored.view(f"i{width // 8}").astype(np.int64)
    return np.where(bits < 0, bits ^ (2 ** (width - 1) - 1), bits)


def _unordered(ordered: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Undoes `_ordered`."""
    if dtype.kind != "f":
        return ordered.astype(dtype)
    width = dtype.itemsize * 8
    bits = np.where(ordered < 0, ordered ^ (2 ** (width - 1) - 1), ordered)
    return bits.astype(f"i{width // 8}").view(dtype)
