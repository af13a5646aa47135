"""scoring.fused_images: the same images score the same in whatever type they come, or the range is asked for."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from fusioninn_jax import evaluate
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring.fused_images import FusedFolder, Range, parse_range
from tests import tolerances


def _levels(seed=0):
    """Noise that reaches both ends of its type."""
    levels = np.random.default_rng(seed).integers(0, 256, (12, 14), dtype=np.uint8)
    levels.flat[:2] = 0, 255
    return levels


def _write(folder, name, levels, kind):
    folder.mkdir(exist_ok=True)
    if kind in ("png", "jpg", "bmp"):
        Image.fromarray(levels).save(folder / f"{name}.{kind}", quality=100)
    elif kind == "unit":
        tifffile.imwrite(folder / f"{name}.tif", levels.astype(np.float32) / 255)
    elif kind == "deep":
        Image.fromarray(levels.astype(np.uint16) * 257).save(folder / f"{name}.png")
    else:
        tifffile.imwrite(folder / f"{name}.tif", levels.astype(kind))
    return folder


@pytest.mark.parametrize("kind", ["png", "bmp", "unit", "deep", "uint8"])
def test_types_that_tell_their_range(tmp_path, kind):
    levels = _levels()
    image = FusedFolder(_write(tmp_path / "x", "a_000", levels, kind)).read("a_000", levels.shape)
    np.testing.assert_allclose(image[..., 0], levels / 255, atol=tolerances.ROUNDING_F32)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "int32", "int16", "uint32"])
def test_levels_in_types_that_do_not(tmp_path, kind):
    levels = _levels()
    folder = _write(tmp_path / "x", "a_000", levels, kind)
    with pytest.raises(UserError, match=r"a_000.tif: values from 0 to 25\d where 0 is black and 1 white; .*0,255"):
        FusedFolder(folder).read("a_000", levels.shape)
    image = FusedFolder(folder, Range(0, 255)).read("a_000", levels.shape)
    np.testing.assert_allclose(image[..., 0], levels / 255, atol=tolerances.ROUNDING_F32)


@pytest.mark.parametrize("kind", ["uint16"])
def test_few_bits_in_many_are_asked_about(tmp_path, kind):
    folder = FusedFolder(_write(tmp_path / "x", "a_000", _levels(), kind))
    folder.read("a_000", (12, 14))
    with pytest.raises(UserError, match="no pixel of any image is brighter than 0.39%.*--fused-range="):
        folder.check_brightness([folder.peaks])


def test_values_between_minus_one_and_one_are_asked_about(tmp_path):
    (tmp_path / "x").mkdir()
    tifffile.imwrite(tmp_path / "x" / "a_000.tif", (_levels() / 127.5 - 1).astype(np.float32))
    with pytest.raises(UserError, match="values from -1 to"):
        FusedFolder(tmp_path / "x").read("a_000", (12, 14))
    image = FusedFolder(tmp_path / "x", parse_range("-1,1")).read("a_000", (12, 14))
    np.testing.assert_allclose(image[..., 0], _levels() / 255, atol=tolerances.ROUNDING_F32)


def test_two_images_of_one_slice_and_files_of_none(tmp_path):
    folder = _write(tmp_path / "x", "a_000", _levels(), "png")
    for name in ("b_001.PNG", "notes.txt", ".hidden.png"):
        (folder / name).write_bytes((folder / "a_000.png").read_bytes())
    found = FusedFolder(folder)
    found.read("a_000", (12, 14))
    assert found.passed_over() == ["b_001.PNG", "notes.txt"]
    _write(folder, "a_000", _levels(), "unit")
    with pytest.raises(UserError, match="a_000.tif: the same slice also stands in a_000.png"):
        FusedFolder(folder)


@pytest.mark.parametrize("text", ["", "1", "255,0", "0,nan", "a,b", "0,1,2", "0,0"])
def test_ranges_that_are_none(text):
    with pytest.raises(UserError, match="give black and white"):
        parse_range(text)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--fused-dir=a={0}/x", "--fused-dir=a={0}/y"], "another system is called a already"),
        (["--fused-dir={0}/x", "--fused-dir={0}/deep/x"], "another system is called x already"),
        (["--model=mean", "--fused-dir=mean={0}/x"], "another system is called mean already"),
        (["--model=mean", "--model=mean"], "--model=mean: is scored already"),
        (["--fused-dir=a/b={0}/x"], "names no method"),
        (["--fused-dir=/"], "names no method"),
        (["--fused-dir=a={0}/x", "--fused-range=b=0,255"], "no --fused-dir is called b"),
        (["--model=mean", "--batch-size=0"], "--batch-size"),
        (["--model=mean", "--limit=-1"], "--limit"),
        (["--model=mean", "--save-fused=gs://bucket/x"], "local folders"),
        (["--model=mean", "--fused-dir=mine={0}/mean", "--save-fused={0}"], "images would be replaced"),
    ],
)
def test_arguments_that_contradict(data_dir, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        evaluate.main(
            [
                *(text.format(tmp_path) for text in more),
                "--dataset=tiny/default",
                f"--data-dir={data_dir}",
                f"--out={tmp_path}/out",
                "--metrics=ssim",
            ]
        )
    assert not (tmp_path / "out").exists()


def test_a_dark_type_beside_a_bright_one_is_asked_about(tmp_path):
    for name, kind in (("a_000", "png"), ("b_000", "uint16")):
        _write(tmp_path / "x", name, _levels(), kind)
    folder = FusedFolder(tmp_path / "x")
    for name in ("a_000", "b_000"):
        folder.read(name, (12, 14))
    with pytest.raises(UserError, match="brighter than 0.39% of what uint16 can"):
        folder.check_brightness([folder.peaks])
