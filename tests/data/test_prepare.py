"""data.prepare: the command, preparing twice, and what a failed run leaves."""

import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

from data import prepare
from fusioninn_jax.runtime.errors import UserError
from tests.data import synthetic
from tests.data.refusals import truncate

ROOT = pathlib.Path(__file__).parents[2]


def test_subjects_of_unlike_rules_and_without_slices_are_named(source, tmp_path, capsys):
    synthetic.brats(source, "bare", kinds=("t1ce", "flair"))
    synthetic.brats(source, "core_only", labels=(1, 1, 1))
    assert prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out"]) == 0
    told = capsys.readouterr().out
    assert "no slice is kept: 1\n  core_only\n" in told
    assert "without an annotation, whose slices are kept by their brain alone: 1\n  bare\n" in told


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
    truncate(source / "p2")
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


FAIL_THEN_PREPARE = """
import runpy, sys
_, bad, source, out = sys.argv
for source, folder, code in ((bad, out + "/none", 2), (source, out, 0)):
    sys.argv = ["data.prepare", "brats", f"--source={source}", f"--data_dir={folder}"]
    try:
        runpy.run_module("data.prepare", run_name="__main__")
    except SystemExit as end:
        assert end.code == code
"""


def test_the_command_prints_one_line_and_exits_with_2_or_a_summary_and_what_to_do_next(source, tmp_path):
    """One process for both, since it imports TensorFlow: what the first prints on stdout would come before the rest."""
    bad, out = tmp_path / "bad", tmp_path / "out"
    shutil.copytree(source, bad)
    (bad / "p2" / "p2_flair.nii.gz").unlink()
    words = [sys.executable, "-c", FAIL_THEN_PREPARE, str(bad), str(source), str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"error: {bad}/p2: p2 has no flair") and done.stderr.count("\n") == 1
    assert not (out / "none").exists()
    first, *_, prepared, then = done.stdout.splitlines()
    assert first == "slices: 4 train (2 subjects), 2 validation (1 subjects)"
    assert prepared.startswith(f"prepared: {out}/brats/t1gd_flair/1.0.0 (")
    assert then == (
        "next: python -m fusioninn_jax.train --config=configs/brats.py --config.data.dataset=brats/t1gd_flair "
        f"--config.data.data_dir={out} --workdir=runs/t1gd_flair"
    )


def test_the_phantom_is_prepared_by_the_same_command(tmp_path, capsys):
    with pytest.raises(UserError, match="--config=huge: unknown; choose one of default, large, tiny"):
        prepare.main(["brain_phantom", f"--data_dir={tmp_path}/out", "--config=huge"])
    assert prepare.main(["brain_phantom", f"--data_dir={tmp_path}/out", "--config=tiny"]) == 0
    assert (tmp_path / "out" / "brain_phantom" / "tiny" / "1.1.0" / "metadata.json").exists()
    assert "--config=configs/phantom.py --config.data.dataset=brain_phantom/tiny" in capsys.readouterr().out
