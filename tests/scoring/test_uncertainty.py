"""Calibrating a model: which pixels and errors are collected, what the command keeps and prints, what it refuses."""

import jax
import numpy as np
import pytest

from fusioninn_jax import input_pipeline, models, pretrained
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring import uncertainty
from fusioninn_jax.trained_model import TrainedModel, calibration
from fusioninn_jax.training import checkpoint
from tests import tolerances, training_case


@pytest.fixture(scope="module", name="trained")
def trained_fixture(data_dir):
    """A small model away from the identity, as a training on the tiny dataset would leave it."""
    config = training_case.config(data_dir)
    model = models.get("fusioninn", config.model.fusioninn)
    image = np.full((1, model.multiple, model.multiple, 1), 0.5, np.float32)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda x: np.asarray(x + 0.03 * rng.standard_normal(np.shape(x)), np.float32),
        jax.jit(model.init)(jax.random.key(0), image, image),
    )
    return TrainedModel(model, variables, config)


def test_brain_pixels_are_collected_with_their_truth(trained):
    prepared = input_pipeline.open_dataset(trained.config.data)
    pixels = uncertainty.collect(trained, prepared, "validation", samples=4, limit=0)
    truth, subjects = [], []
    for batch in input_pipeline.evaluation_batches(prepared, trained.config.data, "validation", batch_size=1):
        brain = batch["sources"][0].max(-1) > 0
        truth.append(batch["sources"][0][brain])
        subjects += [batch["subject"][0].decode()] * int(brain.sum())
    np.testing.assert_array_equal(pixels.truth, np.concatenate(truth))
    assert pixels.subjects.tolist() == subjects and len(set(subjects)) == 3
    assert (pixels.spread > 0).mean() > 0.9 and (np.abs(pixels.error) > 0).mean() > 0.9  # the rest is clipped


def test_more_draws_do_not_widen_the_spread(trained):
    prepared = input_pipeline.open_dataset(trained.config.data)
    squares = [
        (uncertainty.collect(trained, prepared, "test", samples=samples).spread ** 2).mean() for samples in (2, 16)
    ]
    # of n draws the plain deviation would be half and 15/16 of it
    np.testing.assert_allclose(*squares, rtol=tolerances.ESTIMATED)


def test_the_command_keeps_a_calibration_of_this_model(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "load", lambda workdir, which: trained)
    assert uncertainty.main(["--workdir", str(tmp_path), "--samples", "4", "--split", "validation"]) == 0
    name = pretrained.fingerprint(trained.variables, trained.config)
    assert calibration.load(tmp_path, name) is not None and calibration.load(tmp_path, "another") is None
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["| patient", "| validation0", "| validation1", "| validation2", "| all"]
    shares = np.array([cell.strip(" |") for cell in rows[-1][2:]], float)  # of the pixels it was learnt from
    np.testing.assert_allclose(shares, [50, 80, 95] * 2, atol=100 * tolerances.SHARE_OF_PART)


def test_one_draw_and_a_system_without_decomposition_are_refused(trained, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--samples=1"):
        uncertainty.main(["--workdir", str(tmp_path), "--samples", "1"])
    monkeypatch.setattr(checkpoint, "load", lambda workdir, which: trained._replace(model=models.get("mean")))
    with pytest.raises(UserError, match="cannot decompose"):
        uncertainty.main(["--workdir", str(tmp_path)])
    assert not list(tmp_path.iterdir())
