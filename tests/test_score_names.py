"""fusioninn_jax.score_names: names are told apart again, and every place that names a score asks here."""

import pathlib
import re

import pytest

import fusioninn_jax
from fusioninn_jax import score_names
from fusioninn_jax.score_names import BRAIN

PACKAGE = pathlib.Path(fusioninn_jax.__file__).parent
SPELLED = re.compile(r"[\"'](?:f?\w*ssim_(?:fused|decomposed)_|_brain)")


@pytest.mark.parametrize("source", [1, 2, 13])
def test_a_fused_image_s_name_gives_its_source(source):
    name = score_names.of_fused(source)
    assert score_names.source_of_fused(name) == score_names.source_of_fused(name + BRAIN) == source
    assert not score_names.is_of_decomposed(name)


@pytest.mark.parametrize("storage", [*score_names.STORAGE_BITS, score_names.storage_name("jpeg", 8, 85)])
def test_a_decomposed_image_s_name_is_known(storage):
    name = score_names.of_decomposed("psnr", 2, storage)
    assert score_names.is_of_decomposed(name) and score_names.is_of_decomposed(name + BRAIN)
    assert score_names.source_of_fused(name) is None


@pytest.mark.parametrize("name", ["q_ssim", "q_fmi_brain", "ssim_sum", "mse", "ssim_fused_", "decomposed_1_float"])
def test_other_scores_are_neither(name):
    assert score_names.source_of_fused(name) is None and not score_names.is_of_decomposed(name)


def test_training_and_evaluation_name_eight_bits_alike():
    assert score_names.storage_name("round", 8, 95) in score_names.STORAGE_BITS
    assert score_names.storage_name("float", 8, 95) in score_names.STORAGE_BITS
    assert score_names.storage_name("dither", 8, 95) not in score_names.STORAGE_BITS


def test_names_are_spelled_nowhere_else():
    spelled = {path.name for path in PACKAGE.rglob("*.py") if SPELLED.search(path.read_text())}
    assert spelled <= {"score_names.py"}
