"""fuse, decompose and report at the command: sources stay, models and values are checked, seeds and endings too."""

import json
import shutil

import numpy as np
import pytest

from fusioninn_jax import decompose, report
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import fusing
from tests import tolerances
from tests.studies import cases, dicom_series
from tests.studies.cases import RANGE, run_decompose, run_fuse


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_overwrite_takes_older_results_alone(tmp_path, model_folder, pair):
    study = tmp_path / "study"
    study.mkdir()
    sources = [shutil.move(path, study / path.name) for path in pair]
    series = [
        dicom_series.write(tmp_path / name, cases.voxels(i, (9, 7, 5), "u2").transpose(2, 1, 0))
        for i, name in enumerate(("d1", "d2"))
    ]
    (tmp_path / "link").symlink_to(study)
    (tmp_path / "page.html").mkdir()
    (tmp_path / "x.nii.gz").mkdir()
    before = names(tmp_path)
    for arguments, message in (
        ([*sources, "-o", study], "is the folder of the input"),
        ([*sources, "-o", tmp_path / "link"], "is the folder of the input"),
        ([*sources, "-o", tmp_path / "link" / sources[0].name], "is an input too"),
        ([*series, "-o", tmp_path], "is the folder of the input"),
        ([*series, "-o", series[0]], "is an input too"),
        ([*series, "-o", series[1] / "f.nii"], "lies inside the input"),
        ([*sources, "-o", tmp_path / "d1"], "holds more than an older result"),
        ([*sources, "-o", tmp_path / "x.nii.gz"], "holds more than an older result"),
        ([*sources, "-o", tmp_path / "s", "--latent", tmp_path / "s" / "z.nii"], "lies inside the output"),
        ([*sources, "-o", tmp_path / "f.nii", "--latent", tmp_path / "z.png"], "--latent is a .nii"),
        ([*sources, "-o", tmp_path / "f.nii", "--lossless", "--fill-value=0"], "leave out --fill-value"),
    ):
        with pytest.raises(UserError, match=message):
            run_fuse(model_folder, *arguments, "--overwrite")
        assert names(tmp_path) == before
    with pytest.raises(UserError, match="holds more than an older result"):
        report.main(["study", *map(str, sources), "-o", str(tmp_path / "page.html"), "--overwrite"])
    out = tmp_path / "ours"
    for _ in range(2):
        run_fuse(model_folder, *series, "-o", out, "--overwrite")
    assert len(list(out.iterdir())) == 5
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds more than an older result"):
        run_fuse(model_folder, *series, "-o", out, "--overwrite")
    with pytest.raises(UserError, match="is an input too"):
        run_decompose(model_folder, out, "-o", out, tmp_path / "b", "--overwrite")
    assert (out / "notes.txt").read_text() == "mine" and len(list(out.iterdir())) == 6


def test_a_fill_value_becomes_background(tmp_path, model_folder, pair):
    voxels = cases.voxels(1, dtype="f4")
    voxels[0, :2] = -3.4e38
    first = cases.save(tmp_path / "a.nii", voxels)
    arguments = [first, pair[1], "-o", tmp_path / "f.nii", "--latent", tmp_path / "z.nii"]
    with pytest.raises(UserError, match="a.nii: slice 1 holds .* --fill-value=-3.39"):
        run_fuse(model_folder, *arguments)
    run_fuse(model_folder, *arguments, "--fill-value=-3.4e38")
    run_decompose(
        model_folder, tmp_path / "f.nii", "--latent", tmp_path / "z.nii", "-o", tmp_path / "b.nii", tmp_path / "c.nii"
    )
    expected = np.where(voxels < -1e38, voxels[voxels > -1e38].min(), voxels)
    np.testing.assert_allclose(cases.stored(tmp_path / "b.nii"), expected, atol=RANGE * tolerances.LONG_F32)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_a_model_that_is_not_finite(tmp_path, pair, value):
    folder = cases.save_model(tmp_path / "model")
    weights = dict(np.load(folder / "weights.npz"))
    name = sorted(weights)[0]
    weights[name] = np.full_like(weights[name], value)
    np.savez(folder / "weights.npz", **weights)
    with pytest.raises(UserError, match="not finite"):
        run_fuse(folder, *pair, "-o", tmp_path / "f.nii")
    assert not (tmp_path / "f.nii").exists()


def test_damaged_models_are_one_line(tmp_path, pair):
    whole = cases.save_model(tmp_path / "whole")
    config = json.loads((whole / "config.json").read_text())
    for number, (name, content) in enumerate(
        (
            ("config.json", b"{"),
            ("config.json", b"[" * 9999),
            ("config.json", b"[]"),
            ("config.json", b"\xff"),
            ("config.json", json.dumps(config | {"model": 3}).encode()),
            ("config.json", b'{"model": {"name": "x"}}'),
            ("weights.npz", b""),
            ("weights.npz", b"PK"),
            ("weights.npz", (whole / "weights.npz").read_bytes()[:99]),
        )
    ):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        (folder / name).write_bytes(content)
        with pytest.raises(UserError, match="not a model of this package") as caught:
            fusing.load(str(folder))
        assert "\n" not in str(caught.value)


def test_seeds_and_samples_are_numbers_that_can_be(tmp_path, model_folder, pair):
    out = ["-o", str(tmp_path / "1.nii"), str(tmp_path / "2.nii")]
    for option, value in (
        ("--seed", "-1"),
        ("--seed", str(2**63)),
        ("--seed", "9" * 400),
        ("--seed", "1.5"),
        ("--seed", "²"),
        ("--samples", "0"),
        ("--samples", "10001"),
        ("--samples", "x"),
    ):
        with pytest.raises(UserError, match=option):
            decompose.main([str(pair[0]), *out, f"{option}={value}"])
    with pytest.raises(UserError, match="the figure is a .png"):
        report.main(["study", *map(str, pair), "-o", str(tmp_path / "p.html"), "--figure", str(tmp_path / "figure")])
