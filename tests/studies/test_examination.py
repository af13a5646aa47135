"""studies.examination: a study cut to its brain, scored slice by slice."""

import jax
import numpy as np

from fusioninn_jax import metrics
from fusioninn_jax.formats import files
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.studies import examination, fusing, reading
from fusioninn_jax.volumes import decompose_samples, from_fused
from tests import tolerances
from tests.studies.page_cases import big


def zero_prior(trained):
    """The same model decomposing from a latent of zeros: noise is drawn by shape, zeros are not."""
    config = trained.config.copy_and_resolve_references()
    config.prior = "zeros"
    return trained._replace(config=config)


def test_cutting_to_the_brain_changes_neither_scores_nor_images(study, model_folder, quick):
    """What is decomposed and scored inside the box is what the whole slices give there."""
    sources = reading.read_sources(study[:2])
    trained = zero_prior(fusing.load(None))  # the small one multiplies rounding errors
    found = examination.examine(trained, sources, np.zeros(sources[0].stored.shape), ["a", "b"], samples=2, seed=0)
    assert found.fused.shape[1:] < sources[0].stored.shape[1:]
    whole = fusing.fuse(trained, sources, files.FLOAT).volume
    numbers = np.arange(6)
    unit = np.tile(np.array([0, 1], np.float32), (6, 2, 1))
    mean, _ = decompose_samples(
        trained.model,
        trained.variables,
        from_fused(whole.fused, unit, trained.model.multiple),
        key=jax.random.key(0),
        samples=2,
        prior="zeros",
        numbers=numbers,
    )
    box = tuple(slice(a, a + n) for a, n in zip(found.corner, found.fused.shape, strict=True))
    values = np.stack([source.values for source in sources])
    brain = (values > 0).any(0)
    low, high = np.moveaxis(np.asarray(whole.ranges), -1, 0)[..., None, None].transpose(0, 2, 1, 3, 4)
    images = ((values - low) / np.where(high > low, high - low, 1)).astype(np.float32)[..., None]
    for i in (0, 1):
        assert np.abs(np.asarray(mean)[i][box] - found.decomposed[i])[found.brain].max() < tolerances.CUT_TO_BRAIN
    for z in range(5):
        score = metrics.q_ssim(
            images[0, z : z + 1],
            images[1, z : z + 1],
            np.asarray(whole.fused)[z : z + 1, ..., None],
            mask=brain[z : z + 1],
        )
        np.testing.assert_allclose(found.scores["Q SSIM"][z], score[0], atol=tolerances.CUT_TO_BRAIN)


def test_a_mask_of_fractions_is_one_label():
    assert examination.labels_of(np.array([0, 1, 4])).tolist() == [0, 1, 4]
    assert examination.labels_of(np.array([0, 0.25, 1])).tolist() == [0, 1, 1]
    assert examination.labels_of(np.array([0, 300, -2])).tolist() == [0, 1, 0]


def test_scans_that_are_normalised_have_a_black_background_and_a_whole_brain(model_folder):
    grey = [big(seed).astype(np.float32) for seed in (1, 2)]
    brain = (grey[0] > 0) | (grey[1] > 0)
    sources = []
    for values in grey:
        normalised = np.where(brain, (values - values[brain].mean()) / values[brain].std(), 0).astype(np.float32)
        sources.append(uniform(np.moveaxis(normalised, -1, 0), PIXELS, {"kind": "none"}))
    brain = np.moveaxis(brain, -1, 0)
    trained = fusing.load(str(model_folder))
    study = examination.examine(trained, sources, np.zeros(brain.shape), ("a", "b"), samples=2, seed=0)
    shown = tuple(slice(start, start + length) for start, length in zip(study.corner, study.brain.shape, strict=True))
    np.testing.assert_array_equal(study.brain, brain[shown])
    assert study.brain.sum() == brain.sum() and np.abs(study.sources[:, ~study.brain]).max() < tolerances.COARSE
