"""data.prepare brats on synthetic patients: voxels, labels, choice of slices, splits, determinism."""

import hashlib
import os
import pathlib
from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from data import prepare
from data.brats import reading
from fusioninn_jax.runtime.errors import UserError
from tests.data import synthetic


def _run(source, data_dir, *options, name="x"):
    assert prepare.main(["brats", f"--source={source}", f"--data_dir={data_dir}", f"--name={name}", *options]) == 0
    return _load(data_dir / "brats" / name / "1.0.0")


def _load(folder):
    builder = tfds.builder_from_directory(folder)
    examples = {split: list(tfds.as_numpy(builder.as_dataset(split=split))) for split in builder.info.splits}
    return builder, examples


def _all(examples):
    found = {(e["subject"].decode(), int(e["slice_index"])): e for split in examples.values() for e in split}
    assert len(found) == sum(map(len, examples.values())), "a slice is there twice"
    return found


def _slice(voxels, index):
    """image[y, x] of voxels that are in LPS order already."""
    return voxels[:, :, index].T


@pytest.fixture
def three(tmp_path):
    for seed, name in enumerate(("p1", "p2", "p3")):
        synthetic.brats(tmp_path / "in" / "HGG", name, seed=seed)
    return tmp_path / "in"


def test_examples_hold_the_voxels_and_labels_without_loss(three, tmp_path):
    builder, examples = _run(three, tmp_path / "out")
    found = _all(examples)
    assert set(found) == {(name, index) for name in ("p1", "p2", "p3") for index in synthetic.TUMOUR_SLICES}
    for (name, index), example in found.items():
        seed = int(name[1]) - 1
        assert example["sources"].dtype == np.float32 and example["sources"].shape == (20, 24, 2)
        for channel in (0, 1):  # t1ce was written with 100 * seed, flair with 100 * seed + 1
            np.testing.assert_array_equal(
                example["sources"][..., channel], _slice(synthetic.volume(100 * seed + channel), index)
            )
        np.testing.assert_array_equal(example["mask"][..., 0], _slice(synthetic.annotation(), index))
        np.testing.assert_array_equal(example["spacing"], [1, 1])
        assert example["chroma"].shape == (0, 0, 2)
    assert builder.info.metadata["modalities"] == ["t1gd", "flair"]
    assert builder.info.metadata["has_mask"] is True
    assert builder.info.metadata["counts"]["slices"] == {"train": 4, "validation": 2}


def test_the_order_of_the_modalities_is_that_of_the_command_line(tmp_path):
    files = synthetic.brats(tmp_path / "in", "p1", kinds=("t2", "flair", "t1", "t1ce", "seg"))
    _, examples = _run(tmp_path / "in", tmp_path / "out", "--modalities=flair,t1c,T2W", "--val_fraction=0")
    for (_, index), example in _all(examples).items():
        for channel, kind in enumerate(("flair", "t1ce", "t2")):
            expected = _slice(np.asarray(nib.load(files[kind]).dataobj), index)
            np.testing.assert_array_equal(example["sources"][..., channel], expected, err_msg=kind)


def test_orientation_and_spacing(tmp_path):
    """The same patient stored RAS, with 2 x 3 x 4 mm voxels, gives the same slices."""
    flipped = np.diag([2.0, 3.0, 4.0, 1.0])
    for i, kind in enumerate(("t1ce", "flair")):
        synthetic.save(tmp_path / "in" / f"p1_{kind}.nii.gz", synthetic.volume(i)[::-1, ::-1], flipped)
    _, examples = _run(tmp_path / "in", tmp_path / "out", "--val_fraction=0")
    assert len(examples["train"]) == 5
    for (_, index), example in _all(examples).items():
        np.testing.assert_array_equal(example["sources"][..., 0], _slice(synthetic.volume(0), index))
        np.testing.assert_array_equal(example["spacing"], [3, 2])  # between rows (y), between columns (x)
        assert not example["mask"].any()


