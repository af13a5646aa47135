"""data.brats.naming and layouts: whose a file is, told from its name; what is not used is listed with a reason."""

import pathlib

import nibabel as nib
import pytest

from data import prepare
from data.brats import layouts
from fusioninn_jax.runtime.errors import UserError
from tests.data import synthetic
from tests.data.test_brats import _all, _run


def _put(root, *files, labels=(1, 2, 4)):
    """Writes NIfTI files, a mask where the name speaks of one; the content tells the files apart."""
    for seed, file in enumerate(files):
        mask = any(word in file.lower() for word in ("seg", "mask", "labelsTr"))
        synthetic.save(root / "plain.nii", synthetic.annotation(labels) if mask else synthetic.volume(seed))
        image = nib.load(root / "plain.nii")
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(image.to_bytes())
        (root / "plain.nii").unlink()


LAYOUTS = {
    "UPENN": ["images/U-1/U-1_T1GD.nii.gz", "images/U-1/U-1_FLAIR.nii.gz", "images_segm/U-1_segm.nii.gz"],
    "UCSF": ["U-1/U-1_T1c.nii.gz", "U-1/U-1_FLAIR.nii.gz", "U-1/U-1_tumor_segmentation.nii.gz"],
    "BIDS": ["sub-1/anat/sub-1_ce-gd_T1w.nii.gz", "sub-1/anat/sub-1_FLAIR.nii", "sub-1/anat/sub-1_seg.nii"],
    "capitals": ["P/P_T1CE.NII", "P/P_Flair.NII", "P/P_SEG.NII"],
    "by folder": ["set/P/t1ce.nii", "set/P/flair.nii", "set/P/seg.nii"],
    "one folder a file": ["P/P_t1ce.nii/P_t1ce.nii", "P/P_flair.nii/P_flair.nii", "P/P_seg.nii/P_seg.nii"],
    "strange names in such folders": ["P/P_t1ce.nii/0057_brain.nii", "P/P_flair.nii/a.nii", "P/P_seg.nii/b.nii"],
    "one folder a modality": ["t1ce/P_t1ce.nii", "flair/P_flair.nii", "seg/P_seg.nii"],
    "separators": ["P/P_T1-Gd.nii", "P/P-T2-FLAIR.nii", "P/P_seg.nii"],
}


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_a_subject_in_many_namings(tmp_path, files):
    _put(tmp_path, *files)
    found = layouts.find_subjects(tmp_path)
    assert len(found.subjects) == 1 and not found.passed_over
    subject = found.subjects[0]
    assert subject.images == {"t1gd": tmp_path / files[0], "flair": tmp_path / files[1]}
    assert subject.annotation == tmp_path / files[2] and subject.generation == "brats2018"


def test_a_contrast_named_none_is_no_contrast(tmp_path):
    _put(tmp_path, "sub-1_ce-none_T1w.nii", "sub-1_ce-gado_T1w.nii")
    kinds = {kind for subject in layouts.find_subjects(tmp_path).subjects for kind in subject.images}
    assert kinds == {"t1", "t1gd"}


def test_labels_are_those_of_the_generation_that_the_images_are_named_for(tmp_path):
    _put(
        tmp_path, "A-t1c.nii", "A-t2f.nii", "A-seg.nii", "B_t1n.nii", "B_t2f.nii", "B_seg.nii", "C_t1c.nii", "C_t2w.nii"
    )
    generations = {s.name: s.generation for s in layouts.find_subjects(tmp_path).subjects}
    assert generations == {"A": "brats2023", "B": "brats2023", "C": "brats2018"}
    _put(tmp_path, "A_flair.nii")
    with pytest.raises(UserError, match="found twice|has this file twice"):
        layouts.find_subjects(tmp_path)
    (tmp_path / "A-t2f.nii").unlink()
    with pytest.raises(UserError, match="A-seg.nii: A has files named as BraTS 2018-2021 and as 2023-2024"):
        layouts.find_subjects(tmp_path)


def test_packed_beside_unpacked_is_named(tmp_path):
    _put(tmp_path, "P/P_t1ce.nii", "P/P_flair.nii")
    (tmp_path / "P" / "P_flair.nii.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"P_flair.nii.gz: P has this file twice, also as P_flair.nii; remove one"):
        layouts.find_subjects(tmp_path)


def test_the_mask_that_brats_2020_published_under_another_name(tmp_path):
    for number in ("001", "355"):
        name = f"BraTS20_Training_{number}"
        mask = "W39_1998.09.19_Segm.nii" if number == "355" else f"{name}_seg.nii"
        _put(tmp_path, f"{name}/{name}_t1ce.nii", f"{name}/{name}_flair.nii", f"{name}/{mask}")
    _, examples = _run(tmp_path, tmp_path / "out", "--val_fraction=0")  # of equal voxels: one patient
    found = _all(examples)
    assert {name for name, _ in found} == {"BraTS20_Training_001", "BraTS20_Training_355"} and len(found) == 4
    assert all(example["mask"].any() for example in found.values())


def test_everything_passed_over_is_listed_with_a_reason(tmp_path, capsys):
    source = tmp_path / "in"
    for seed in range(3):
        synthetic.brats(source, f"P{seed}", seed=seed)
    synthetic.save(source / "P0" / "P0_dwi.nii", synthetic.volume(5))
    for name in ("scan.mha", "more.h5", "readme.txt"):
        (source / name).write_text("x")
    builder, _ = _run(source, tmp_path / "out", "--ignore=P0_seg*")
    listed = builder.info.metadata["passed_over"]
    assert set(listed) == {"P0/P0_dwi.nii", "P0/P0_seg.nii.gz", "scan.mha", "more.h5"} and all(listed.values())
    said = capsys.readouterr().out
    assert "image files passed over: 4" in said and "P0/P0_dwi.nii: its name is of no known naming" in said
    assert "scan.mha: only .nii and .nii.gz are read here" in said


def test_where_nothing_is_understood_what_is_there_is_named(tmp_path):
    _put(tmp_path, "a/dwi.nii", "a/adc.nii")
    with pytest.raises(UserError, match="no subject found; understood are .* other names: adc.nii, dwi.nii"):
        layouts.find_subjects(tmp_path)


def test_a_source_in_a_bucket_is_refused(tmp_path):
    with pytest.raises(UserError, match="--source=gs://bucket/in: images are read from local folders"):
        prepare.main(["brats", "--source=gs://bucket/in", f"--data_dir={tmp_path}/out"])
    assert not pathlib.Path("gs:").exists()
