"""Reading archives of version 1, which hold a model and residuals against its inverse.

Their picture has 12 bits; a header extension holds the latent in rounded steps, the model, and for each source the
residual against what the model's inverse makes of the two, in float64 on the CPU. Where a prediction lies near the
border between two integers the chosen one is stored too. The voxels have checksums; their record has none.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable

import jax
import ml_collections
import numpy as np

from fusioninn_jax import pretrained, volumes
from fusioninn_jax.formats import provenance
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series, to_type
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import integer_codec
from fusioninn_jax.studies.archive_format import checksum

LEVEL = 2.0**-12  # of the picture
LARGEST = 2.0**62  # levels; int64 holds them
PARTS = ("residual", "places", "chosen")  # of what is kept for each source
SPARE = 2**20  # numbers of an array beyond what the sources hold: the latent is padded
DAMAGED = (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError, OSError, EOFError, UserError)


def decode(path: pathlib.Path, image: Series, record: Provenance, content: bytes) -> list[Series]:
    """The sources of an archive, bit for bit.

    Args:
      path: of the archive, for messages.
      image, record: its fused image and record.
      content: what its header hides.

    Raises:
      UserError: a damaged archive, or one whose checksum is not met.
    """
    if provenance.identity(image.stored, np.asarray(record["ranges"])) != record["id"]:
        raise UserError(f"{path}: its picture or record was changed after it was written; fetch the file anew")
    sources = provenance.sources(record, image)
    try:
        block = integer_codec.unpack(content, image.stored.size * len(sources) + SPARE)
        predictor = _predictor(block.strings["config"].decode(), block.strings["weights"])
        latent = np.moveaxis(block.arrays["latent"], 0, -1) * block.meta["step"]
        prediction = predictor(image, latent, np.asarray(block.meta["ranges"]))
        parts = [{name: block.arrays[f"{name}{i}"] for name in PARTS} for i in range(len(sources))]
        stored = [
            _restore(parts[i], prediction[i], block.meta["levels"][i], source.stored.dtype)
            for i, source in enumerate(sources)
        ]
    except DAMAGED as error:
        raise UserError(f"{path}: the archive in its header is damaged ({error}); fetch the file anew") from error
    for i, voxels in enumerate(stored):
        if checksum(voxels) != block.meta["sha256"][i]:
            raise UserError(
                f"{path}: the checksum of series {i + 1} is not met: the file was changed, or this machine "
                "computes too differently; fetch it anew or decode it elsewhere"
            )
    return [source._replace(stored=voxels) for source, voxels in zip(sources, stored, strict=True)]


def _predictor(config_text: str, weights: bytes) -> Callable[[Series, np.ndarray, np.ndarray], np.ndarray]:
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
