"""data.brats.patients: a patient's visits and copies stay on one side of every split."""

import numpy as np
import openpyxl
import pytest

from data.brats import patients
from fusioninn_jax.runtime.errors import UserError
from tests.data import synthetic
from tests.data.test_brats import _run, _subjects


@pytest.mark.parametrize(
    "name, patient",
    [
        ("BraTS-GLI-00005-100", "BraTS-GLI-00005"),
        ("BraTS-MET-00002-000", "BraTS-MET-00002"),
        ("BraTS-GoAT-00012", "BraTS-GoAT-00012"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BraTS2021_00495", "BraTS2021_00495"),
        ("Brats18_TCIA02_377_1", "BraTS_TCIA02_377"),
        ("BraTS19_TCIA02_377_1", "BraTS_TCIA02_377"),
        ("UPENN-GBM-00001_21", "UPENN-GBM-00001"),
        ("RHUH-0001_0", "RHUH-0001"),
        ("UCSD-PTGBM-0001_02", "UCSD-PTGBM-0001"),
        ("BraTS-MEN-RT-0000-2", "BraTS-MEN-RT-0000"),
        ("BraTSReg_001_01_0106", "BraTSReg_001"),
        ("sub-01_ses-B_acq-b", "sub-01"),
        ("UCSF-PDGM-0409_FU001d", "UCSF-PDGM-0409"),
        ("UCSF-PDGM-0004", "UCSF-PDGM-0004"),
        ("sub-01_ses-02", "sub-01"),
        ("sub-01_ses-02_run-1", "sub-01"),
        ("Patient-001_week-000-1", "Patient-001"),
        ("BRATS_001", "BRATS_001"),
        ("PatientID_0003_Timepoint_1", "PatientID_0003"),
        ("P7_20190501", "P7"),
        ("P7_pre", "P7"),
        ("P7-baseline", "P7"),
        ("alice_visit2", "alice"),
        ("glioma_study_1", "glioma_study_1"),
        ("case_t2", "case_t2"),
        ("p1", "p1"),
    ],
)
def test_who_a_name_speaks_of(name, patient):
    assert patients.from_name(name) == patient


def test_a_pattern_instead():
    found = patients.identify(["site1x7a", "site1x7b", "site2x7a"], pattern=r"(site\d+x\d+)")
    assert found.of == {"site1x7a": "site1x7", "site1x7b": "site1x7", "site2x7a": "site2x7"}
    for pattern, message in (
        ("(", "not a regular expression"),
        ("site", "has no group"),
        ("(site1)", "match the subject"),
    ):
        with pytest.raises(UserError, match=message):
            patients.identify(["site1x7a", "site2x7a"], pattern=pattern)


@pytest.mark.parametrize("style", ["P{}_ses-{}", "BraTS-GLI-0000{}-10{}", "UPENN-GBM-0000{}_{}1"])
def test_visits_are_never_on_two_sides(tmp_path, style):
    for patient in range(6):
        for visit in (1, 2, 3):
            synthetic.brats(tmp_path / "in", style.format(patient, visit), seed=10 * patient + visit)
    builder, examples = _run(tmp_path / "in", tmp_path / "out", "--val_fraction=0.4", "--test_fraction=0.2")
    of_split = {split: {patients.from_name(name) for name in names} for split, names in _subjects(examples).items()}
    assert {split: len(names) for split, names in of_split.items()} == {"train": 3, "validation": 2, "test": 1}
    assert sum(map(len, of_split.values())) == len(set().union(*of_split.values()))
    assert len(set(builder.info.metadata["patients"].values())) == 6


def test_a_named_visit_takes_the_others_along(tmp_path):
    for name in ("P1_ses-1", "P1_ses-2", "P2_ses-1", "P3_ses-1"):
        synthetic.brats(tmp_path / "in", name, seed=hash(name) % 1000)
    _, examples = _run(tmp_path / "in", tmp_path / "out", "--test_subjects=P1_ses-2", "--val_fraction=0.3")
    assert _subjects(examples)["test"] == {"P1_ses-1", "P1_ses-2"}
    with pytest.raises(UserError, match="test_subjects: P1_ses-2 is a scan of P1, another of whose"):
        _run(tmp_path / "in", tmp_path / "out", "--validation_subjects=P1_ses-1", "--test_subjects=P1_ses-2", name="y")


def test_identical_voxels_are_told_and_stay_on_one_side(tmp_path, capsys):
    for seed in range(6):
        synthetic.brats(tmp_path / "in", f"Q{seed}", seed=seed)
    copy = synthetic.brats(tmp_path / "in", "other_year", seed=2)  # the same voxels, stored in another order and type
    flipped = np.diag([1.0, 1.0, 1.0, 1.0])
    synthetic.save(copy["t1ce"], synthetic.volume(200)[::-1, ::-1].astype(np.float32), flipped)
    synthetic.save(copy["flair"], synthetic.volume(999)[::-1, ::-1], flipped)  # one equal modality is enough
    synthetic.save(copy["seg"], synthetic.annotation()[::-1, ::-1], flipped)
    for seed in range(4):
        _, examples = _run(tmp_path / "in", tmp_path / "out", "--val_fraction=0.5", f"--seed={seed}", name=f"s{seed}")
        assert any({"Q2", "other_year"} <= names for names in _subjects(examples).values())
        assert "Q2, other_year: one patient (identical voxels)" in capsys.readouterr().out


def _csv(path, rows):
    path.with_suffix(".csv").write_text("".join(",".join(row) + "\n" for row in rows))


def _excel(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path.with_suffix(".xlsx"))


@pytest.mark.parametrize("write", [_csv, _excel])
def test_the_name_mapping_of_a_data_set(tmp_path, write):
    for seed, name in enumerate(("Brats17_A_1", "BraTS20_Training_007", "BraTS20_Training_008", "X", "Y")):
        synthetic.brats(tmp_path / "in", name, seed=seed)
    write(
        tmp_path / "in" / "name_mapping",
        [
            ("Grade", "2017", "2020"),
            ("HGG", "Brats17_A_1", "BraTS20_Training_007"),
            ("HGG", "NA", "BraTS20_Training_008"),
        ],
    )
    builder, examples = _run(tmp_path / "in", tmp_path / "out", "--test_subjects=Brats17_A_1")
    assert _subjects(examples)["test"] == {"Brats17_A_1", "BraTS20_Training_007"}
    assert "name mapping" in builder.info.metadata["copies"][0]


def test_a_broken_mapping_is_named(tmp_path):
    synthetic.brats(tmp_path / "in", "X")
    (tmp_path / "in" / "BraTS21-17_Mapping.xlsx").write_bytes(b"PK no zip")
    with pytest.raises(UserError, match="BraTS21-17_Mapping.xlsx: cannot be read as a table of names"):
        _run(tmp_path / "in", tmp_path / "out")
