"""tables.comparison: what differs from the reference is marked, and systems stand in the paper's order."""

import ml_collections
import numpy as np
import pytest

from fusioninn_jax.score_names import of_part
from fusioninn_jax.tables import comparison, published, systems
from fusioninn_jax.trained_model import TrainedModel


def rows(label, offset, patients, slices=30):
    """Q_SSIM of two systems on patients whose difference varies about `offset`."""
    noise = np.random.default_rng(0).normal(0, 0.002, (patients, slices))
    return [
        {"system": label, "subject": f"p{i}", "slice_index": j, "q_ssim": 0.9 + offset * (1 + noise[i, j])}
        for i in range(patients)
        for j in range(slices)
    ]


def scored(name, offset=0.0, patients=12, label=None, further=None):
    config = ml_collections.ConfigDict({"model": {"name": name}})
    system = systems.System(label or name, TrainedModel(None, {}, config), None)
    return comparison.Scored(system, rows(name, offset, patients), further or {})


@pytest.mark.parametrize("patients,offset,mark", [(12, 0.01, "*"), (2, 0.01, "†"), (12, 0.0, "")])
def test_marks_tell_patients_from_slices(patients, offset, mark):
    cell = comparison._cell(scored("unet", offset, patients), scored("fusioninn", 0.0, patients), "q_ssim")
    assert cell.endswith("]" + mark)


def test_the_reference_itself_and_a_missing_score_have_no_mark():
    reference = scored("fusioninn")
    assert comparison._cell(reference, reference, "q_ssim") == comparison._cell(reference, None, "q_ssim")
    assert comparison._cell(scored("unet", 0.1), reference, "q_fmi") == "—"


def test_systems_stand_in_the_papers_order_then_the_others():
    found = [scored("mean"), scored("fusioninn"), scored("unet"), scored("unet", label="unet (again)")]
    order = comparison._order(found)
    assert [name for name, _ in order] == [*published.TABLE1, "mean"]
    assert [of.system.label for name, of_name in order for of in of_name] == [
        "unet",
        "unet (again)",
        "fusioninn",
        "mean",
    ]
    assert [comparison._label(of.system) for of in found] == [
        "mean of the sources",
        "FusionINN",
        "UNet",
        "UNet (again)",
    ]
    assert comparison.reference_of(found) is found[1] and comparison.reference_of(found[2:]) is None


def test_numbers_tell_the_difference_of_the_same_images_or_none():
    costs = {name: {"gflops": 1.5} for name in ("unet", "fusioninn")}
    found = [scored("unet", 0.01), scored("fusioninn")]
    ours, theirs = comparison.numbers(found, costs)
    assert ours["difference"] == pytest.approx(ours["mean"] - theirs["mean"]) and ours["p_patients"] < 0.05
    assert ours["paper"] == published.TABLE1["unet"]["q_ssim"] and ours["gflops"] == 1.5
    assert theirs["difference"] is theirs["p_slices"] is None and ours.keys() == theirs.keys()
    (alone,) = comparison.numbers(found[:1], costs)
    assert alone["difference"] is None


def conspicuity(shift):
    """As `lesion_scores` gives it, of an oedema in eleven of twelve patients."""
    part, cnr = of_part("auc", "oedema"), of_part("cnr", "oedema")
    levels = 0.7 + shift + 0.01 * np.random.default_rng(1).random(11)
    return {
        "conspicuity": {"overall": {part: {}, cnr: {}}, "subjects": {f"p{i}": {part: x} for i, x in enumerate(levels)}}
    }


def test_parts_of_the_tumour_are_compared_by_the_patients_that_have_them():
    ours = scored("unet", further=conspicuity(0.1))
    found = ours.compare_lesion(scored("fusioninn", further=conspicuity(0.0)), of_part("auc", "oedema"))
    assert found.difference == pytest.approx(0.1) and found.p_value < 0.05
    assert comparison._lesion_table([scored("unet")], None, ["t1", "flair"]) is None  # no annotation
