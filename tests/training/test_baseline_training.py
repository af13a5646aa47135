"""The six baselines in the trainer: the same on any number of devices, a falling loss, exact resume."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fusioninn_jax import evaluate, models, objective, settings, train
from fusioninn_jax.training import checkpoint, parallel, train_state
from fusioninn_jax.training.train_log import TRAIN_FILE, read_lines
from tests import tolerances, training_case
from tests.chosen import chosen
from tests.golden import portable_inputs
from tests.models.test_conv_blocks import TINY

STEPS = 24


def tiny(data_dir, name):
    config = training_case.config(data_dir)
    config.model.name = name
    config.model[name].width = TINY[name]
    config.optimizer.learning_rate = 1e-2
    config.train.steps, config.train.eval_every = STEPS, STEPS // 2
    return config


def losses(workdir):
    return [(record["step"], record["loss"]) for record in read_lines(workdir / TRAIN_FILE)]


# it has what any of them has: batch statistics and fused images of several depths; layers of the others are tried below
@pytest.mark.parametrize("name", chosen(TINY, ["unet_plus_plus"]))
@pytest.mark.usefixtures("three_levels")
def test_some_steps_lower_the_loss_and_resume_exactly(data_dir, tmp_path, monkeypatch, name):
    two = jax.devices()[:2]  # each statistic is a rendezvous of all devices: eight on two cores are slow
    monkeypatch.setattr(jax, "local_devices", lambda: two)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    state = train.train_and_evaluate(tiny(data_dir, name), str(whole))
    curve = [loss for _, loss in losses(whole)]
    assert len(curve) == STEPS and np.mean(curve[-8:]) < 0.9 * np.mean(curve[:4])
    statistics = checkpoint.load(whole, "last")[1]["batch_stats"]
    assert any(np.any(leaf) for leaf in jax.tree.leaves(statistics))
    shutil.copytree(whole, broken)
    shutil.rmtree(broken / "checkpoints" / str(STEPS))  # as if the run had died before its last checkpoint
    resumed = train.train_and_evaluate(tiny(data_dir, name), str(broken))
    assert losses(broken) == losses(whole)
    for ours, theirs in zip(jax.tree.leaves(resumed), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if name == "unet":  # 24x28 slices are filled up to a multiple
        assert evaluate.main([f"--workdir={whole}", "--split=test", "--metrics=ssim"]) == 0


def one_step(model, devices):
    """Loss, gradient (by plain SGD of rate 1) and batch statistics of a step on `devices` devices, in float64."""
    stack = portable_inputs.smooth(0, 8, 16, 16).transpose(0, 2, 3, 1).astype(np.float64)
    variables = jax.jit(model.init)(jax.random.key(0), *objective.split_sources(jnp.asarray(stack)))
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
    before, optimizer, config = jax.tree.map(np.asarray, variables), optax.sgd(1.0), settings.defaults()
    state = train_state.create(variables, optimizer, config.optimizer)
    chosen = jax.devices()[:devices]
    step = parallel.make_train_step(model, optimizer, config, chosen)
    slices = parallel.split_batch(objective.Slices(stack), devices)
    state, metrics = step(parallel.replicate(state, chosen), slices, jax.random.key(1))
    gradient = jax.tree.map(lambda old, new: old - np.asarray(new), before["params"], state.variables["params"])
    return float(metrics["loss"]), gradient, jax.tree.map(np.asarray, state.variables["batch_stats"])


@pytest.mark.parametrize(
    "name", chosen(["deepfuse", "funfusean", "half_unet"], ["deepfuse", "half_unet"])
)  # the others have no other kind of layer
@pytest.mark.usefixtures("three_levels")
def test_batch_statistics_loss_and_gradients_are_of_the_global_batch(name):
    with jax.enable_x64(True):
        model = models.get(name, {"width": TINY[name]})
        expected = one_step(model, 1)
        for devices in chosen([2, 4, 8], [8]):  # one image each; fewer devices differ from one by less
            found = one_step(model, devices)
            for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=tolerances.DEVICES, atol=tolerances.DEVICES)
