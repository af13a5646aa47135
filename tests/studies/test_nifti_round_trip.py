"""fuse and decompose on NIfTI: nothing lost that the files held."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from fusioninn_jax import decompose
from fusioninn_jax.formats import provenance
from fusioninn_jax.runtime.errors import UserError
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
    data = cases.voxels(1, (6, 4, 3), "i2").clip(0, 255) if dtype == "u1" else cases.voxels(1, (6, 4, 3), dtype)
    first = cases.save(tmp_path / "a.nii.gz", data.astype(dtype))
    second = cases.save(tmp_path / "b.nii", cases.voxels(2, (6, 4, 3)), scl_slope=0.25, scl_inter=-2)
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


def test_without_the_latent_the_seed_decides_and_the_spread_is_kept(tmp_path, model_folder, pair):
    fused = tmp_path / "fused.nii.gz"
    run_fuse(model_folder, *pair, "-o", fused)
    draws = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = [tmp_path / f"{name}{i}.nii.gz" for i in (1, 2)]
        run_decompose(model_folder, fused, "-o", *out, "--seed", seed)
        draws[name] = cases.stored(out[0])
    np.testing.assert_array_equal(draws["a"], draws["b"])
    assert (draws["a"] != draws["c"]).any()
    out = [tmp_path / "m1.nii.gz", tmp_path / "m2.nii.gz"]
    run_decompose(model_folder, fused, "-o", *out, "--samples", 4, "--uncertainty", tmp_path / "u.nii.gz")
    spread = nib.load(tmp_path / "u.nii.gz")
    assert spread.shape == (9, 7, 5, 2) and (spread.get_fdata() >= 0).all() and spread.get_fdata().max() > 1
    np.testing.assert_array_equal(spread.get_fdata()[:, :, 4], 0)  # an all-zero slice is certain
    np.testing.assert_array_equal(spread.affine, nib.load(pair[0]).affine)


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


def test_a_latent_belongs_to_one_fused_image(tmp_path, model_folder, pair):
    for name, sources in (("a", pair), ("b", pair[::-1])):
        run_fuse(model_folder, *sources, "-o", tmp_path / f"{name}.nii.gz", "--latent", tmp_path / f"z{name}.nii.gz")
    out = ["-o", str(tmp_path / "1.nii.gz"), str(tmp_path / "2.nii.gz"), "--checkpoint", str(model_folder)]
    with pytest.raises(UserError, match="zb.nii.gz: is the latent of another fused image"):
        decompose.main([str(tmp_path / "a.nii.gz"), "--latent", str(tmp_path / "zb.nii.gz"), *out])
    image = nib.load(tmp_path / "a.nii.gz")
    data = image.dataobj.get_unscaled().copy()
    data[4, 3, 2] += 1
    changed = nib.Nifti1Image(data, None, image.header)
    changed.header["scl_slope"] = image.dataobj.slope
    changed.header["scl_inter"] = image.dataobj.inter
    content = bytearray(changed.to_bytes())
    content[112:120] = np.array([image.dataobj.slope, image.dataobj.inter], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(UserError, match="a.nii: its voxels were changed"):
        decompose.main([str(tmp_path / "a.nii"), "--latent", str(tmp_path / "za.nii.gz"), *out])
    with pytest.raises(UserError, match="holds no record"):
        decompose.main([str(pair[0]), *out])


def test_real_series(tmp_path, realdata, model_folder):
    folder = realdata / "isles22" / "sub-strokecase0001"
    sources = [folder / f"sub-strokecase0001_{name}.nii.gz" for name in ("adc", "dwi")]
    _, back = round_trip(tmp_path, model_folder, sources)
    for path, copy in zip(sources, back, strict=True):
        assert np.abs(cases.stored(copy).astype(int) - cases.stored(path)).max() <= 1
        assert nib.load(copy).get_data_dtype() == nib.load(path).get_data_dtype()
        np.testing.assert_array_equal(nib.load(copy).affine, nib.load(path).affine)


def test_a_changed_fused_image_is_refused_unless_it_is_accepted(tmp_path, model_folder, pair):
    fused, back = tmp_path / "fused.nii", [tmp_path / "b0.nii", tmp_path / "b1.nii"]
    run_fuse(model_folder, *pair, "-o", fused)
    whole = bytearray(fused.read_bytes())
    for place in (112, 352 + (len(whole) - 352) // 2):  # the slope; a voxel or the record
        changed = bytearray(whole)
        changed[place] ^= 4
        fused.write_bytes(changed)
        with pytest.raises(UserError, match=r"fused\.nii: "):
            run_decompose(model_folder, fused, "-o", *back)
    start = int(nib.Nifti1Image.from_bytes(bytes(whole)).dataobj.offset)
    changed = bytearray(whole)
    changed[start + 2 * ((len(whole) - start) // 4)] ^= 255  # the low byte of a voxel in the middle
    fused.write_bytes(changed)
    with pytest.raises(UserError, match="its voxels were changed after fusing; .*--accept-changed"):
        run_decompose(model_folder, fused, "-o", *back)
    assert not any(path.exists() for path in back)
    run_decompose(model_folder, fused, "-o", *back, "--accept-changed")
    assert all(path.exists() for path in back)
