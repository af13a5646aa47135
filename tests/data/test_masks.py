"""data.brats.masks: masks of unknown names."""

import pytest

from data.brats import layouts
from fusioninn_jax.runtime.errors import UserError
from tests.data import synthetic


@pytest.mark.parametrize("file", ["P_labels.nii", "truth.nii", "P_mask.nii.gz", "P/annotation.nii", "P_lesion.nii"])
def test_a_mask_of_unknown_name_is_asked_about(tmp_path, file):
    """By its name; named it is used, or left alone, and then listed."""
    folder = tmp_path / "in" / "P"
    synthetic.brats(tmp_path / "in", "Q", kinds=("t1ce", "flair"), seed=7)
    synthetic.brats(tmp_path / "in", "P", kinds=("t1ce", "flair"))
    mask = synthetic.save(folder / file.removeprefix("P/"), synthetic.annotation())
    with pytest.raises(UserError, match=f"{mask.name}: is this the mask of P, which has none.*--masks=.*--ignore="):
        layouts.find_subjects(tmp_path / "in")
    used = layouts.find_subjects(tmp_path / "in", mask_names=[f"*{mask.name[-9:]}"])
    assert [s.annotation for s in used.subjects] == [mask, None] and not used.passed_over
    left = layouts.find_subjects(tmp_path / "in", ignore=[mask.name])
    assert [s.annotation for s in left.subjects] == [None, None] and list(left.passed_over) == [mask]


def test_a_mask_is_known_by_its_content_too(tmp_path):
    synthetic.brats(tmp_path, "P", kinds=("t1ce", "flair"))
    strange = synthetic.save(tmp_path / "P" / "W40.nii", synthetic.volume(3))
    assert list(layouts.find_subjects(tmp_path).passed_over) == [strange]
    synthetic.save(strange, synthetic.annotation())
    with pytest.raises(UserError, match="W40.nii: is this the mask of P"):
        layouts.find_subjects(tmp_path)
    synthetic.save(tmp_path / "P" / "W41.nii", synthetic.annotation())
    with pytest.raises(UserError, match="W41.nii: P has this mask and W40.nii"):
        layouts.find_subjects(tmp_path, mask_names=["W4*"])
