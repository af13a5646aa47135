"""A study fused from files to files: a fused image, its latent beside it if wanted, or a lossless archive."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from fusioninn_jax.formats import background, files, nifti, provenance
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import outputs
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import archive, fusing, reading, study_background
from fusioninn_jax.trained_model import TrainedModel


@dataclasses.dataclass(frozen=True)
class StudyFusion:
    """What `fuse` is asked for, of one study.

    Attributes:
      sources: series of the study, on one grid unless `resample`.
      output: the fused image or archive.
      latent: where the latent goes, if anywhere.
      lossless: write an archive instead of an image.
      preview: grey levels, 1 to 255, of the picture in an archive that no model fuses.
      background: see `study_background.parse_all`.
      inverted: numbers, from 1, of the series that are fused as negatives.
      fill_value: what marks missing voxels; None where nothing does.
      resample: bring the other series to the grid of the first.
      keep_phi: keep what may name the patient in exported headers.
      overwrite: replace what is there.
    """

    sources: tuple[pathlib.Path, ...]
    output: pathlib.Path
    latent: pathlib.Path | None = None
    lossless: bool = False
    preview: int = archive.GREY_LEVELS
    background: str = background.AUTO
    inverted: tuple[int, ...] = ()
    fill_value: float | None = None
    resample: bool = False
    keep_phi: bool = False
    overwrite: bool = False

    @property
    def written(self) -> list[pathlib.Path]:
        """All that is written."""
        return [self.output, *([self.latent] if self.latent else [])]

    @property
    def names(self) -> list[str]:
        """Of the sources, for messages."""
        return [str(path) for path in self.sources]


def read(asked: StudyFusion) -> list[Series]:
    """The series of the study, once it is clear that the outputs can be written.

    Args:
      asked: what is wanted.

    Raises:
      UserError: outputs that cannot be written; series that cannot be read, or lie on other grids.
    """
    outputs.check(asked.written, inputs=asked.sources, overwrite=asked.overwrite, is_own=files.is_own_folder)
    return reading.read_sources(
        asked.sources, keep_phi=asked.keep_phi, resample=asked.resample, fill_value=asked.fill_value
    )


def fuse(trained: TrainedModel | None, sources: Sequence[Series], asked: StudyFusion) -> None:
    """Fuses one study and writes all outputs or none.

    Args:
      trained: the model; None for an archive whose picture is the mean in `preview` grey levels.
      sources: from `read`.
      asked: what is wanted.

    Raises:
      UserError: another number of series than the model takes, a latent where it has none, a background that cannot
        be told, an archive that does not come back bit for bit.
      ValueError: an image is asked for without a model.
    """
    backgrounds = study_background.parse_all(asked.background)
    if asked.lossless:
        _write_archive(trained, sources, backgrounds, asked)
        return
    if trained is None:
        raise ValueError("an image is fused by a model; only an archive does without")
    stored = files.storage(asked.output, sources[0])
    result = fusing.fuse(trained, sources, stored, asked=backgrounds, names=asked.names, inverted=asked.inverted)
    if asked.latent and result.volume.latent is None:
        raise UserError(f"{asked.latent}: the model of this checkpoint has no latent; leave it out")
    _write(result, asked)


def _write(result: fusing.Fusion, asked: StudyFusion) -> None:
    """Writes the fused image and, where a path is given, its latent; both or neither."""
    with outputs.new_files(*asked.written, overwrite=asked.overwrite, is_own=files.is_own_folder) as temporaries:
        files.write(temporaries[0], asked.output, result.image, result.record)
        if asked.latent:
            channels, remainder = fusing.latent_channels(result)
            header = nifti.header_like(result.image, np.dtype(np.float32))
            channels = channels.astype(np.float32)
            of_latent = provenance.of_latent(result.record, channels, remainder)
            nifti.write(temporaries[1], header, channels, [(nifti.COMMENT, provenance.text(of_latent))])


def _write_archive(
    trained: TrainedModel | None, sources: Sequence[Series], backgrounds: Sequence[str | float], asked: StudyFusion
) -> None:
    """Writes the lossless archive after reading it back and comparing every voxel."""
    with outputs.new_files(asked.output, overwrite=asked.overwrite) as (temporary,):
        archive.write(temporary, sources, trained, asked.preview, asked=backgrounds, names=asked.names)
        archive.check_seal(temporary)
        image = nifti.read(temporary)
        record = provenance.check(image.record, asked.output, "fused")
        block = archive.payload(temporary, record)
        assert block is not None
        restored = archive.decode(temporary, image, record, block)
        for i, (source, copy) in enumerate(zip(sources, restored, strict=True), 1):
            if archive.checksum(source.stored) != archive.checksum(copy.stored):
                raise UserError(
                    f"{asked.output}: series {i} did not come back bit for bit; nothing was written, please report this"
                )


def latent_bytes(sources: Sequence[Series]) -> int:
    """About what the file of a latent takes: noise, which hardly compresses, and the rounding of the fused image.

    Args:
      sources: of the study.
    """
    return len(sources) * sources[0].stored.size * np.dtype(np.float32).itemsize * 9 // 10
