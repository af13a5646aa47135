"""Studies in formats that are read only, stacks of TIFF pages, inverted DICOM: into the commands and back."""

import nibabel as nib
import numpy as np
import pydicom
import tifffile

from fusioninn_jax.formats import files
from tests import tolerances
from tests.formats.test_read_only_volumes import CORONAL, save_mgh, volume
from tests.studies import cases, dicom_series
from tests.studies.cases import run_decompose, run_fuse


def test_mgz_in_nifti_back(tmp_path, model_folder):
    for seed in (0, 1):
        save_mgh(tmp_path / f"{seed}.mgz", volume(seed), CORONAL)
    fused, latent = tmp_path / "fused.nii.gz", tmp_path / "z.nii.gz"
    run_fuse(model_folder, tmp_path / "0.mgz", tmp_path / "1.mgz", "-o", fused, "--latent", latent)
    back = [tmp_path / f"back{seed}.nii.gz" for seed in (0, 1)]
    run_decompose(model_folder, fused, "-o", *back, "--latent", latent)
    for seed, path in enumerate(back):
        np.testing.assert_array_equal(cases.stored(path), volume(seed))
        np.testing.assert_allclose(nib.load(path).affine, CORONAL, atol=tolerances.PLACE_MM)


def stack(seed, dtype="u2"):
    return np.maximum(volume(seed), 0).astype(dtype).transpose(2, 1, 0)


def test_pages_of_a_tiff_are_slices_and_come_back(tmp_path, model_folder):
    for seed in (0, 1):
        tifffile.imwrite(tmp_path / f"{seed}.tif", stack(seed), photometric="minisblack")
    fused, latent = tmp_path / "fused.tif", tmp_path / "z.nii.gz"
    run_fuse(model_folder, tmp_path / "0.tif", tmp_path / "1.tif", "-o", fused, "--latent", latent)
    assert tifffile.imread(fused).shape == stack(0).shape
    back = [tmp_path / f"back{seed}.tif" for seed in (0, 1)]
    run_decompose(model_folder, fused, "-o", *back, "--latent", latent)
    for seed, path in enumerate(back):
        np.testing.assert_array_equal(tifffile.imread(path), stack(seed))


def test_the_largest_values_that_are_fused_come_back(tmp_path, model_folder):
    pictures = [np.random.default_rng(seed).random((1, 32, 32), np.float32) for seed in (1, 2)]
    pictures[0] *= np.float32(8.4e37)
    for name, picture in zip("ab", pictures, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", picture[0])
    outputs = [tmp_path / "x.tif", tmp_path / "y.tif"]
    run_fuse(model_folder, tmp_path / "a.tif", tmp_path / "b.tif", "-o", tmp_path / "f.tif")
    run_decompose(model_folder, tmp_path / "f.tif", "-o", *outputs)
    assert np.corrcoef(tifffile.imread(outputs[0]).ravel() / 8.4e37, pictures[0].ravel() / 8.4e37)[0, 1] > 0.2


def test_small_values_that_are_white_are_read_inverted(tmp_path, capsys):
    voxels = np.random.default_rng(0).integers(0, 4096, (3, 8, 9)).astype(np.uint16)
    folder = dicom_series.write(tmp_path / "a", voxels)
    plain = files.read(folder).values
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.PhotometricInterpretation, image.BitsStored, image.HighBit = "MONOCHROME1", 12, 11
        image.save_as(path)
    assert "MONOCHROME1" not in capsys.readouterr().err
    np.testing.assert_array_equal(files.read(folder).values, 4095 - plain)
    assert "read inverted" in capsys.readouterr().err


def test_a_plane_that_is_not_the_acquisitions_is_told(tmp_path, model_folder, capsys):
    for name, spacing, words in (("coronal", (1, 4, 1), "in coronal slices (4 mm apart)"), ("axial", (1, 1, 4), "")):
        affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
        paths = [cases.save(tmp_path / f"{name}{seed}.nii.gz", volume(seed), affine) for seed in (0, 1)]
        run_fuse(model_folder, *paths, "-o", tmp_path / f"{name}.nii.gz")
        told = capsys.readouterr().err
        assert words in told and ("it is fused in those" in told) == bool(words)