def test_labels_of_every_generation_become_those_of_2018(tmp_path):
    synthetic.brats(tmp_path / "in", "old", labels=(1, 2, 4))
    synthetic.brats(tmp_path / "in", "new-000", kinds=("t1c", "t2f", "seg"), separator="-", labels=(1, 2, 3))
    synthetic.brats(tmp_path / "in", "post-op-000", kinds=("t1c", "t2f", "seg"), separator="-", labels=(1, 2, 4))
    synthetic.msd(tmp_path / "in" / "Task01", 7)
    builder, examples = _run(tmp_path / "in", tmp_path / "out", "--val_fraction=0")
    found = _all(examples)
    columns = {"old": (1, 2, 4), "new-000": (1, 2, 4), "post-op-000": (1, 2, 3), "BRATS_007": (2, 1, 4)}
    assert {name for name, _ in found} == set(columns)
    for name, labels in columns.items():
        np.testing.assert_array_equal(found[name, 2]["mask"][4, 5:8, 0], labels, err_msg=name)
    assert set(builder.info.metadata["label_names"]) == {"1", "2", "3", "4"}


def test_msd_channels(tmp_path):
    synthetic.msd(tmp_path / "in", 1)
    _, examples = _run(tmp_path / "in", tmp_path / "out", "--modalities=t1gd,flair,t1,t2", "--val_fraction=0")
    example = _all(examples)["BRATS_001", 2]
    for channel, stored in enumerate((2, 0, 1, 3)):  # the file holds FLAIR, T1, T1-Gd, T2
        np.testing.assert_array_equal(example["sources"][..., channel], _slice(synthetic.volume(10 + stored), 2))


def test_choice_of_slices(three, tmp_path):
    def kept(*options):
        _, examples = _run(three, tmp_path / "out", "--overwrite", *options)
        return {index for name, index in _all(examples) if name == "p1"}

    assert kept() == {2, 3}
    assert kept("--required_labels=2") == {1, 2, 3}
    assert kept("--required_labels=") == {0, 1, 2, 3, 4}, "slice 5 is empty"
    assert kept("--required_labels=", "--min_brain_fraction=0") == {0, 1, 2, 3, 4}, "an empty slice is never kept"


def test_negative_voxels_are_clipped_and_counted(three, tmp_path, capsys):
    voxels = synthetic.volume(3)
    voxels[0, :3, 2] = -7  # outside the brain: it must not become brain
    synthetic.save(three / "HGG" / "p1" / "p1_flair.nii.gz", voxels)
    builder, examples = _run(three, tmp_path / "out")
    assert builder.info.metadata["counts"]["negative_voxels"] == {"p1": 3}
    assert "negative voxels clipped to 0: 3 in 1 subjects: p1 3" in capsys.readouterr().out
    example = _all(examples)["p1", 2]
    np.testing.assert_array_equal(example["sources"][..., 1], np.maximum(_slice(voxels, 2), 0))
    assert (example["sources"] >= 0).all()


def _subjects(examples):
    return {split: {e["subject"].decode() for e in part} for split, part in examples.items()}


@pytest.fixture
def ten(tmp_path):
    for seed in range(10):
        synthetic.brats(tmp_path / "in", f"q{seed}", seed=seed)
    return tmp_path / "in"


def test_patients_are_never_on_two_sides(ten, tmp_path):
    by_seed = []
    for seed in range(3):
        builder, examples = _run(
            ten, tmp_path / "out", "--val_fraction=0.3", "--test_fraction=0.2", f"--seed={seed}", name=f"s{seed}"
        )
        subjects = _subjects(examples)
        assert {split: len(names) for split, names in subjects.items()} == {"train": 5, "validation": 3, "test": 2}
        assert sum(map(len, subjects.values())) == len(set().union(*subjects.values())) == 10
        assert builder.info.metadata["subjects"] == {split: sorted(names) for split, names in subjects.items()}
        by_seed.append(tuple(sorted(subjects["validation"])))
    assert len(set(by_seed)) > 1, "the seed has no effect"


def test_named_patients(ten, tmp_path):
    _, examples = _run(ten, tmp_path / "out", "--test_subjects=q4,q7", "--validation_subjects=q1")
    subjects = _subjects(examples)
    assert subjects["test"] == {"q4", "q7"} and subjects["validation"] == {"q1"} and len(subjects["train"]) == 7


def test_by_slice_a_patient_is_on_both_sides_but_a_named_one_is_not(ten, tmp_path):
    builder, examples = _run(ten, tmp_path / "out", "--split_by=slice", "--required_labels=", "--test_subjects=q4")
    sizes = {split: len(part) for split, part in examples.items()}
    assert sizes == {"train": 40, "validation": 5, "test": 5}  # 1153 / 9653 of 45 slices is 5.4
    subjects = _subjects(examples)
    assert subjects["validation"] & subjects["train"] and subjects["test"] == {"q4"}
    assert "q4" not in subjects["train"] | subjects["validation"]
    assert builder.info.metadata["split_by"] == "slice"


