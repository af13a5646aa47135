"""data.prepare: what a user can get wrong, each one line and nothing left behind; preparing twice."""

import json
import pathlib
import socket
import subprocess
import sys

import h5py
import numpy as np
import pytest

from data import prepare
from fusioninn_jax.runtime.errors import UserError
from tests.data import synthetic

ROOT = pathlib.Path(__file__).parents[2]


def fails(source, tmp_path, message, *options):
    """Preparing must raise one line that matches, and leave the data folder as it was."""
    with pytest.raises(UserError, match=message) as caught:
        prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out", *options])
    line = str(caught.value)
    assert "\n" not in line and "Failed to" not in line, line
    left = [path for path in (tmp_path / "out").rglob("*")] if (tmp_path / "out").exists() else []
    assert left == []
    return line


def test_no_folder_and_no_subject(tmp_path):
    assert "no such folder; give" in fails(tmp_path / "none", tmp_path, "none: no such folder")
    (tmp_path / "in").mkdir()
    line = fails(tmp_path / "in", tmp_path, "no subject found; understood are")
    assert all(naming in line for naming in ("_{t1,t1ce,", "-{t1n,t1c,", "imagesTr/", "train_data.h5"))


def test_a_missing_modality_names_what_is_there(source, tmp_path):
    (source / "p2" / "p2_flair.nii.gz").unlink()
    fails(source, tmp_path, r"p2 has no flair; it has p2_seg.nii.gz, p2_t1ce.nii.gz; add the file.*--skip_bad")


def _truncate(folder):
    path = folder / "p2_t1ce.nii.gz"
    path.write_bytes(path.read_bytes()[:200])


def _shape(folder):
    synthetic.save(folder / "p2_flair.nii.gz", synthetic.volume(0)[:, :, :-1])


def _affine(folder):
    synthetic.save(folder / "p2_flair.nii.gz", synthetic.volume(0), np.diag([-1, -1, 1.5, 1]))


def _annotation_affine(folder):
    moved = synthetic.LPS_AFFINE.copy()
    moved[0, 3] += 5
    synthetic.save(folder / "p2_seg.nii.gz", synthetic.annotation(), moved)


def _nan(folder):
    voxels = synthetic.volume(0).astype(np.float32)
    voxels[0, 0, 0] = np.nan
    synthetic.save(folder / "p2_flair.nii.gz", voxels)


def _four(folder):
    synthetic.save(folder / "p2_flair.nii.gz", np.stack([synthetic.volume(0)] * 2, axis=-1))


def _label(folder):
    synthetic.save(folder / "p2_seg.nii.gz", synthetic.annotation((1, 2, 3)))


def _half_label(folder):
    synthetic.save(folder / "p2_seg.nii.gz", synthetic.annotation().astype(np.float32) / 2)


BAD = [
    (_truncate, "p2_t1ce.nii.gz: truncated or corrupt"),
    (_shape, "p2_flair.nii.gz: shape .* differs from"),
    (_affine, "p2_flair.nii.gz: its affine puts"),
    (_annotation_affine, "p2_seg.nii.gz: its affine puts"),
    (_nan, "p2_flair.nii.gz: 1 NaN or infinite voxels"),
    (_four, "p2_flair.nii.gz: 4-D file"),
    (_label, "p2_seg.nii.gz: holds label 3"),
    (_half_label, "p2_seg.nii.gz: holds label 0.5"),
]


@pytest.mark.parametrize("spoil, message", BAD, ids=[spoil.__name__[1:] for spoil, _ in BAD])
def test_a_bad_subject_stops_the_run_or_is_skipped_with_its_reason(source, tmp_path, capsys, spoil, message):
    spoil(source / "p2")
    line = fails(source, tmp_path, message)
    assert prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out", "--skip_bad"]) == 0
    assert f"skipped p2: {line}\n" in capsys.readouterr().out
    metadata = json.loads(next((tmp_path / "out").rglob("metadata.json")).read_text())
    assert list(metadata["counts"]["skipped"]) == ["p2"]
    assert sorted(sum(metadata["subjects"].values(), [])) == ["p1", "p3"]


