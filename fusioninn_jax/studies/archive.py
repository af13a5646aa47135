"""The lossless archive: a picture that any viewer opens, and what gives its sources back bit for bit.

A NIfTI file. Its voxels are the picture, a weighted mean of the sources in 7 bits or a model's in 8; a header extension
holds each source, coded given the picture and the sources before it (`volume_codec`), in integer arithmetic alone. The
whole file is sealed (`archive_format`), and each source has a checksum. Archives of version 1 are read by `archive_v1`.
See docs/guide/lossless.md.
"""

from __future__ import annotations

import pathlib
import struct
import sys
from collections.abc import Callable, Sequence

import numpy as np
import tqdm

from fusioninn_jax.formats import nifti, provenance
from fusioninn_jax.formats.files import Storage
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import cores
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import archive_format, archive_v1, fusing, integer_codec
from fusioninn_jax.studies.archive_format import Contents, checksum
from fusioninn_jax.studies.volume_codec import codec, values
from fusioninn_jax.studies.volume_codec.planes import Given, Plane
from fusioninn_jax.studies.volume_codec.rule import Rule, mean_rule, picture
from fusioninn_jax.trained_model import TrainedModel

GREY_LEVELS = 127  # of the mean; docs/guide/lossless.md says what others cost
MODEL_LEVELS = 255  # of a model's picture
MEAN = "mean"  # what stands in the record for a model's fingerprint
DAMAGED = (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError, struct.error)


def write(
    path: pathlib.Path,
    sources: Sequence[Series],
    trained: TrainedModel | None = None,
    grey_levels: int = GREY_LEVELS,
    *,
    asked: Sequence[str | float] = ("auto",),
    names: Sequence[str] = (),
) -> None:
    """Writes an archive.

    Args:
      path: .nii or .nii.gz.
      sources: on one grid.
      trained: a model whose picture is kept; None for the mean.
      grey_levels: of the mean, 1 to 255, beside black.
      asked: the backgrounds, for a model's picture, see `fusing.fuse`.
      names: of the series, for messages.

    Raises:
      UserError: another number of series than the model takes.
    """
    coded = [values.to_plane(source.stored) for source in sources]
    planes = [c.plane for c in coded]
    rule = None
    if trained is None:
        image, record, rule = _mean_image(sources, coded, grey_levels)
    else:
        image, record, _ = fusing.fuse(
            trained, sources, Storage(np.dtype(np.uint8), 1 / MODEL_LEVELS), asked=asked, names=names
        )
    record = record | {"archive": 2}
    steps = sum(codec.slab_count(plane) for plane in planes)
    with _bar("archiving", steps) as progress:
        grey, last = _picture_plane(image), len(planes) - 1
        given = [Given([grey, *planes[:i]], rule if i == last else None) for i in range(len(planes))]
        with cores.pool(2) as pool:  # a plane has parts that one thread does alone
            pieces = list(pool.map(lambda plane, known: codec.encode(plane, known, progress), planes, given))
    head = {
        "rule": rule and {"coefficients": rule.coefficients, "most": rule.most},
        "facts": [c.facts for c in coded],
        "sha256": [checksum(source.stored) for source in sources],
    }
    block = archive_format.pack(Contents(head, [*pieces, *(c.beside for c in coded)]))
    extensions = [(nifti.COMMENT, provenance.text(record)), (nifti.PRIVATE, block)]
    content = archive_format.seal(nifti.series_bytes(path, image, extensions))
    archive_format.write(path, content, image.stored.size)


def check_seal(path: pathlib.Path) -> bool:
    """Whether a file is an archive of version 2; all of it as it was written.

    Args:
      path: .nii or .nii.gz.

    Raises:
      UserError: an archive that was damaged or changed.
    """
    return archive_format.check_seal(path, archive_format.read(path))


def payload(path: pathlib.Path, record: Provenance) -> bytes | None:
    """What an archive hides in its header, None where a file is no archive.

    Args:
      path: .nii or .nii.gz.
      record: what the file says of its sources.

    Raises:
      UserError: the record says that it is one, but nothing is there.
    """
    found, magic = nifti.extensions(path), (integer_codec.MAGIC, archive_format.MAGIC)
    block = next((content for code, content in found if code == nifti.PRIVATE and content.startswith(magic)), None)
    if block is None and "archive" in record:
        raise UserError(f"{path}: the archive in its header is damaged or was taken out; fetch the file anew")
    return block


