"""Series back from a fused image, from files to files."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np

from fusioninn_jax import pretrained
from fusioninn_jax.formats import files, images, nifti, provenance
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import guarded, outputs
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import archive, fusing, next_steps, study_background, study_negatives
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.volumes import FusedVolume


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """What `decompose` is asked for.

    Attributes:
      fused: the fused image or archive, as `fuse` wrote it.
      outputs: a file or folder for each source, in the order in which they were fused.
      latent: the latent that was kept with it; None for fresh ones.
      samples: fresh latents to average over.
      uncertainty: where the deviation of the mean goes, if anywhere; it takes two samples or more.
      seed: of the fresh latents.
      checkpoint: folder of the training that fused; None for the model that ships.
      overwrite: replace what is there.
      accept_changed: decompose voxels that are no longer those that were fused.
    """

    fused: pathlib.Path
    outputs: tuple[pathlib.Path, ...]
    latent: pathlib.Path | None = None
    samples: int = 1
    uncertainty: pathlib.Path | None = None
    seed: int = 0
    checkpoint: str | None = None
    overwrite: bool = False
    accept_changed: bool = False

    @property
    def written(self) -> list[pathlib.Path]:
        """All that is written."""
        return [*self.outputs, *([self.uncertainty] if self.uncertainty else [])]


class Done(NamedTuple):
    """What was decomposed: how many slices, and which model gave them back, in words."""

    slices: int
    model: str


def decompose(asked: Decomposition) -> Done:
    """Decomposes one fused image, all outputs or none.

    Args:
      asked: what is wanted.

    Raises:
      UserError: files that cannot be read, are no fusion, or were changed; another model; outputs that cannot be
        written.
    """
    for name in asked.outputs:
        files.check_output(name)
    inputs = [asked.fused, *([asked.latent] if asked.latent else [])]
    outputs.check(asked.written, inputs=inputs, overwrite=asked.overwrite, is_own=files.is_own_folder)
    image, record = _read(asked)
    sources, deviation, model = _decomposed(image, record, asked)
    for source in sources:
        files.check_origin(asked.fused, source)
    with outputs.new_files(*asked.written, overwrite=asked.overwrite, is_own=files.is_own_folder) as temporaries:
        for temporary, name, source in zip(temporaries, asked.outputs, sources, strict=False):
            files.write(temporary, name, source)
        if deviation is not None and asked.uncertainty:
            header = nifti.header_like(image, np.dtype(np.float32))
            nifti.write(temporaries[-1], header, np.moveaxis(deviation, 0, -1), [])
    return Done(len(image.stored), model)


def _read(asked: Decomposition) -> tuple[Series, Provenance]:
    """The fused image and what it says of its sources, checked."""
    if files.is_nifti(asked.fused):
        archive.check_seal(asked.fused)
    image = files.read(asked.fused)
    record = provenance.check(image.record, asked.fused, "fused")
    if image.origin["kind"] != images.KIND:
        provenance.check_affine(record, image, asked.fused)
    if len(record["sources"]) != len(asked.outputs):
        raise UserError(
            f"{asked.fused}: was fused from {len(record['sources'])} series, {len(asked.outputs)} outputs are "
            "named; give -o one for each"
        )
    return image, record


def _decomposed(image: Series, record: Provenance, asked: Decomposition) -> tuple[list[Series], np.ndarray | None, str]:
    """The sources, the deviation of their samples where there are some, and which model gave them."""
    content = archive.payload(asked.fused, record) if files.is_nifti(asked.fused) else None
    if content and not (asked.latent or asked.samples > 1):
        return from_archive(asked.fused, image, record, content), None, "no model, bit for bit from the archive"
    provenance.sources(record, image, asked.fused)  # a damaged one is told before the model is loaded
    if asked.latent or not asked.accept_changed:
        provenance.check_voxels(record, image, asked.fused)
    trained, deviation = fusing.load(asked.checkpoint), None
    _check_model(asked.fused, record, trained)
    if asked.samples > 1:
        volume = fusing.as_volume(trained, image, record)
        values, deviation = fusing.decompose_samples(trained, volume, asked.seed, asked.samples)
    elif asked.latent:
        values = fusing.decompose(trained, _with_latent(trained, image, record, asked.fused, asked.latent), asked.seed)
    else:
        values = fusing.decompose(trained, fusing.as_volume(trained, image, record), asked.seed)
    restored = study_background.restored(record, study_negatives.restored(record, values))
    deviation = None if deviation is None else study_negatives.restored_deviations(record, deviation)
    sources = provenance.sources(record, image)
    values_of = zip(sources, restored, strict=True)
    return [of.with_values(value) for of, value in values_of], deviation, next_steps.model(asked.checkpoint, trained)


def from_archive(path: pathlib.Path, image: Series, record: Provenance, content: bytes) -> list[Series]:
    """The sources of an archive, bit for bit.

    Args:
      path: of the archive, for messages.
      image: the picture in it.
      record: its provenance.
      content: from `archive.payload`.

    Raises:
      UserError: for whatever a damaged archive makes its decoder raise.
    """
    with guarded.reading(path, "the archive in its header is damaged", "fetch the file anew"):
        return archive.decode(path, image, record, content)


def _check_model(path: pathlib.Path, record: Provenance, trained: TrainedModel) -> None:
    """Raises UserError where another model fused the image, or one that cannot decompose."""
    name = pretrained.fingerprint(trained.variables, trained.config)
    if record["model"] != name:
        raise UserError(
            f"{path}: was fused by another model ({record['model']}) than this checkpoint's "
            f"({name}); give --checkpoint of the training that fused it"
        )
    if trained.model.decompose is None:
        raise UserError(f"{path}: the model that fused it cannot decompose; fuse with a FusionINN checkpoint")


def _with_latent(
    trained: TrainedModel, image: Series, record: Provenance, path: pathlib.Path, latent_path: pathlib.Path
) -> FusedVolume:
    """A fused image with its latent; raises UserError where they do not belong together, or one was changed since."""
    channels, of_latent = nifti.read_channels(latent_path)
    of_latent = provenance.check(of_latent, latent_path, "latent")
    if of_latent.get("sha256") not in (None, provenance.digest(channels)):
        raise UserError(f"{latent_path}: its voxels were changed after fusing; give the file as `fuse` wrote it")
    if of_latent["id"] != record["id"]:
        raise UserError(
            f"{latent_path}: is the latent of another fused image, not of {path}; give the one that was "
            "written with it, or leave --latent out"
        )
    padded = [len(image.stored)] + [size + -size % trained.model.multiple for size in image.stored.shape[1:]]
    if list(channels.shape) != [*padded, len(record["sources"]) - 1 + of_latent["remainder"]]:
        raise UserError(
            f"{latent_path}: is of shape {channels.shape}, not that of the latent of {path}; give the one "
            "that was written with it, or leave --latent out"
        )
    return fusing.as_volume(trained, image, record, channels, of_latent["remainder"])