def test_subjects_of_unlike_rules_and_without_slices_are_named(source, tmp_path, capsys):
    synthetic.brats(source, "bare", kinds=("t1ce", "flair"))
    synthetic.brats(source, "core_only", labels=(1, 1, 1))
    assert prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out"]) == 0
    told = capsys.readouterr().out
    assert "no slice is kept: 1\n  core_only\n" in told
    assert "without an annotation, whose slices are kept by their brain alone: 1\n  bare\n" in told


def test_all_bad(source, tmp_path):
    for folder in source.iterdir():
        (folder / f"{folder.name}_flair.nii.gz").unlink()
    fails(source, tmp_path, "all 3 subjects are bad, the first one: .* p1 has no flair", "--skip_bad")


def test_negative_voxels_under_strict(source, tmp_path):
    synthetic.save(source / "p2" / "p2_flair.nii.gz", synthetic.volume(0) - 1)
    fails(source, tmp_path, r"p2_flair.nii.gz: \d+ negative voxels; .*--strict", "--strict")


def test_the_same_subject_twice(source, tmp_path):
    synthetic.brats(source / "LGG", "p1")
    fails(source, tmp_path, "subject p1 is found twice, in .*in/p1 and in .*LGG/p1|in .*LGG/p1 and in .*in/p1")


def test_the_same_file_packed_and_unpacked(source, tmp_path):
    synthetic.save(source / "p1" / "p1_flair.nii", synthetic.volume(1))
    fails(source, tmp_path, "p1 has this file twice, also as p1_flair.nii")


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
    fails(source, tmp_path, message, option)


def test_contradicting_options(source, tmp_path):
    fails(source, tmp_path, "also among validation_subjects", "--test_subjects=p1", "--validation_subjects=p1")
    fails(source, tmp_path, "together with a fraction", "--test_subjects=p1", "--test_fraction=0.2")
    fails(source, tmp_path, "stands for the default settings", "--name=default", "--seed=4")
    fails(source, tmp_path, "give it once", f"--source={source}")


def test_a_named_subject_without_slices(source, tmp_path):
    synthetic.save(source / "p1" / "p1_seg.nii.gz", synthetic.annotation() * 0)
    fails(source, tmp_path, r"test_subjects: p1 keeps no slice \(all filtered out\)", "--test_subjects=p1")


def test_one_subject_leaves_nothing_to_train_on(tmp_path):
    synthetic.brats(tmp_path / "in", "p1")
    fails(tmp_path / "in", tmp_path, "of 1, 1 would go to validation .*'train' empty")


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
    fails(tmp_path / "in", tmp_path, "dataset.json: " + message, "--skip_bad")


def test_msd_broken_json_and_wrong_files(tmp_path):
    synthetic.msd(tmp_path / "in", 1)
    (tmp_path / "in" / "dataset.json").write_text('{"modality": 3}')
    fails(tmp_path / "in", tmp_path, "'modality' and 'labels' cannot be read")
    (tmp_path / "in" / "dataset.json").unlink()
    image = tmp_path / "in" / "imagesTr" / "BRATS_001.nii.gz"
    synthetic.save(image, np.stack([synthetic.volume(0)] * 3, axis=-1))
    fails(tmp_path / "in", tmp_path, "BRATS_001.nii.gz: 3 channels where 4 are expected")
    synthetic.save(image, synthetic.volume(0))
    fails(tmp_path / "in", tmp_path, "BRATS_001.nii.gz: 3-D file of shape .* where a 4-D one|1 channels where 4")
    image.unlink()
    fails(tmp_path / "in", tmp_path, "no image of the same name in imagesTr")


def test_bad_hdf5(tmp_path):
    path = tmp_path / "in" / "train_data.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((2, 4, 240, 240))
    fails(path.parent, tmp_path, "no dataset named 'data' among the 1 there")
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((2, 240, 240, 4))
    fails(path.parent, tmp_path, r"shape \(2, 240, 240, 4\) where numbers of shape \(N, 4, 240, 240\)")
    synthetic.hdf5(path, 3)
    fails(path.parent, tmp_path, "which channel is t2 is not known", "--modalities=t1gd,t2")
    path.rename(path.with_name("test_data.h5"))
    fails(path.parent, tmp_path, "'train' would be empty")
    synthetic.brats(path.parent, "p1")
    fails(path.parent, tmp_path, "both the authors' HDF5 files and NIfTI")


