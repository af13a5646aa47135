"""data.options: values that cannot be, each one line and nothing left behind."""

import pytest

from data import prepare
from tests.data import synthetic
from tests.data.refusals import refused


@pytest.mark.parametrize(
    "option, message",
    [
        ("--modalities=t1gd,flare", "unknown 'flare'; did you mean 'flair'"),
        ("--modalities=t1gd", "give two or more"),
        ("--modalities=t1ce,t1gd", "give two or more different"),
        ("--required_labels=1,9", "required_labels: unknown 9; known are 1 "),
        ("--required_labels=a", "--required_labels"),
        ("--required_labels=3", "none of 18 slices passes required_labels=3"),
        ("--min_brain_fraction=2", "min_brain_fraction=2: not in"),
        ("--split_by=patients", "choose patient or slice"),
        ("--seed=-1", "seed=-1: negative"),
        ("--val_fraction=1.5", "val_fraction=1.5: not in"),
        ("--val_fraction=0.9", "leaves 'train' empty"),
        ("--test_subjects=p11", "test_subjects: no subject named 'p11'; did you mean 'p1'"),
        ("--validation_subjects=zebra", "validation_subjects: no subject named 'zebra'; there are 3: p1, p2, p3"),
        ("--test_subjects=p1,p1", "a subject is named twice"),
        ("--test_subjects=p1,p2,p3", "leaves 'train' empty"),
        ("--name=a/b", "--name=a/b: not a name for a folder"),
        ("--name=..", "not a name"),
        ("--name=default", None),
        ("--no_such_option", "unrecognized arguments"),
    ],
)
def test_options(source, tmp_path, option, message):
    if message is None:  # the name of TFDS's own default config, with its settings
        assert prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out", option]) == 0
        assert (tmp_path / "out" / "brats" / "default" / "1.0.0" / "metadata.json").exists()
        return
    refused(source, tmp_path, message, option)


def test_contradicting_options(source, tmp_path):
    refused(source, tmp_path, "also among validation_subjects", "--test_subjects=p1", "--validation_subjects=p1")
    refused(source, tmp_path, "together with a fraction", "--test_subjects=p1", "--test_fraction=0.2")
    refused(source, tmp_path, "stands for the default settings", "--name=default", "--seed=4")
    refused(source, tmp_path, "give it once", f"--source={source}")


def test_a_named_subject_without_slices(source, tmp_path):
    synthetic.save(source / "p1" / "p1_seg.nii.gz", synthetic.annotation() * 0)
    refused(source, tmp_path, r"test_subjects: p1 keeps no slice \(all filtered out\)", "--test_subjects=p1")


def test_one_subject_leaves_nothing_to_train_on(tmp_path):
    synthetic.brats(tmp_path / "in", "p1")
    refused(tmp_path / "in", tmp_path, "of 1, 1 would go to validation .*'train' empty")
