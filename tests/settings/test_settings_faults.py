"""What a user can get wrong in a configuration: one line that names the setting, before anything is read or written."""

import pytest

from fusioninn_jax import latent_losses, losses, settings, storage, train
from fusioninn_jax.bijections.base import BACKWARDS
from fusioninn_jax.input_pipeline import NORMALISATIONS
from fusioninn_jax.models import fusioninn
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.settings import limits
from fusioninn_jax.training import train_state

BAD = [
    ("train.eval_every", 0, "a whole number, 1 or more"),
    ("train.eval_every", -3, "a whole number, 1 or more"),
    ("train.log_every", 0, "a whole number, 1 or more"),
    ("train.steps", 0, "a whole number, 1 or more"),
    ("train.steps", 2.5, "a whole number"),
    ("train.batch_size", 0, "a whole number, 1 or more"),
    ("train.batch_size", "8", "a whole number"),
    ("train.epochs", -1, "0 or more"),
    ("train.eval_batch_size", -8, "0 or more"),
    ("data.crop", 32, "height and width, such as 64,64"),
    ("data.crop", (32,), "height and width, such as 64,64"),
    ("data.crop", (32, 32, 1), "height and width"),
    ("data.crop", (0, 16), "height and width, such as 64,64"),
    ("data.crop", (16.0, 16.0), "height and width, such as 64,64"),
    ("data.crop", "16,16", "height and width, such as 64,64"),
    ("data.normalisation", "zscore", "one of minmax, percentile"),
    ("data.shuffle_buffer", 0, "a whole number, 1 or more"),
    ("data.cache", 1, "True or False"),
    ("data.dataset", None, "a text"),
    ("seed", -1, "from 0 to"),
    ("seed", 2**40, "from 0 to"),
    ("losses.alpha", 1.5, "from 0 to 1"),
    ("losses.lam", float("nan"), "a number"),
    ("losses.latent_weight", float("inf"), "a number"),
    ("losses.latent", "whit", "white"),
    ("losses.prior", "gauss", "normal"),
    ("losses.reduction", "mean", "official"),
    ("losses.storage.bits", 0, "from 1 to 16"),
    ("losses.storage.kind", "png", "round"),
    ("losses.storage", 8, "a group of settings"),
    ("optimizer.learning_rate", -1e-3, "0 or more"),
    ("optimizer.learning_rate", "fast", "a number"),
    ("optimizer.schedule", "linear", "one of cosine"),
    ("optimizer.ema", 1.0, "below 1"),
    ("optimizer.plateau_factor", 1.0, "above 0 and below 1"),
    ("checkpoint.keep_last", 0, "a whole number, 1 or more"),
    ("augment.rotation", -5.0, "from 0"),
    ("model.name", "fusionin", "fusioninn"),
    ("model.fusioninn.widths", (0,), "from 1 to 4096"),
    ("model.fusioninn.widths", 64, "whole numbers"),
    ("model.fusioninn.blocks", -1, "from 0 to 64"),
    ("model.fusioninn.levels", (-1,), "from 0 to 6"),
    ("model.fusioninn.shrinkage", 0.5, "below 0.5"),
    ("model.fusioninn.clamp", -1.0, "above 0"),
    ("model.fusioninn.dtype", "int8", "one of float32"),
    ("model.fusioninn.formulation", "flow", "logit"),
    ("model.fusioninn.permutations", ((0, 1),), "lengths"),
    ("model.unet", None, "a group of settings"),
    ("model.unet.width", 0, "from 1"),
]


def _changed(name, value):
    config = settings.defaults()
    *groups, last = name.split(".")
    part = config
    for group in groups:
        part = part[group]
    with config.unlocked(), config.ignore_type():
        part[last] = value
    return config


@pytest.mark.parametrize("name, value, wanted", BAD, ids=[f"{name}={value}" for name, value, _ in BAD])
def test_a_bad_value_is_named(tmp_path, name, value, wanted):
    with pytest.raises(UserError) as caught:
        train.train_and_evaluate(_changed(name, value), str(tmp_path / "run"))
    line = str(caught.value)
    assert wanted in line and "\n" not in line and name.split(".")[-1] in line + "name"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, close",
    [
        ("train.stepps", "steps"),
        ("data.crops", "crop"),
        ("optimizer.lr", "known: "),
        ("modell", "model"),
        ("model.fusioninn.width", "widths"),
        ("losses.storage.bit", "bits"),
    ],
)
def test_an_unknown_setting_is_named_with_the_nearest(tmp_path, name, close):
    with pytest.raises(UserError, match=f"config.{name}: there is no such setting; .*{close}"):
        train.train_and_evaluate(_changed(name, 1), str(tmp_path))


def test_a_missing_setting_is_named(tmp_path):
    config = settings.defaults()
    del config.train.steps
    with pytest.raises(UserError, match="config.train.steps: is missing"):
        train.train_and_evaluate(config, str(tmp_path))


def test_the_defaults_are_within_their_limits_and_every_limit_is_of_a_setting():
    train.check_config(settings.defaults())
    names = {described.name for described in settings.described()}
    assert set(limits.LIMITS) <= names


def test_the_words_are_those_of_the_modules():
    words = {
        "losses.reduction": losses.REDUCTIONS,
        "data.normalisation": NORMALISATIONS,
        "optimizer.schedule": train_state.SCHEDULES,
        "losses.latent": latent_losses.LATENT_LOSSES,
        "losses.prior": losses.LATENT_PRIORS,
        "losses.storage.kind": storage.KINDS,
        "model.fusioninn.formulation": fusioninn.FORMULATIONS,
        "model.fusioninn.opening": fusioninn.OPENINGS,
        "model.fusioninn.actnorm": fusioninn.ACTNORM_STARTS,
        "model.fusioninn.permutation": [kind for kind in fusioninn.PERMUTATION_KINDS if kind],
        "model.fusioninn.squeeze": fusioninn.SQUEEZES,
        "model.fusioninn.backward": BACKWARDS,
    }
    for name, known in words.items():
        assert limits.LIMITS[name].words == tuple(known)


@pytest.mark.parametrize(
    "name, value, near",
    [
        ("model.fusioninn.formulation", "offical", "official"),
        ("losses.latent", "mmd_ofical", "mmd_official"),
        ("optimizer.schedule", "cosin", "cosine"),
    ],
)
def test_a_wrong_word_is_told_with_all_and_the_nearest(name, value, near):
    with pytest.raises(UserError, match=f"config.{name}: is '{value}'; give one of .*; did you mean '{near}'\\?"):
        train.check_config(_changed(name, value))


@pytest.mark.parametrize(
    "name,value,message",
    [
        ("losses.fusion_target", "salient", "no rule is called 'salient'; did you mean 'salient_mean'"),
        ("losses.fusion_target", "-1*mean", "the weight '-1' is not positive"),
        ("losses.prior", "zeros", "knows the prior N\\(0, I\\) alone, but losses.prior is 'zeros'; set"),
    ],
)
def test_settings_of_the_loss_are_checked_before_the_data_are_opened(name, value, message):
    with pytest.raises(UserError, match=message):
        train.check_config(_changed(name, value))


def test_settings_that_the_model_does_not_read_are_let_pass():
    config = _changed("losses.prior", "zeros")
    config.model.name = "unet"  # which has no latent
    train.check_config(config)
    for target in ("sources", "", "3*mean+max", "runs/elsewhere"):
        train.check_config(_changed("losses.fusion_target", target))
