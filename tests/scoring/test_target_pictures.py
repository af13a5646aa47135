"""Training towards pictures that were made beforehand: by a trained system, or by a method that left images."""

import jax
import numpy as np
import pytest
from PIL import Image

from fusioninn_jax import input_pipeline, objective
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring.score_split import image_name
from fusioninn_jax.scoring.target_pictures import with_targets
from fusioninn_jax.train import train_and_evaluate
from fusioninn_jax.training import checkpoint
from tests import tolerances, training_case


@pytest.fixture(name="config")
def _config(data_dir):
    config = training_case.config(data_dir)
    config.model.fusioninn.blocks = 1
    return config


def whole_slices(prepared, config, split):
    return list(input_pipeline.evaluation_batches(prepared, config.data, split, batch_size=1))


def save_maxima(folder, prepared, config):
    """Each slice's pixel-wise maximum, as another method would leave it; by number."""
    folder.mkdir()
    images = {}
    for split in ("train", "validation"):
        for batch in whole_slices(prepared, config, split):
            image = np.round(255 * batch["sources"][0].max(-1)).astype(np.uint8)
            name = image_name(batch["subject"][0].decode(), int(batch["slice_index"][0]))
            Image.fromarray(image).save(folder / f"{name}.png")
            images[split, int(batch["number"][0])] = image
    return images


def test_a_folder_of_images_reaches_every_batch_cropped_as_its_sources(config, tmp_path):
    prepared = input_pipeline.open_dataset(config.data)
    images = save_maxima(tmp_path / "theirs", prepared, config)
    config.losses.fusion_target = str(tmp_path / "theirs")
    prepared = with_targets(prepared, config)
    for split, pictures in prepared.targets.items():
        for number, picture in enumerate(pictures):
            np.testing.assert_array_equal(picture, images[split, number])
    batch = next(input_pipeline.train_batches(prepared, config.data, batch_size=8, seed=3))
    np.testing.assert_allclose(batch["target"][..., 0], batch["sources"].max(-1), atol=tolerances.LEVEL_8BIT)
    slices = objective.slices_of(batch)
    np.testing.assert_array_equal(objective.fusion_target(slices, config.losses.fusion_target), batch["target"])


def test_a_training_towards_a_trained_system(config, tmp_path, monkeypatch):
    """Its fused images are the targets; the training runs, and its checkpoint loads without them."""
    one = jax.devices()[:1]  # targets are made on the first device, whatever the training takes
    monkeypatch.setattr(jax, "local_devices", lambda: one)
    teacher = training_case.config(config.data.data_dir)
    teacher.model.name, teacher.train.steps = "deepfuse", 1
    teacher.model.deepfuse.width = 2
    train_and_evaluate(teacher, str(tmp_path / "teacher"))
    config.losses.fusion_target, config.train.steps = str(tmp_path / "teacher"), 1
    train_and_evaluate(config, str(tmp_path / "student"))
    trained, of_teacher = checkpoint.load(tmp_path / "student"), checkpoint.load(tmp_path / "teacher")
    assert trained.config.losses.fusion_target == str(tmp_path / "teacher")
    prepared = with_targets(input_pipeline.open_dataset(config.data), config)
    batch = whole_slices(prepared, config, "validation")[0]
    fused, _ = jax.jit(of_teacher.model.fuse)(of_teacher.variables, *objective.split_sources(batch["sources"]))
    np.testing.assert_allclose(batch["target"], np.clip(fused, 0, 1), atol=tolerances.LEVEL_8BIT)


def test_what_cannot_be_is_explained(config, tmp_path):
    prepared = input_pipeline.open_dataset(config.data)
    config.losses.fusion_target = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="nowhere: no such folder.*rule's name"):
        with_targets(prepared, config)
    (tmp_path / "empty").mkdir()
    config.losses.fusion_target = str(tmp_path / "empty")
    with pytest.raises(UserError, match="every slice of the split needs its fused image"):
        with_targets(prepared, config)
    config.augment.gamma = 0.1
    with pytest.raises(UserError, match="augment.gamma=0"):
        with_targets(prepared, config)
    with pytest.raises(ValueError, match="holds no pictures"):
        objective.fusion_target(objective.Slices(np.zeros((1, 16, 16, 2), np.float32)), str(tmp_path))
