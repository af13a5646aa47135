"""studies.fusing: which models it loads, and the error that a calibrated one promises, in the sources' units."""

import math
import shutil

import numpy as np
import pytest

from fusioninn_jax import pretrained, settings, volumes
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import examination, fusing, page_content
from fusioninn_jax.trained_model import calibration
from fusioninn_jax.trained_model.calibration import Calibration
from tests import tolerances
from tests.studies import cases

SAMPLES = 3
SCALES = np.array([5.0, 2.0])


@pytest.fixture
def folder(tmp_path, model_folder):
    """The small model with a calibration that takes spreads times SCALES, up to a spread of 1."""
    shutil.copytree(model_folder, tmp_path / "model")
    trained = fusing.load(str(model_folder))
    knots = np.linspace(0.01, 1, calibration.KNOTS) * np.ones((2, 1))
    deviations = SCALES[:, None] * knots
    fitted = Calibration(knots, deviations, np.array(calibration.LEVELS)[:, None, None] * deviations)
    calibration.save(tmp_path / "model", fitted, pretrained.fingerprint(trained.variables, trained.config))
    return tmp_path / "model"


def samples(folder):
    trained = fusing.load(str(folder))
    stack = [np.asarray(cases.voxels(i).transpose(2, 1, 0), np.float32) for i in (1, 2)]
    volume = volumes.fuse_volume(trained.model, trained.variables, *stack)
    return fusing.decompose_samples(trained, volume, 0, SAMPLES)


def test_samples_give_the_calibrated_error(folder, model_folder):
    (mean, error), (raw_mean, spread) = samples(folder), samples(model_folder)
    np.testing.assert_array_equal(mean, raw_mean)
    expected = spread * SCALES[:, None, None, None] * math.sqrt(SAMPLES / (SAMPLES - 1))
    assert spread.max() > 1 and (spread[:, 4] == 0).all()  # of some hundred grey levels; of the all-zero slice
    np.testing.assert_allclose(error, expected, rtol=tolerances.LONG_F32, atol=tolerances.COARSE)


def test_the_page_shows_the_calibrated_error_and_says_so(folder, model_folder):
    uniforms = [uniform(cases.voxels(i), PIXELS, {"kind": "none"}) for i in (1, 2)]
    tumour = np.zeros_like(uniforms[0].values)
    with_it, without = (
        examination.examine(fusing.load(str(model)), uniforms, tumour, ("a", "b"), samples=SAMPLES, seed=0)
        for model in (folder, model_folder)
    )
    assert with_it.calibrated and not without.calibrated
    expected = without.error * SCALES[:, None, None, None] * math.sqrt(SAMPLES / (SAMPLES - 1))
    assert without.error.max() > 1e-3
    np.testing.assert_allclose(with_it.error, expected, rtol=tolerances.LONG_F32, atol=tolerances.ROUNDING_F32)
    meanings = [page_content.panels(study, np.arange(1))[-1].meaning for study in (with_it, without)]
    assert "expected to have" in meanings[0] and "over the 3 draws" in meanings[1]


def test_a_calibration_of_other_weights_does_not_count(folder, tmp_path):
    other = cases.save_model(tmp_path / "other", seed=1)
    shutil.copy(folder / calibration.FILE, other)
    assert fusing.load(str(folder)).calibration is not None
    assert fusing.load(str(other)).calibration is None


def test_a_damaged_calibration_is_named(folder):
    path = folder / calibration.FILE
    path.write_text(path.read_text()[:-20])
    with pytest.raises(UserError, match=r"calibration\.json: is no calibration"):
        fusing.load(str(folder))


def test_a_model_of_other_intensities_says_so(monkeypatch, capsys, tmp_path):
    from fusioninn_jax import pretrained
    from fusioninn_jax.studies import fusing
    from fusioninn_jax.trained_model import TrainedModel
    from fusioninn_jax.training import checkpoint

    model, variables, *_ = pretrained.load()
    for normalisation, told in (("minmax", False), ("percentile", True)):
        config = settings.defaults()
        config.data.normalisation = normalisation
        trained = TrainedModel(model, variables, config, 1)
        monkeypatch.setattr(checkpoint, "load", lambda workdir, which, trained=trained: trained)
        fusing.load(str(tmp_path))
        assert ("scaled by percentile" in capsys.readouterr().err) == told
