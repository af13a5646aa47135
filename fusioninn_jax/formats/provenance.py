"""What `fuse` notes in the file of a fused image so that the file alone can be decomposed: JSON, version 2.

| key | holds |
|---|---|
| `fusioninn_jax` | version of this record |
| `content` | `fused` or `latent` |
| `id` | hash of the fused image's stored voxels and of `ranges`; a latent repeats that of its fused image |
| `model`, `prior` | fingerprint of the model that fused, prior of its latent |
| `image` | slope and intercept of the fused image, for formats that cannot hold them |
| `sources` | for each source: type, slope, intercept, format and, without patient data, its header; chroma |
| `ranges` | (Z, m, 2) minimum and maximum of each slice of each source, in its units; none for a mean |
| `affine` | of the fused image, voxel indices to millimetres |
| `sha256` | of a latent's channels |
| `seal` | SHA-256 of the text without it; version 1 had none |
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from fusioninn_jax.formats import colour, provenance_schema
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError

VERSION = 2
START = b'{"fusioninn_jax"'  # of the JSON text
SEAL = "seal"
MOVED = 0.01  # voxel; how far a corner may lie from where it was: formats round
Provenance = dict[str, Any]


def make(fused: Series, sources: list[Series], ranges: np.ndarray, model: str, prior: str) -> Provenance:
    """The record of a fused image.

    Args:
      fused: the image as stored.
      sources: the series.
      ranges: (Z, m, 2) minimum and maximum of each slice of each source; empty for a mean.
      model: the fingerprint of the model.
      prior: of its latent, one of `losses.LATENT_PRIORS`.
    """
    return {
        "fusioninn_jax": VERSION,
        "content": "fused",
        "id": identity(fused.stored, ranges),
        "model": model,
        "prior": prior,
        "image": {"slope": float(fused.slope[0]), "intercept": float(fused.intercept[0])},
        "sources": [_described(source) for source in sources],
        "ranges": np.asarray(ranges, np.float64).tolist(),
        "affine": np.asarray(fused.affine, np.float64).tolist(),
    }


def parse(path: pathlib.Path, content: bytes) -> Provenance:
    """A record from the text of a file, every part of it as `make` or `of_latent` writes it.

    Args:
      path: of the file, for messages.
      content: the text.

    Raises:
      UserError: damaged, or of a later version.
    """
    with guarded.reading(path, "the record of the fusion in it is damaged", "fuse anew"):
        record: Provenance = provenance_schema.loads(content)
        version = record.get("fusioninn_jax")
        if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
            raise UserError(f"{path}: written by a later version of fusioninn_jax; update it")
        if version not in (1, VERSION):
            raise guarded.Damaged("its version is none")
        provenance_schema.check(record)
        return record


def of_latent(fused: Provenance, channels: np.ndarray, remainder: bool) -> Provenance:
    """The record of the latent of a fused image.

    Args:
      fused: that of the fused image.
      channels: (Z, Y, X, C) as they are written.
      remainder: whether the last channel is not latent, see `studies.fusing`.
    """
    return {
        "fusioninn_jax": VERSION,
        "content": "latent",
        "id": fused["id"],
        "remainder": remainder,
        "sha256": digest(channels),
    }


def digest(channels: np.ndarray) -> str:
    """SHA-256 over the shape and the voxels of `channels`, (Z, Y, X, C), as float32, in hexadecimal digits."""
    result = hashlib.sha256(str(channels.shape).encode())
    result.update(np.ascontiguousarray(channels, "<f4").data)
    return result.hexdigest()


def identity(stored: np.ndarray, ranges: np.ndarray) -> str:
    """What tells a fused image from others: 32 hexadecimal digits of SHA-256.

    Args:
      stored: (Z, Y, X); type, shape and voxels count.
      ranges: (Z, m, 2) of its sources; they count as float64.
    """
    digest = hashlib.sha256(f"{stored.dtype.newbyteorder('<').str} {stored.shape}".encode())
    digest.update(np.ascontiguousarray(stored, stored.dtype.newbyteorder("<")).tobytes())
    digest.update(np.asarray(ranges, "<f8").tobytes())
    return digest.hexdigest()[:32]


def text(record: Provenance) -> bytes:
    """A `record` as it is written: with its seal."""
    body = _body(record)
    return body[:-1] + f',"{SEAL}":"{hashlib.sha256(body).hexdigest()}"}}'.encode()


def _body(record: Provenance) -> bytes:
    return json.dumps({key: value for key, value in record.items() if key != SEAL}, separators=(",", ":")).encode()


def _is_whole(record: Provenance) -> bool:
    """Whether nothing of the record was changed; those of version 1 cannot tell."""
    return record["fusioninn_jax"] == 1 or record.get(SEAL) == hashlib.sha256(_body(record)).hexdigest()


def check_voxels(record: Provenance, image: Series, path: pathlib.Path) -> None:
    """Raises UserError where the fused image's voxels, their order or their scale are not those that were fused.

    Args:
      record: of the image.
      image: as read.
      path: of its file, for the message.
    """
    noted = [record["image"][key] for key in ("slope", "intercept")]
    scales = np.stack([image.slope, image.intercept], -1).astype(np.float32)
    if (
        identity(image.stored, np.asarray(record["ranges"])) != record["id"]
        or (scales != np.asarray(noted, np.float32)).any()
    ):
        raise UserError(
            f"{path}: its voxels were changed after fusing; give the file as `fuse` wrote it, or --accept-changed for "
            "what the changed image gives, without --latent"
        )


def check_affine(record: Provenance, image: Series, path: pathlib.Path) -> None:
    """Raises UserError where the fused image lies elsewhere than when it was fused.

    Args:
      record: of the image.
      image: as read.
      path: of its file, for the message.
    """
    if "affine" not in record:
        return
    moved = image.affine - np.asarray(record["affine"])
    corners = np.array([(*index, 1.0) for index in np.ndindex(2, 2, 2)]) * (*image.stored.shape[::-1], 1)
    spacing = np.linalg.norm(image.affine[:3, :3], axis=0).min()
    if not np.abs(corners @ moved.T).max() <= MOVED * spacing:
        raise UserError(
            f"{path}: its affine was changed after fusing, so its sources would come back elsewhere; give "
            "the file as `fuse` wrote it"
        )


def _described(source: Series) -> dict[str, Any]:
    def one_or_all(values: np.ndarray) -> float | list[float]:
        return values.tolist() if np.ptp(values) else float(values[0])

    noted = {"chroma": colour.note(source.chroma)} if source.chroma else {}
    return {
        "dtype": source.stored.dtype.str,
        "slope": one_or_all(source.slope),
        "intercept": one_or_all(source.intercept),
        "origin": source.origin,
        **noted,
    }


def check(record: Provenance | None, path: pathlib.Path, content: str) -> Provenance:
    """The record, where it is whole and of such a file.

    Args:
      record: from `parse`, None where the file has none.
      path: of the file, for messages.
      content: `fused` or `latent`.

    Raises:
      UserError: no record, one that was changed, or of the other kind of file.
    """
    if record is None:
        raise UserError(
            f"{path}: holds no record of its sources; give the file as `fuse` wrote it, not a copy that "
            "another program saved"
        )
    if not _is_whole(record):
        raise UserError(f"{path}: the record of its sources was changed after fusing; give the file as `fuse` wrote it")
    if record["content"] != content:
        raise UserError(f"{path}: is a {record['content']} image where the {content} one is expected; swap them")
    return record


def sources(record: Provenance, like: Series, path: pathlib.Path = pathlib.Path("fused image")) -> list[Series]:
    """The sources that a record tells of, on the grid of the fused image, their voxels still 0.

    Args:
      record: of the fused image.
      like: the fused image.
      path: of its file, for messages.

    Raises:
      UserError: a record of another image than that of `path`.
    """
    with guarded.reading(path, "the record of the fusion in it is damaged", "fuse anew"):
        count = len(like.stored)
        if len(record["ranges"]) != count and (record["ranges"] or "archive" not in record):
            raise guarded.Damaged(f"it tells of {len(record['ranges'])} slices, there are {count}")
        return [
            Series(
                np.zeros(like.stored.shape, np.dtype(source["dtype"])),
                np.broadcast_to(np.asarray(source["slope"], float), count),
                np.broadcast_to(np.asarray(source["intercept"], float), count),
                like.affine,
                source["origin"],
                chroma=colour.from_note(source["chroma"], like.stored.shape) if "chroma" in source else None,
            )
            for source in record["sources"]
        ]
