"""fusioninn_jax.settings: whole tables, new configurations each time, and no other name in configs/."""

import importlib
import pathlib

import ml_collections
import pytest

from fusioninn_jax import models, settings
from fusioninn_jax.settings import Setting

CONFIGS = sorted(path.stem for path in (pathlib.Path(__file__).parents[2] / "configs").glob("[a-z]*.py"))


def flat(config, prefix=""):
    found = {}
    for name, value in config.items():
        found |= (
            flat(value, f"{prefix}{name}.") if isinstance(value, ml_collections.ConfigDict) else {prefix + name: value}
        )
    return found


def test_every_setting_is_described_under_its_own_name():
    found = list(settings.described())
    assert {row.name: row.default for row in found} == flat(settings.defaults())
    assert len({row.name for row in found}) == len(found)


@pytest.mark.parametrize("row", list(settings.described()), ids=lambda row: row.name)
def test_a_meaning_is_one_line_that_starts_small_and_ends_without_a_stop(row):
    assert row.meaning and "\n" not in row.meaning and not row.meaning.endswith(".")
    assert len(row.meaning) < 260


def test_every_system_has_its_table():
    assert sorted(settings.MODELS) == models.names()
    for name in models.names():
        assert models.default_config(name) == settings.defaults(f"model.{name}")


def test_a_configuration_can_be_changed_and_the_next_one_is_new():
    first = settings.defaults()
    first.losses.alpha = 0.75
    assert settings.defaults().losses.alpha == settings.LOSSES["alpha"].default != 0.75
    with pytest.raises(TypeError):
        settings.LOSSES["alpha"] = Setting(0.75, "changed")


@pytest.mark.parametrize("part", ["nothing", "losses.nothing", "losses.alpha"])
def test_a_part_that_is_none(part):
    with pytest.raises(KeyError):
        settings.defaults(part)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_has_the_settings_of_the_table_and_no_other(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    assert flat(config).keys() == flat(settings.defaults()).keys()


def test_the_paper_differs_in_what_it_names():
    ours, theirs = flat(settings.defaults("losses")), flat(settings.paper_losses())
    assert {name for name in ours if ours[name] != theirs[name]} <= settings.PAPER_LOSSES.keys()
    assert theirs["storage.kind"] == "float" and theirs["alpha"] == 0.5
    official = settings.official_fusioninn()
    assert (official.formulation, official.actnorm, official.permutation) == ("official", "batch", "random")
