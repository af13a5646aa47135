"""runtime.command_line: configurations by name, settings by flag, and what libraries say in a user's words."""

import pathlib
import re

import pytest

from fusioninn_jax import settings
from fusioninn_jax.runtime import command_line
from fusioninn_jax.runtime.errors import UserError


@pytest.mark.parametrize("arguments", [["--config=brats"], ["--config", "brats"], ["-config=brats.py"]])
def test_a_name_stands_for_a_file(arguments):
    *_, last = command_line._by_name(["--workdir=x", *arguments])
    found = pathlib.Path(last.rpartition("=")[2])
    assert found.name == "brats.py" and found.is_file()


def test_other_arguments_and_unknown_names_are_left_alone():
    arguments = ["--workdir=brats", "brats", "--config=absent", "--config.seed=3"]
    assert command_line._by_name(arguments) == arguments


@pytest.mark.parametrize(
    "file, hint", [("configs/bratts.py", "did you mean brats\\?"), ("qqqq", "choose one of .*brats, .*paper")]
)
def test_a_missing_configuration_is_told_with_the_nearest_or_all(file, hint):
    told = command_line._no_such_config(file)
    assert re.fullmatch(f"{file}: there is no such configuration file; .*{hint}.*", told)


def test_overrides_take_the_kind_of_the_setting():
    config = settings.defaults()
    command_line.override(
        config,
        [
            "--config.train.steps=7",
            "--config.data.crop=(64, 64)",
            "--config.losses.latent=white",
            "--config.losses.lam=1",
        ],
    )
    assert config.train.steps == 7 and config.data.crop == (64, 64)
    assert config.losses.latent == "white" and config.losses.lam == 1.0


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--config.train.stepps=3", "there is no setting stepps; did you mean steps?"),
        ("--config.train.steps=many", "--config.train.steps=many"),
        ("--config.trian.steps=3", "--config.trian.steps=3: there is no setting trian; did you mean train?"),
        ("--config.zebra=3", "--config.zebra=3: there is no setting zebra"),
        ("--config.train=3", "this is a group of settings; give one of them"),
        ("--config.train.steps.most=3", "a setting has no parts"),
    ],
)
def test_an_override_that_cannot_be_is_named(argument, message):
    with pytest.raises(UserError) as caught:
        command_line.override(settings.defaults(), [argument])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_error_becomes_one_line():
    assert command_line.one_line(ValueError("one\n  two\\n three")) == "one two three"
    assert command_line.one_line(KeyError("'a' is unknown")) == "\"'a' is unknown\""