def test_pediatric_annotations_are_refused(tmp_path):
    synthetic.brats(tmp_path / "in", "BraTS-PED-00001-000", kinds=("t1c", "t2f", "seg"), separator="-")
    fails(tmp_path / "in", tmp_path, "numbering of BraTS-PED's labels")


def test_preparing_twice(source, tmp_path, capsys):
    def run(*options):
        return prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out", *options])

    final = tmp_path / "out" / "brats" / "t1gd_flair" / "1.0.0"
    assert run() == 0
    assert "already prepared" not in capsys.readouterr().out
    first = final.stat().st_ino
    assert run("--modalities=t1ce,t2f") == 0, "aliases are the same settings"
    assert "already prepared with these settings" in capsys.readouterr().out
    assert final.stat().st_ino == first
    with pytest.raises(UserError, match=r"other settings \(required_labels \[1, 2\] -> \[2\]\)"):
        run("--required_labels=2")
    assert final.stat().st_ino == first
    assert run("--required_labels=2", "--overwrite") == 0
    assert "3 validation" in capsys.readouterr().out
    assert final.stat().st_ino != first
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["brats"]


def test_a_failed_overwrite_keeps_what_was_there(source, tmp_path):
    options = ["brats", f"--source={source}", f"--data_dir={tmp_path}/out", "--overwrite"]
    assert prepare.main(options) == 0
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*"))
    assert len(before) > 5
    _truncate(source / "p2")
    with pytest.raises(UserError, match="truncated"):
        prepare.main(options)
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*")) == before


def test_what_a_killed_run_left_is_removed(source, tmp_path):
    own = f".preparing-brats-t1gd_flair-{socket.gethostname()}-999999999-0123abcd"
    stale = tmp_path / "out" / own / "brats" / "t1gd_flair" / "incomplete.X_1.0.0"
    stale.mkdir(parents=True)
    (stale / "half.tfrecord").write_bytes(b"half")
    assert prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["brats"]


def test_a_data_dir_that_cannot_be_written(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot be written .*choose another --data_dir"):
        prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/file"])


def _command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "data.prepare", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_the_builders_load_as_tfds_build_loads_them(tmp_path):
    """From elsewhere, by the folder's own name: `tfds build` does not know the repository."""
    code = "; ".join(
        [
            "import sys",
            f"sys.path.insert(0, {str(ROOT / 'data')!r})",
            "import tensorflow_datasets as tfds",
            "load = tfds.core.community.builder_cls_from_module",
            "names = ['brats', 'image_pairs']",
            "print([load(f'{name}.{name}_dataset_builder').name for name in names])",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "['brats', 'image_pairs']", done.stderr


def test_the_command_prints_one_line_and_exits_with_2(source, tmp_path):
    (source / "p2" / "p2_flair.nii.gz").unlink()
    done = _command("brats", f"--source={source}", f"--data_dir={tmp_path}/out")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {source}/p2: p2 has no flair") and done.stderr.count("\n") == 1
    assert done.stdout == "" and not (tmp_path / "out").exists()


def test_the_command_prints_a_summary_and_what_to_do_next(source, tmp_path):
    done = _command("brats", f"--source={source}", f"--data_dir={tmp_path}/out")
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "slices: 4 train (2 subjects), 2 validation (1 subjects)"
    assert lines[-2].startswith(f"prepared: {tmp_path}/out/brats/t1gd_flair/1.0.0 (")
    assert lines[-1] == (
        "next: python -m fusioninn_jax.train --config=configs/brats.py "
        f"--config.data.dataset=brats/t1gd_flair --config.data.data_dir={tmp_path}/out "
        "--workdir=runs/t1gd_flair"
    )


def test_the_phantom_is_prepared_by_the_same_command(tmp_path, capsys):
    with pytest.raises(UserError, match="--config=huge: unknown; choose one of default, large, tiny"):
        prepare.main(["brain_phantom", f"--data_dir={tmp_path}/out", "--config=huge"])
    assert prepare.main(["brain_phantom", f"--data_dir={tmp_path}/out", "--config=tiny"]) == 0
    assert (tmp_path / "out" / "brain_phantom" / "tiny" / "1.1.0" / "metadata.json").exists()
    assert "--config=configs/phantom.py --config.data.dataset=brain_phantom/tiny" in capsys.readouterr().out
