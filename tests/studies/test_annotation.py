"""A study's annotation: its parts, and how they stand out in the fused image."""

import numpy as np
import pytest
import scipy.stats

from fusioninn_jax.studies import annotation as of_study
from tests import tolerances


@pytest.mark.parametrize(
    "name, labels, parts",
    [
        ("seg.nii.gz", (1, 2, 4), {"core": 1, "oedema": 2, "enhancing": 4}),
        ("a-seg.nii.gz", (1, 2, 3), {"core": 1, "oedema": 2, "enhancing": 3}),
        ("BRATS_007.nii.gz", (1, 2), {"core": 2, "oedema": 1}),
        ("lesion.nii.gz", (1,), {}),
        ("lesion.nii.gz", (1, 9), {}),
        ("lesion.nii.gz", (0.25, 1), {}),
    ],
)
def test_a_mask_is_read_as_parts_where_its_labels_are_a_tumour_s(name, labels, parts):
    annotation = np.zeros((2, 6, 8))
    annotation[1, 2, : len(labels)] = labels
    found = of_study.tumour_parts(annotation, name)
    np.testing.assert_array_equal(found.pop("whole annotation"), annotation > 0)
    assert set(found) == set(parts)
    for part, label in parts.items():
        np.testing.assert_array_equal(found[part], annotation == label, err_msg=part)


def test_conspicuity_pools_the_annotated_slices_of_the_study():
    rng = np.random.default_rng(0)
    sources = np.float32(np.round(255 * rng.random((2, 4, 20, 22))) / 255)
    brain = np.zeros((4, 20, 22), bool)
    brain[:, 3:] = True
    lesion = np.zeros_like(brain)
    lesion[1:3, 8:12, 5:9] = True
    sources[1, lesion] = np.float32(np.round(255 * (0.5 + sources[1, lesion] / 2)) / 255)
    found = of_study.conspicuity(sources, sources[1], brain, {"whole annotation": lesion}, ["T1-Gd", "FLAIR"])
    fused, _, first, second, over_best, over_mean = found["AUC"]["whole annotation"]
    other = brain & ~lesion & lesion.any((1, 2), keepdims=True)
    for value, image in ((first, sources[0]), (second, sources[1])):
        pairs = scipy.stats.mannwhitneyu(image[lesion].astype(float), image[other].astype(float))
        assert value == pytest.approx(pairs.statistic / (lesion.sum() * other.sum()), abs=tolerances.METRIC_F32)
    assert fused == second > 0.7 and over_best == 0 < over_mean
    nothing = of_study.conspicuity(sources, sources[1], brain, {"whole annotation": np.zeros_like(brain)}, ["a", "b"])
    assert nothing == {}
