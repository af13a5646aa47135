"""A model as two plain files."""

import json
import pathlib

import jax
import numpy as np
import pytest

from fusioninn_jax import models, pretrained, settings
from fusioninn_jax.pretrained import __main__ as pretrained_main
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.training import checkpoint


@pytest.fixture(name="small")
def small_fixture():
    """(variables, configuration) of a small model, its weights as if trained."""
    config = settings.defaults()
    config.model.fusioninn.update({"blocks": 2, "widths": (4,)})
    model = models.get("fusioninn", config.model.fusioninn)
    variables = jax.jit(model.init)(jax.random.key(0), *jax.numpy.ones((2, 1, 16, 16, 1)))
    return jax.tree.map(lambda leaf: np.asarray(leaf) + np.float32(0.1), variables), config


def test_what_is_written_is_read(small, tmp_path):
    variables, config = small
    pretrained.save(tmp_path, variables, config)
    found = pretrained.load(tmp_path)
    assert pretrained.fingerprint(found.variables, found.config) == pretrained.fingerprint(variables, config)
    for ours, theirs in zip(jax.tree.leaves(found.variables), jax.tree.leaves(variables), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_half_precision_takes_half_the_bytes_and_stays_as_rounded(small, tmp_path):
    variables, config = small
    rounded = pretrained.halved(variables)
    for name, written in (("whole", variables), ("half", rounded)):
        pretrained.save(tmp_path / name, written, config)
    found = pretrained.load(tmp_path / "half")
    for ours, theirs in zip(jax.tree.leaves(found.variables), jax.tree.leaves(rounded), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs)
    whole, half = ((tmp_path / name / pretrained.WEIGHTS).stat().st_size for name in ("whole", "half"))
    assert half < 0.8 * whole


def test_a_training_starts_from_the_shipped_model_where_that_fits():
    config = settings.defaults()
    config.start = "auto"
    assert pretrained.settle_start(config) == "pretrained"
    config.model.fusioninn.backward = "rebuilt"  # the same function
    assert pretrained.settle_start(config) == "pretrained"
    for change in ({"fusioninn": {"blocks": 3}}, {"fusioninn": {"sources": 3}}, {"name": "unet"}):
        other = settings.defaults()
        other.start = "auto"
        other.model.update(change)
        assert pretrained.settle_start(other) == ""


def test_weights_of_another_architecture_are_no_start(small, tmp_path):
    variables, config = small
    pretrained.save(tmp_path, variables, config)
    with pytest.raises(UserError, match=r"--config.start=.*: model.fusioninn.blocks is 2, the training's 7; set it"):
        pretrained.weights_for(tmp_path, {}, settings.defaults())
    started = pretrained.weights_for(tmp_path, variables, config)
    jax.tree.map(np.testing.assert_array_equal, started, variables)
    with pytest.raises(UserError, match="nowhere"):
        pretrained.weights_for(tmp_path / "nowhere", variables, config)


def test_weights_of_another_model_are_refused(small, tmp_path):
    variables, config = small
    pretrained.save(tmp_path, variables, config)
    other = tmp_path / pretrained.CONFIG
    other.write_text(other.read_text().replace('"blocks": 2', '"blocks": 1'))
    with pytest.raises(UserError, match="not a model of this package"):
        pretrained.load(tmp_path)


PRIOR, MODALITIES = "prior: is none of the known ones; give one of normal, ", "modalities: is no list of names"


@pytest.mark.parametrize(
    "key, value, message",
    [("prior", value, PRIOR) for value in ("nomral", 5, None, ["normal"])]
    + [("modalities", value, MODALITIES) for value in (3, "t1gd", [1, 2], None)],
)
def test_a_setting_that_is_none_is_refused(small, tmp_path, key, value, message):
    pretrained.save(tmp_path, *small)
    path = tmp_path / pretrained.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(UserError, match=message):
        pretrained.load(tmp_path)


def test_the_name_of_a_foreign_array_is_not_repeated(small, tmp_path):
    variables, config = small
    pretrained.save(tmp_path, variables | {"Jane Doe": np.zeros(3, np.float32)}, config)
    with pytest.raises(UserError, match="differ at an array that the model does not have"):
        pretrained.load(tmp_path)


def test_the_model_that_ships_is_small_and_shows_its_settings():
    folder = pretrained.__path__[0]
    trained = pretrained.load()
    assert tuple(trained.config.modalities) == ("t1gd", "flair")
    assert sum(path.stat().st_size for path in pathlib.Path(folder).glob("*.npz")) <= 2_000_000


def test_a_training_is_written_with_the_names_that_were_given_and_no_others(small, tmp_path, monkeypatch, capsys):
    variables, config = small
    trained = TrainedModel(models.get("fusioninn", config.model.fusioninn), variables, config, 7)
    monkeypatch.setattr(checkpoint, "load", lambda workdir, which: trained)
    for named in ((), ("adc", "flair")):
        flags = ["--modalities", *named] if named else []
        assert pretrained_main.main(["--workdir", str(tmp_path), "--out", str(tmp_path / "m"), *flags]) == 0
        assert tuple(pretrained.load(tmp_path / "m").config.modalities) == named
        assert capsys.readouterr().out.endswith("of step 7\n")
    with pytest.raises(UserError, match="fuses 2 series, 3 are named"):
        pretrained_main.main(["--workdir", "x", "--out", "y", "--modalities", "a", "b", "c"])
