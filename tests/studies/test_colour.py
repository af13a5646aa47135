"""Colour studies: luma fused, colours beside it and back; grey that is stored as colour stays grey."""

import numpy as np
import pytest

from fusioninn_jax.formats import image_io
from tests import tolerances
from tests.formats.picture_cases import SIZE, coloured, grey, save
from tests.studies.cases import run_decompose, run_fuse

WHITE = 65535


def chroma_of(path):
    pixels = image_io.read_image(path).astype(float)
    return image_io.luma_chroma(pixels / np.iinfo(image_io.read_image(path).dtype).max)[1]


@pytest.mark.parametrize("ending, dtype", [(".png", "u1"), (".png", "u2"), (".tif", "u2")])
def test_one_coloured_source(tmp_path, model_folder, ending, dtype):
    pet, mri = coloured(1, dtype), grey(2, dtype)
    sources = [save(tmp_path / f"pet{ending}", pet), save(tmp_path / f"mri{ending}", mri)]
    fused, latent = tmp_path / f"fused{ending}", tmp_path / "z.nii"
    run_fuse(model_folder, *sources, "-o", fused, "--latent", latent)
    assert image_io.read_image(fused).dtype == np.uint16 and image_io.read_image(fused).shape == (*SIZE, 3)
    of_fused, of_pet = chroma_of(fused), chroma_of(sources[0])
    share = (of_fused * of_pet).sum(-1, keepdims=True) / (of_pet**2).sum(-1, keepdims=True)
    np.testing.assert_allclose(of_fused, share * of_pet, atol=tolerances.LONG_F32)  # the hue of the source everywhere
    rgb = image_io.read_image(fused)
    at_limit = (rgb.min(-1) <= 1) | (rgb.max(-1) >= WHITE - 1)
    assert (
        (np.abs(share[..., 0] - 1) < tolerances.COARSE)[~at_limit].all()
        and share.max() < 1 + tolerances.COARSE
        and (~at_limit).any()
    )
    with_latent, alone = ([tmp_path / f"{name}{i}{ending}" for i in (1, 2)] for name in ("with", "alone"))
    run_decompose(model_folder, fused, "--latent", latent, "-o", *with_latent)
    np.testing.assert_array_equal(image_io.read_image(with_latent[0]), pet)
    np.testing.assert_array_equal(image_io.read_image(with_latent[1]), mri)
    run_decompose(model_folder, fused, "-o", *alone)
    assert image_io.read_image(alone[0]).dtype == pet.dtype and image_io.read_image(alone[1]).ndim == 2
    inside = (image_io.read_image(alone[0]) > 0).all(-1) & (image_io.read_image(alone[0]) < np.iinfo(dtype).max).all(-1)
    np.testing.assert_allclose(chroma_of(alone[0])[inside], chroma_of(sources[0])[inside], atol=tolerances.HUE_8BIT)


def test_two_coloured_sources_come_back(tmp_path, model_folder):
    sources = [save(tmp_path / "a.png", coloured(1)), save(tmp_path / "b.jpg", coloured(2)[..., ::-1])]
    run_fuse(model_folder, *sources, "-o", tmp_path / "f.png", "--latent", tmp_path / "z.nii")
    run_decompose(
        model_folder, tmp_path / "f.png", "--latent", tmp_path / "z.nii", "-o", tmp_path / "c.png", tmp_path / "d.png"
    )
    for source, copy in zip(sources, ("c.png", "d.png"), strict=True):
        np.testing.assert_array_equal(image_io.read_image(tmp_path / copy), image_io.read_image(source))


def test_formats_of_grey_alone_say_so_and_the_record_keeps_the_colours(tmp_path, model_folder, capsys):
    sources = [save(tmp_path / "pet.png", coloured(1)), save(tmp_path / "mri.bmp", grey(2))]
    run_fuse(model_folder, *sources, "-o", tmp_path / "f.nii.gz", "--latent", tmp_path / "z.nii")

    def back(*outputs):
        run_decompose(model_folder, tmp_path / "f.nii.gz", "--latent", tmp_path / "z.nii", "-o", *outputs)

    back(tmp_path / "a.png", tmp_path / "b.npy")
    np.testing.assert_array_equal(image_io.read_image(tmp_path / "a.png"), coloured(1))
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), grey(2))
    capsys.readouterr()
    back(tmp_path / "c.npy", tmp_path / "d.npy")
    assert "c.npy: holds grey alone; for colours write .png or .tif" in capsys.readouterr().err