def test_one_validation_patient_at_least(three, tmp_path):
    _, examples = _run(three, tmp_path / "out", "--val_fraction=0.01")
    assert len(_subjects(examples)["validation"]) == 1


def test_examples_depend_on_the_seed_alone_not_on_the_listing(ten, tmp_path, monkeypatch):
    def digests(name):
        files = sorted((tmp_path / "out" / "brats" / name / "1.0.0").glob("*.tfrecord*"))
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    _run(ten, tmp_path / "out", name="a")
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top, **kw: reversed([(f, d[::-1], n[::-1]) for f, d, n in walk(top, **kw)]))
    _run(ten, tmp_path / "out", name="b")
    _run(ten, tmp_path / "out", "--seed=1", name="c")
    assert digests("a") == digests("b") and len(digests("a")) == 2
    assert digests("a") != digests("c")
    for file in sorted((tmp_path / "out" / "brats" / "a" / "1.0.0").glob("*.tfrecord*")):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():  # protobuf's own order is random
            assert record == tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def test_hidden_doubles_links_and_strange_files_are_passed_over(three, tmp_path, capsys):
    (three / "HGG" / "p1" / "._p1_flair.nii.gz").write_bytes(b"resource fork")
    synthetic.save(three / "stroke" / "sub-1_dwi.nii.gz", synthetic.volume(0))
    (three / "notes.txt").write_text("hello")
    (three / "HGG" / "up").symlink_to(three)
    builder, _ = _run(three, tmp_path / "out")
    assert builder.info.metadata["counts"]["subjects_found"] == 3
    assert (
        "image files passed over: 1\n  stroke/sub-1_dwi.nii.gz: its name is of no known naming\n"
        in capsys.readouterr().out
    )


def test_the_authors_hdf5(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "HDF5_ROWS", 4)  # read in two pieces
    (tmp_path / "in").mkdir()
    train = synthetic.hdf5(tmp_path / "in" / "train_data.h5", 7, seed=1)
    test = synthetic.hdf5(tmp_path / "in" / "test_data.h5", 3, seed=2)
    builder, examples = _run(tmp_path / "in", tmp_path / "out")
    assert {split: len(part) for split, part in examples.items()} == {"train": 6, "validation": 2}
    found = _all(examples)
    for name, row, data in (("train_data", 0, train), ("train_data", 5, train), ("test_data", 1, test)):
        example = found[f"{name}:{row:05d}", row]
        np.testing.assert_array_equal(example["sources"], np.moveaxis(data[row, 2:], 0, -1))
    assert builder.info.metadata["split_by"] == "file" and builder.info.metadata["has_mask"] is False


def test_a_background_of_the_authors_hdf5_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    synthetic.hdf5(tmp_path / "in" / "train_data.h5", 3, seed=1)
    synthetic.hdf5(tmp_path / "in" / "test_data.h5", 3, seed=2)
    with pytest.raises(UserError, match="--background: in .* the background is 0"):
        _run(tmp_path / "in", tmp_path / "out", "--background=minimum")


def test_a_real_patient(realdata, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    real = next(path for path in sorted(pathlib.Path(realdata).rglob("Brats18_2013_21_1")) if path.is_dir())
    (source / "link").symlink_to(real)
    _, examples = _run(source, tmp_path / "out", "--val_fraction=0")
    found = _all(examples)
    seg = np.asarray(nib.load(real / "Brats18_2013_21_1_seg.nii.gz").dataobj)
    expected = [z for z in range(seg.shape[2]) if {1, 2} <= set(np.unique(seg[:, :, z]))]
    assert sorted(index for _, index in found) == expected and len(expected) > 10
    middle = expected[len(expected) // 2]
    example = found["Brats18_2013_21_1", middle]
    for channel, kind in enumerate(("t1ce", "flair")):
        stored = np.asarray(nib.load(real / f"Brats18_2013_21_1_{kind}.nii.gz").dataobj)
        np.testing.assert_array_equal(example["sources"][..., channel], _slice(stored, middle))
    np.testing.assert_array_equal(example["mask"][..., 0], _slice(seg, middle))
    assert Counter(name for name, _ in found) == {"Brats18_2013_21_1": len(expected)}
