"""fuse and decompose on NIfTI: nothing lost that the files held."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from fusioninn_jax.formats import provenance
from tests.studies import cases
from tests.studies.cases import RANGE, run_decompose, run_fuse
from tests.tolerances import ROUND_TRIP_F32, ROUNDING_F32

KEPT = ("dim", "datatype", "bitpix", "pixdim", "qform_code", "sform_code", "xyzt_units", "srow_x", "srow_z")


def round_trip(folder, model, sources):
    """Fuses with a latent and decomposes with it."""
    fused, latent = folder / "fused.nii.gz", folder / "z.nii.gz"
    back = [folder / f"back{i}.nii.gz" for i in range(len(sources))]
    run_fuse(model, *sources, "-o", fused, "--latent", latent)
    run_decompose(model, fused, "--latent", latent, "-o", *back)
    return fused, back


def test_with_the_latent_integers_come_back_exactly(tmp_path, model_folder, pair):
    fused, back = round_trip(tmp_path, model_folder, pair)
    for path, copy in zip(pair, back, strict=True):
        source, result = nib.load(path), nib.load(copy)
        np.testing.assert_array_equal(cases.stored(copy), cases.stored(path))
        for field in KEPT:
            np.testing.assert_array_equal(result.header[field], source.header[field], err_msg=field)
    image = nib.load(fused)
    np.testing.assert_array_equal(image.affine, nib.load(pair[0]).affine)
    assert image.shape == (9, 7, 5) and image.get_data_dtype() == np.int16
    assert -0.5 <= image.get_fdata().min() and image.get_fdata().max() < 1.5


def test_another_reader_opens_everything(tmp_path, model_folder, pair):
    fused, back = round_trip(tmp_path, model_folder, pair)
    source = SimpleITK.ReadImage(str(pair[0]))
    for path in (fused, *back):
        image = SimpleITK.ReadImage(str(path))
        for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(image, get)(), getattr(source, get)(), err_msg=get, rtol=ROUNDING_F32)
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(back[0]))), SimpleITK.GetArrayFromImage(source)
    )
    np.testing.assert_allclose(
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(fused))).transpose(2, 1, 0), nib.load(fused).get_fdata()
    )


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_every_type_and_scale_comes_back(tmp_path, model_folder, dtype):
    data = cases.voxels(1).clip(0, 255) if dtype == "u1" else cases.voxels(1, dtype=dtype)
    first = cases.save(tmp_path / "a.nii.gz", data.astype(dtype))
    second = cases.save(tmp_path / "b.nii", cases.voxels(2), scl_slope=0.25, scl_inter=-2)
    raw = bytearray(second.read_bytes())
    raw[112:120] = np.array([0.25, -2], "<f4").tobytes()
    second.write_bytes(raw)
    _, back = round_trip(tmp_path, model_folder, [first, second])
    for path, copy in zip((first, second), back, strict=True):
        assert nib.load(copy).get_data_dtype() == nib.load(path).get_data_dtype()
        assert nib.load(copy).dataobj.slope == nib.load(path).dataobj.slope
        assert nib.load(copy).dataobj.inter == nib.load(path).dataobj.inter
        np.testing.assert_allclose(nib.load(copy).get_fdata(), nib.load(path).get_fdata(), atol=RANGE * ROUND_TRIP_F32)


def test_big_endian_other_orders_and_one_slice(tmp_path, model_folder):
    flipped = cases.AFFINE.copy()
    flipped[:, 0] *= -1
    flipped[:3, 3] -= 8 * flipped[:3, 0]
    data = cases.voxels(1, (9, 7, 1))
    big = nib.Nifti1Image(data, cases.AFFINE, nib.Nifti1Header(endianness=">"))
    big.header.set_data_dtype(">i2")
    nib.save(big, tmp_path / "big.nii.gz")
    cases.save(tmp_path / "flipped.nii", cases.voxels(2, (9, 7, 1))[::-1], flipped)
    sources = [tmp_path / "big.nii.gz", tmp_path / "flipped.nii"]
    _, back = round_trip(tmp_path, model_folder, sources)
    for path, copy in zip(sources, back, strict=True):
        np.testing.assert_array_equal(cases.stored(copy), cases.stored(path))
        np.testing.assert_array_equal(nib.load(copy).affine, nib.load(path).affine)
    assert gzip.decompress(back[0].read_bytes())[:4] == bytes([0, 0, 1, 92]), "still big-endian"


def save_flat(path, seed, affine=cases.AFFINE):
    return cases.save(path, cases.voxels(seed, (48, 40, 1))[..., 0], affine)


def test_a_flat_file_stays_flat(tmp_path, model_folder):
    upright = cases.AFFINE[:, [0, 2, 1, 3]]  # its one voxel lies along an axis that slices are not cut across
    for name, affine in (("axial", cases.AFFINE), ("upright", upright), ("none", None)):
        folder = tmp_path / name
        folder.mkdir()
        sources = [save_flat(folder / f"{seed}.nii.gz", seed, affine) for seed in (1, 2)]
        fused, back = round_trip(folder, model_folder, sources)
        for path, copy in zip(sources, back, strict=True):
            np.testing.assert_array_equal(cases.stored(copy), cases.stored(path))
            for field in KEPT:
                np.testing.assert_array_equal(
                    nib.load(copy).header[field], nib.load(path).header[field], err_msg=f"{name} {field}"
                )
        assert nib.load(fused).shape == (48, 40) and nib.load(fused).header["dim"][0] == 2
        np.testing.assert_array_equal(nib.load(fused).affine, nib.load(sources[0]).affine)


def test_flat_files_whose_record_does_not_say_so_come_back_as_one_slice(tmp_path, model_folder, monkeypatch):
    described = provenance._described

    def earlier(source):
        return described(source._replace(origin={k: v for k, v in source.origin.items() if k != "flat"}))

    monkeypatch.setattr(provenance, "_described", earlier)
    sources = [save_flat(tmp_path / f"{seed}.nii.gz", seed) for seed in (1, 2)]
    _, back = round_trip(tmp_path, model_folder, sources)
    for path, copy in zip(sources, back, strict=True):
        np.testing.assert_array_equal(cases.stored(copy), cases.stored(path)[..., None])


def test_nothing_names_the_patient(tmp_path, model_folder, pair, capsys):
    fused, back = round_trip(tmp_path, model_folder, pair)
    for path in (fused, *back, tmp_path / "z.nii.gz"):
        assert b"DOE" not in gzip.decompress(path.read_bytes()) and b"Doe" not in gzip.decompress(path.read_bytes())
    said = "".join(capsys.readouterr())
    assert "DOE" not in said and "12345" not in said
    kept = tmp_path / "kept.nii.gz"
    run_fuse(model_folder, *pair, "-o", kept, "--keep-phi")
    run_decompose(model_folder, kept, "-o", tmp_path / "k1.nii.gz", tmp_path / "k2.nii.gz")
    assert b"DOE^JANE" in gzip.decompress((tmp_path / "k1.nii.gz").read_bytes())


def test_real_series(tmp_path, realdata, model_folder):
    folder = realdata / "isles22" / "sub-strokecase0001"
    sources = [folder / f"sub-strokecase0001_{name}.nii.gz" for name in ("adc", "dwi")]
    _, back = round_trip(tmp_path, model_folder, sources)
    for path, copy in zip(sources, back, strict=True):
        assert np.abs(cases.stored(copy).astype(int) - cases.stored(path)).max() <= 1
        assert nib.load(copy).get_data_dtype() == nib.load(path).get_data_dtype()
        np.testing.assert_array_equal(nib.load(copy).affine, nib.load(path).affine)