def decode(path: pathlib.Path, image: Series, record: Provenance, block: bytes) -> list[Series]:
    """The sources of an archive, bit for bit.

    Args:
      path: of the archive, for messages; its seal was checked.
      image, record: its picture and record.
      block: from `payload`.

    Raises:
      UserError: a damaged archive, or one whose checksum is not met.
    """
    if block.startswith(integer_codec.MAGIC):
        return archive_v1.decode(path, image, record, block)
    sources = provenance.sources(record, image)
    try:
        contents = archive_format.unpack(block)
        stored = _decode_sources(contents, image, [source.stored.dtype for source in sources])
        met = [checksum(voxels) for voxels in stored] == contents.head["sha256"]
    except DAMAGED as error:
        raise UserError(f"{path}: the archive in its header is damaged ({error}); fetch the file anew") from error
    if not met:
        raise UserError(f"{path}: the checksum of its series is not met; fetch the file anew")
    return [source._replace(stored=voxels) for source, voxels in zip(sources, stored, strict=True)]


def _mean_image(
    sources: Sequence[Series], coded: Sequence[values.Coded], grey_levels: int
) -> tuple[Series, Provenance, Rule | None]:
    """The weighted mean as a series on the first source's grid, its record, and the rule where levels follow it."""
    content = [c.plane.content for c in coded]
    direct = all(c.facts["form"] == "offset" and _is_plain(source) for c, source in zip(coded, sources, strict=True))
    levels = [c.plane.levels for c in coded] if direct else [_proportional(source) for source in sources]
    rule = mean_rule(levels, content, grey_levels)
    stored = picture(rule, levels, content)
    slope, count = 1 / rule.most, len(stored)
    image = Series(
        stored,
        np.full(count, slope),
        np.zeros(count),
        sources[0].affine,
        nifti.adopt(sources[0].origin, stored.dtype, slope),
    )
    return image, provenance.make(image, list(sources), np.zeros(0), MEAN, "normal"), rule if direct else None


def _is_plain(source: Series) -> bool:
    """Whether larger stored voxels are brighter everywhere, and by as much."""
    return bool(source.slope[0] > 0 and not np.ptp(source.slope) and not np.ptp(source.intercept))


def _proportional(source: Series) -> np.ndarray:
    """Integers 0 to 65535 in proportion to a source's values, for the picture alone."""
    scaled = source.stored * source.slope[:, None, None] + source.intercept[:, None, None]
    scaled = scaled / max(float(np.abs(scaled).max()), np.finfo(np.float64).tiny)
    low, high = float(scaled.min()), float(scaled.max())
    return np.rint((scaled - low) * (65535 / max(high - low, 1e-300))).astype(np.int32)


def _picture_plane(image: Series) -> Plane:
    """The picture as what is known of every source."""
    return Plane(image.stored.astype(np.int32), (image.stored > 0).astype(np.uint8), int(image.stored.max()), 0)


def _decode_sources(contents: Contents, image: Series, dtypes: Sequence[np.dtype]) -> list[np.ndarray]:
    """The stored voxels of each source."""
    head, count = contents.head, len(dtypes)
    rule = head["rule"] and Rule(tuple(map(int, head["rule"]["coefficients"])), int(head["rule"]["most"]))
    if len(contents.pieces) != 2 * count or len(head["facts"]) != count:
        raise ValueError("another number of series than its record says")
    if rule and (len(rule.coefficients) != count or not all(0 < c < 2**33 for c in rule.coefficients)):
        raise ValueError("its rule does not fit")
    planes: list[Plane] = []
    stored = []
    grey, shape = _picture_plane(image), image.stored.shape
    with _bar("decoding", sum(codec.slab_number(piece) for piece in contents.pieces[:count])) as progress:
        for i, dtype in enumerate(dtypes):
            given = Given([grey, *planes], rule if i == count - 1 else None)
            planes.append(codec.decode(contents.pieces[i], (shape[0], shape[1], shape[2]), given, progress))
            stored.append(values.from_plane(planes[i], head["facts"][i], contents.pieces[count + i], dtype))
    return stored


class _bar:
    """A progress bar on a terminal; gives the function that moves it."""

    def __init__(self, what: str, steps: int) -> None:
        self._bar = tqdm.tqdm(total=steps, desc=what, leave=False, disable=None, file=sys.stderr)

    def __enter__(self) -> Callable[[], object]:
        return self._bar.update

    def __exit__(self, *_: object) -> None:
        self._bar.close()
