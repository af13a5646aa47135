"""DDFM as a FusionModel: sizes, colour and grey, batches; trained, resumed and evaluated by the same commands."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import evaluate, models, train
from fusioninn_jax.models.ddfm import model as ddfm_model
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.settings import defaults
from fusioninn_jax.tables import run_page
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.training import checkpoint
from fusioninn_jax.training.train_log import METRICS_FILE, TRAIN_FILE, read_lines
from tests import tolerances, training_case
from tests.golden import portable_inputs

ONE_LEVEL = 1 / 254  # of 8 bits, which a rounding may cost
SMALLEST = {
    "image_channels": 1,
    "channels": 32,
    "multipliers": (1,),
    "blocks": 1,
    "attention": (),
    "head_channels": 32,
    "learned_sigma": False,
    "steps": 2,
}


def pair(batch, height, width):
    """Sources in [0, 1]."""
    images = portable_inputs.smooth(5, batch, height, width).transpose(0, 2, 3, 1)
    return images[..., :1].astype(np.float32), images[..., 1:].astype(np.float32)


class OneConvolution(nn.Module):
    """Stands in for the UNet where what is around it is tested."""

    @nn.compact
    def __call__(self, x, times):
        assert x.shape[0] == times.shape[0] and x.shape[1] % 4 == 0 and x.shape[2] % 4 == 0
        return nn.Conv(2 * x.shape[-1], (3, 3))(x) * jnp.exp(-times / 1000)[:, None, None, None]


@pytest.fixture(name="quick")
def quick_fixture(monkeypatch):
    """Settings whose network has three levels, and one convolution."""
    monkeypatch.setattr(ddfm_model, "make_unet", lambda config: OneConvolution())
    return {**SMALLEST, "multipliers": (1, 1, 1), "learned_sigma": True}


def test_luma_is_scikit_images_and_its_change_keeps_the_chroma():
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
    with jax.enable_x64(True):
        rgb = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 3))
        ycbcr = rgb @ matrix.T + [16, 128, 128]
        np.testing.assert_allclose(
            ddfm_model.luma(jnp.asarray(rgb))[..., 0], ycbcr[..., 0] / 255, atol=tolerances.ROUNDING_F64
        )
        new = np.random.default_rng(1).uniform(-1, 1, (1, 4, 4, 1))
        ycbcr[..., :1] = 255 * new
        expected = (ycbcr - [16, 128, 128]) @ np.linalg.inv(matrix).T
        np.testing.assert_allclose(
            ddfm_model.with_luma(jnp.asarray(rgb), jnp.asarray(new)), expected, atol=tolerances.ROUNDING_F64
        )


def test_a_result_is_stretched_to_grey_levels():
    ramp = np.linspace(-0.3, 0.2, 64, dtype=np.float32).reshape(1, 8, 8, 1)
    to_levels = jax.jit(ddfm_model.to_levels)
    levels = np.asarray(to_levels(np.concatenate([ramp, 3 * ramp, np.full_like(ramp, 7)])))
    np.testing.assert_allclose(levels[0], levels[1], atol=ONE_LEVEL)
    assert levels[0].min() == 0 and levels[0].max() == 1 and not levels[2].any()
    np.testing.assert_allclose(levels * 255, np.round(levels * 255), atol=tolerances.LONG_F32)
    colour = ramp * np.array([1, 0, 0], np.float32) + np.float32(0.5)  # its luma is the ramp's, up to the stretch
    np.testing.assert_allclose(to_levels(colour), to_levels(ramp), atol=ONE_LEVEL)


@pytest.mark.parametrize("size,multiple,expected", [(240, 32, (8, 8)), (256, 32, (0, 0)), (155, 8, (2, 3))])
def test_padding_puts_the_image_in_the_middle(size, multiple, expected):
    assert ddfm_model.padding(size, multiple) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_is_fused_each_image_by_itself(quick, channels):
    model = models.get("ddfm", {**quick, "image_channels": channels})
    sources = pair(2, 9, 12)
    variables = jax.jit(model.init)(jax.random.key(0), *sources)
    fuse = jax.jit(model.fuse)
    fused, latent = fuse(variables, *sources)
    assert fused.shape == (2, 9, 12, 1) and latent is None and model.decompose is None
    assert 0 <= float(fused.min()) < float(fused.max()) <= 1
    swapped, _ = fuse(variables, *[source[::-1] for source in sources])
    np.testing.assert_allclose(swapped[::-1], fused, atol=ONE_LEVEL)  # the start noise does not depend on the place
    padded = [np.pad(source, ((0, 0), (1, 2), (0, 0), (0, 0))) for source in sources]
    np.testing.assert_allclose(fuse(variables, *padded)[0][:, 1:10], fused, atol=ONE_LEVEL)


def settings(data_dir):
    config = training_case.config(data_dir)
    config.model.name = "ddfm"
    config.model.ddfm.update(**SMALLEST)
    config.optimizer.update(learning_rate=1e-2, ema=0.9)
    config.train.update(steps=12, eval_every=6)
    return config


@pytest.fixture(scope="module", name="interrupted")
def interrupted_fixture(data_dir, tmp_path_factory):
    """(workdir, last state) of a run that crashed at step 9, after the checkpoint of step 6, and went on."""

    class Crash(Exception):
        pass

    workdir, step = tmp_path_factory.mktemp("run"), train.TrainLog.step

    def crash_at_9(self, number, *rest):
        step(self, number, *rest)
        if number == 9:
            raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.TrainLog, "step", crash_at_9)
        with pytest.raises(Crash):
            train.train_and_evaluate(settings(data_dir), str(workdir))
        before = [record["loss"] for record in read_lines(workdir / TRAIN_FILE)]
    return workdir, train.train_and_evaluate(settings(data_dir), str(workdir)), before


def test_the_diffusion_model_trains_and_resumes_exactly(interrupted):
    workdir, state, before = interrupted
    losses = [record["loss"] for record in read_lines(workdir / TRAIN_FILE)]
    assert len(losses) == 12 and losses[:9] == before
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:2])
    evaluations = read_lines(workdir / METRICS_FILE)
    assert [record["step"] for record in evaluations] == [6, 12]
    assert all(0 < record["loss"] == record["fusion"] for record in evaluations)
    assert not any(name.startswith("ssim") for name in evaluations[0])  # nothing is fused in validation
    _, variables, *_ = checkpoint.load(workdir, "last")
    for ours, average in zip(jax.tree.leaves(variables["params"]), jax.tree.leaves(state.average), strict=True):
        np.testing.assert_array_equal(ours, average)


def test_evaluate_and_report_fuse_with_it(interrupted, capsys):
    workdir, *_ = interrupted
    assert evaluate.main([f"--workdir={workdir}", "--split=test", "--metrics=ssim", "--model=mean"]) == 0
    summary = json.loads((workdir / "evaluation/test/summary.json").read_text())
    assert set(summary["systems"]) == {"ddfm", "mean"} and summary["systems"]["ddfm"]["images"] == 3
    assert run_page.write_run_report(workdir).read_text().count("data:image/png;base64,") == 3


def test_the_loss_is_of_each_source_and_image_by_itself(quick):
    model = models.get("ddfm", quick)
    sources, keys = pair(4, 12, 10), jax.random.split(jax.random.key(3), 4)
    variables = jax.jit(model.init)(jax.random.key(0), *sources)
    loss = jax.jit(model.train_loss)
    whole = np.asarray(loss(variables, sources, keys))
    half = loss(variables, tuple(source[2:] for source in sources), keys[2:])
    assert whole.shape == (4,) and len(set(whole.tolist())) == 4
    np.testing.assert_allclose(whole[2:], half, rtol=tolerances.LOSS_F32)
    second_changed = loss(variables, (sources[0], sources[1][::-1]), keys)
    assert np.all(np.abs(second_changed - whole) > 1e-7)


def test_the_number_of_sampling_steps_can_be_chosen(quick):
    config = defaults()
    with pytest.raises(UserError, match="--sampling-steps=3: fusioninn does not sample"):
        evaluate._with_steps(TrainedModel(models.get("fusioninn"), {}, config), 3)
    config.model.name = "ddfm"
    config.model.ddfm.update(**quick)
    sources = pair(1, 8, 8)
    model = models.get("ddfm", config.model.ddfm)
    trained = TrainedModel(model, jax.jit(model.init)(jax.random.key(0), *sources), config)
    two, three = (
        jax.jit(evaluate._with_steps(trained, steps).model.fuse)(trained.variables, *sources)[0] for steps in (2, 3)
    )
    assert float(jnp.abs(two - three).max()) > 0.01


def test_without_weights_evaluate_says_where_to_get_them():
    with pytest.raises(UserError, match="configs/ddpm.py .*256x256_diffusion_uncond.pt .*--workdir"):
        evaluate.main(["--model=ddfm", "--dataset=a/b", "--out=x"])
