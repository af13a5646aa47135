"""scoring.score_split: rows of real images alone, in the order of the split, whoever scored them."""

import numpy as np
import pytest
from PIL import Image

from fusioninn_jax.runtime import processes
from fusioninn_jax.scoring import image_scores, score_split
from tests import tolerances


def test_scores_of_two_processes_are_one_table(monkeypatch):
    shares = [[(0, {"subject": "a"}), (3, {"subject": "b"})], [(1, {"subject": "a"}), (2, {"subject": "b"})]]
    monkeypatch.setattr(processes, "gather", lambda own: shares)
    assert score_split._of_all(shares[0]) == [shares[0][0][1], shares[1][0][1], shares[1][1][1], shares[0][1][1]]
    latents = np.random.default_rng(0).standard_normal((4, 5, 6, 1))
    inside = np.ones((4, 5, 6, 1), bool)
    whole, parts = image_scores.LatentMoments(), [image_scores.LatentMoments(), image_scores.LatentMoments()]
    whole.add(latents, inside)
    for part, rows in zip(parts, (np.s_[:1], np.s_[1:]), strict=True):
        part.add(latents[rows], inside[rows])
    monkeypatch.setattr(processes, "gather", lambda own: [part.sums() for part in parts])
    for name, value in whole.summary().items():
        np.testing.assert_allclose(score_split._merged(parts[0]).summary()[name], value, rtol=tolerances.GOLDEN_F64)


def batch(*weights, **more):
    """A batch of as many slices of a patient."""
    count = len(weights)
    return {
        "number": np.arange(count) + 7,
        "subject": np.array([b"p/1:a"] * count),
        "slice_index": np.arange(count) + 3,
        "weight": np.array(weights, np.float32),
        **more,
    }


def test_a_row_for_each_real_image_with_its_scores_alone():
    results = {"q_ssim": np.array([0.5, 0.25], np.float32), "fused": np.zeros((2, 4, 4, 1))}
    assert score_split._rows("mean", batch(1, 0), results) == [
        (7, {"system": "mean", "subject": "p/1:a", "slice_index": 3, "q_ssim": 0.5})
    ]


@pytest.mark.parametrize("subject, index, name", [("p1", 4, "p1_004"), ("a/b:c", 1234, "a_b_c_1234")])
def test_a_subject_s_name_makes_a_file_s_name(subject, index, name):
    assert score_split.image_name(subject, index) == name


def test_fused_images_are_kept_in_8_bits_without_the_filling(tmp_path):
    fused = np.tile(np.array([-0.5, 0.25, 0.5, 1.5], np.float32), (2, 4, 1))[..., None]
    score_split._save_fused(tmp_path, batch(1, 0), fused)
    (file,) = tmp_path.iterdir()
    assert file.name == "p_1_a_003.png"
    np.testing.assert_array_equal(np.asarray(Image.open(file))[0], [0, 64, 128, 255])


def test_a_coloured_slice_is_kept_in_colour_and_a_grey_one_beside_it_in_grey(tmp_path):
    fused, chroma = np.full((2, 4, 4, 1), 0.5, np.float32), np.zeros((2, 4, 4, 2), np.float32)
    chroma[1, ..., 1] = 0.2
    score_split._save_fused(tmp_path, batch(1, 1, chroma=chroma), fused)
    grey, coloured = (np.asarray(Image.open(path)) for path in sorted(tmp_path.iterdir()))
    assert grey.shape == (4, 4) and (grey == 128).all()
    assert coloured.shape == (4, 4, 3) and (coloured[..., 0] > coloured[..., 1]).all()


def test_few_of_many_files_that_are_passed_over_are_named(tmp_path, capsys):
    score_split._tell_passed_over(tmp_path, [])
    assert capsys.readouterr().out == ""
    score_split._tell_passed_over(tmp_path, list("abc"), shown=2)
    assert capsys.readouterr().out == f"{tmp_path}: 3 files are passed over, of no slice of this split: a, b, ...\n"
