"""Validation scores a slice as `evaluate` and `fuse` do: at its own size, whatever the model wants to see."""

import functools

import jax
import numpy as np
import pytest

from fusioninn_jax import input_pipeline, models, objective, volumes
from fusioninn_jax.scoring.score_split import Scoring, score_model
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.training import parallel, validation
from tests import tolerances, training_case

BATCH = 8


class Odd(training_case.Tiny):
    """Slices of 19x21 with brain up to their last row and column, where padding shows."""

    def _generate_examples(self, split):
        for i, example in super()._generate_examples(split):
            yield i, example | {name: example[name][:19, :21] for name in ("sources", "mask")}


@pytest.fixture(scope="module", name="odd")
def odd_fixture(tmp_path_factory):
    """(prepared dataset, whole configuration), latents of zeros and storage in 8 bits, so that nothing is drawn."""
    config = training_case.config(training_case.prepare(tmp_path_factory.mktemp("odd"), Odd))
    config.data.crop, config.train.eval_batch_size = (), BATCH
    config.losses.prior, config.losses.latent = "zeros", "white"
    config.losses.storage.kind, config.losses.storage.bits = "round", 8
    return input_pipeline.open_dataset(config.data), config


@functools.cache
def model_and_variables():
    """A block with weights far from their start, where a flow is nearly the identity."""
    model = models.get("fusioninn", {"blocks": 1, "widths": (3,)})
    rng = np.random.default_rng(0)
    image = rng.random((1, 24, 24, 2), dtype=np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), *objective.split_sources(image))

    def moved(leaf):
        return leaf if leaf.dtype != np.float32 else leaf + 0.1 * rng.standard_normal(leaf.shape, np.float32)

    return model, jax.tree.map(moved, jax.tree.map(np.asarray, variables))


def test_a_checkpoint_scores_in_validation_as_in_evaluate(odd):
    prepared, config = odd
    model, variables = model_and_variables()
    assert model.multiple > 1
    found = validation.validate(model, variables, prepared, config, parallel.all_devices())
    rows, _ = score_model(
        "x", TrainedModel(model, variables, config), prepared, config.data, Scoring(batch_size=BATCH, metrics="ssim")
    )
    shared = [name for name in rows[0] if name.startswith("ssim_") and name in found.means]
    assert {"ssim_fused_1", "ssim_fused_2_brain", "ssim_decomposed_1_8bit"} <= set(shared)
    for name in shared:
        expected = np.mean([row[name] for row in rows])
        np.testing.assert_allclose(found.means[name], expected, rtol=tolerances.SUM_F32, err_msg=name)


def test_validation_fuses_the_picture_that_fuse_writes(odd):
    prepared, config = odd
    model, variables = model_and_variables()
    batch, results = next(
        validation.run_over(
            model, variables, prepared, config, parallel.all_devices(), split="validation", with_images=True
        )
    )
    volume = [np.asarray(batch["sources"][..., i]) for i in range(2)]
    fused = volumes.fuse_volume(model, variables, *volume).fused
    assert results["fused"].shape == batch["sources"][..., :1].shape == results["latent"].shape
    np.testing.assert_allclose(results["fused"][..., 0], fused, atol=tolerances.ROUNDING_F32)
