"""data.brats.layouts: folders that hold no subjects, or hold them in two ways."""

import h5py
import numpy as np
import pytest

from tests.data import synthetic
from tests.data.refusals import refused


def test_no_folder_and_no_subject(tmp_path):
    assert "no such folder; give" in refused(tmp_path / "none", tmp_path, "none: no such folder")
    (tmp_path / "in").mkdir()
    line = refused(tmp_path / "in", tmp_path, "no subject found; understood are")
    assert all(naming in line for naming in ("_{t1,t1ce,", "-{t1n,t1c,", "imagesTr/", "train_data.h5"))


def test_a_missing_modality_names_what_is_there(source, tmp_path):
    (source / "p2" / "p2_flair.nii.gz").unlink()
    refused(source, tmp_path, r"p2 has no flair; it has p2_seg.nii.gz, p2_t1ce.nii.gz; add the file.*--skip_bad")


def test_the_same_subject_twice(source, tmp_path):
    synthetic.brats(source / "LGG", "p1")
    refused(source, tmp_path, "subject p1 is found twice, in .*in/p1 and in .*LGG/p1|in .*LGG/p1 and in .*in/p1")


def test_the_same_file_packed_and_unpacked(source, tmp_path):
    synthetic.save(source / "p1" / "p1_flair.nii", synthetic.volume(1))
    refused(source, tmp_path, "p1 has this file twice, also as p1_flair.nii")


@pytest.mark.parametrize(
    "channels, labels, message",
    [
        (("T1w", "FLAIR", "t1gd", "T2w"), None, "channels are T1w, FLAIR, t1gd, T2w where FLAIR, T1w, t1gd, T2w"),
        (("FLAIR", "T1w", "T2w"), None, "channels are FLAIR, T1w, T2w where"),
        (
            ("FLAIR", "T1w", "t1gd", "T2w"),
            {"0": "background", "1": "non-enhancing tumor", "2": "edema", "3": "enhancing tumour"},
            "labels are .*'2': 'edema'.* where .*expected",
        ),
    ],
)
def test_msd_json_that_names_other_channels_or_labels(tmp_path, channels, labels, message):
    synthetic.msd(tmp_path / "in", 1, channels=channels, labels=labels)
    refused(tmp_path / "in", tmp_path, "dataset.json: " + message, "--skip_bad")


def test_msd_broken_json_and_wrong_files(tmp_path):
    synthetic.msd(tmp_path / "in", 1)
    (tmp_path / "in" / "dataset.json").write_text('{"modality": 3}')
    refused(tmp_path / "in", tmp_path, "'modality' and 'labels' cannot be read")
    (tmp_path / "in" / "dataset.json").unlink()
    image = tmp_path / "in" / "imagesTr" / "BRATS_001.nii.gz"
    synthetic.save(image, np.stack([synthetic.volume(0)] * 3, axis=-1))
    refused(tmp_path / "in", tmp_path, "BRATS_001.nii.gz: 3 channels where 4 are expected")
    synthetic.save(image, synthetic.volume(0))
    refused(tmp_path / "in", tmp_path, "BRATS_001.nii.gz: 3-D file of shape .* where a 4-D one|1 channels where 4")
    image.unlink()
    refused(tmp_path / "in", tmp_path, "no image of the same name in imagesTr")


def test_pediatric_annotations_are_refused(tmp_path):
    synthetic.brats(tmp_path / "in", "BraTS-PED-00001-000", kinds=("t1c", "t2f", "seg"), separator="-")
    refused(tmp_path / "in", tmp_path, "numbering of BraTS-PED's labels")


def test_bad_hdf5(tmp_path):
    path = tmp_path / "in" / "train_data.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((2, 4, 240, 240))
    refused(path.parent, tmp_path, "no dataset named 'data' among the 1 there")
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((2, 240, 240, 4))
    refused(path.parent, tmp_path, r"shape \(2, 240, 240, 4\) where numbers of shape \(N, 4, 240, 240\)")
    synthetic.hdf5(path, 3)
    refused(path.parent, tmp_path, "which channel is t2 is not known", "--modalities=t1gd,t2")
    path.rename(path.with_name("test_data.h5"))
    refused(path.parent, tmp_path, "'train' would be empty")
    synthetic.brats(path.parent, "p1")
    refused(path.parent, tmp_path, "both the authors' HDF5 files and NIfTI")
