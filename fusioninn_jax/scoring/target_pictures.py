"""Pictures that a training's fused images are to become, made once beforehand: any fusion method becomes invertible.

They come from a trained system's workdir, or from a folder of images that any method fused, named as
`evaluate --save-fused` names them.
"""

from __future__ import annotations

import pathlib

import jax
import ml_collections
import numpy as np

from fusioninn_jax import input_pipeline, objective
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.objective import fusion_targets
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring.fused_images import FusedFolder
from fusioninn_jax.scoring.score_split import image_name
from fusioninn_jax.storage import store
from fusioninn_jax.training import checkpoint, checkpoint_folders

SPLITS = ("train", "validation")


def with_targets(prepared: input_pipeline.Prepared, config: ml_collections.ConfigDict) -> input_pipeline.Prepared:
    """The dataset with a picture for every slice that training and validation read, where a folder is to give them.

    Args:
      prepared: the dataset, all slices of one size.
      config: `settings.TRAINING`; `losses.fusion_target`, `data` and `augment` are read.

    Returns:
      `prepared`, with `targets` where `losses.fusion_target` names a folder.

    Raises:
      UserError: a missing folder or image, images of unlike sizes, or an augmentation that changes intensities, which
        pictures made beforehand cannot follow.
    """
    setting = config.losses.fusion_target
    if not fusion_targets.is_folder(setting):
        return prepared
    if config.augment.gamma or config.augment.gain or config.augment.tone:
        raise UserError(
            f"--config.losses.fusion_target={setting}: pictures made beforehand do not follow a change of "
            "intensity; set --config.augment.gamma=0 --config.augment.gain=0 --config.augment.tone=0"
        )
    folder = pathlib.Path(setting).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; --config.losses.fusion_target takes a training's workdir, a folder "
            "of fused images, or a rule's name"
        )
    read = _of_system if (folder / checkpoint_folders.FOLDER).is_dir() else _of_images
    return prepared._replace(
        targets={split: read(folder, prepared, config.data, split) for split in SPLITS if prepared.sizes.get(split)}
    )


def _of_system(
    folder: pathlib.Path, prepared: input_pipeline.Prepared, data: ml_collections.ConfigDict, split: str
) -> np.ndarray:
    """(slices, H, W) uint8, what a trained system makes of the split."""
    trained = checkpoint.load(folder)
    model = any_size(trained.model)
    fuse = jax.jit(lambda stack: store(model.fuse(trained.variables, *objective.split_sources(stack))[0], 8))
    pictures = []
    for batch in input_pipeline.evaluation_batches(prepared, data, split, batch_size=1):
        pictures.append((int(batch["number"][0]), np.asarray(fuse(batch["sources"]))[0, ..., 0]))
    return _stacked(folder, pictures)


def _of_images(
    folder: pathlib.Path, prepared: input_pipeline.Prepared, data: ml_collections.ConfigDict, split: str
) -> np.ndarray:
    """(slices, H, W) uint8, the images of a folder for the split."""
    images, pictures = FusedFolder(folder), []
    for batch in input_pipeline.evaluation_batches(prepared, data, split, batch_size=1):
        name = image_name(batch["subject"][0].decode(), int(batch["slice_index"][0]))
        pictures.append((int(batch["number"][0]), images.read(name, batch["sources"].shape[1:3])[..., 0]))
    return _stacked(folder, pictures)


def _stacked(folder: pathlib.Path, pictures: list[tuple[int, np.ndarray]]) -> np.ndarray:
    images = [image for _, image in sorted(pictures, key=lambda numbered: numbered[0])]
    if len({image.shape for image in images}) > 1:
        raise UserError(f"{folder}: pictures of unlike sizes; prepare a dataset of one size to train towards them")
    return np.round(np.clip(np.stack(images), 0, 1) * 255).astype(np.uint8)
