"""The lossless archive: every bit comes back; nothing in the file can change unnoticed; version 1 is still read."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from fusioninn_jax import decompose, fuse
from fusioninn_jax.formats import files
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import archive
from tests import tolerances
from tests.studies import cases, dicom_series
from tests.studies.cases import archive_of, unpacked


def test_every_type_comes_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    floats = rng.standard_normal((7, 5, 4)) * 10.0 ** rng.integers(-30, 30, (7, 5, 4))
    floats[0, 0, 0] = -0.0
    kinds = {
        "i2": cases.voxels(1, (7, 5, 4)),
        "u1": rng.integers(0, 256, (7, 5, 4)),
        "u2": rng.integers(0, 65536, (7, 5, 4)),
        "f4": floats,
        "f8": floats * 1e-200,
        "i4": rng.integers(-(2**31), 2**31, (7, 5, 4)),
        "u8": rng.integers(0, 2**64, (7, 5, 4), dtype=np.uint64),
    }
    names = list(kinds)
    for first, second in zip(names, names[1:] + names[:1], strict=True):
        sources = [cases.save(tmp_path / f"{name}.nii.gz", kinds[name].astype(name)) for name in (first, second)]
        (tmp_path / "study.nii.gz").unlink(missing_ok=True)
        path = archive_of(tmp_path, sources)
        for source, copy in zip(sources, unpacked(path, 2), strict=True):
            assert cases.stored(copy).dtype == cases.stored(source).dtype
            assert cases.stored(copy).tobytes() == cases.stored(source).tobytes(), (first, second)


def test_any_viewer_opens_an_archive(tmp_path, pair):
    path = archive_of(tmp_path, pair, "--preview", 63)
    image = nib.load(path)
    np.testing.assert_array_equal(image.affine, nib.load(pair[0]).affine)
    assert image.get_data_dtype() == np.uint8 and image.shape == (9, 7, 5)
    assert 1 < image.dataobj.get_unscaled().max() <= 63 and image.get_fdata().max() <= 1.001
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_allclose(other.transpose(2, 1, 0), image.get_fdata(), atol=tolerances.ROUNDING_F32)
    assert b"DOE" not in gzip.decompress(path.read_bytes())


def test_a_models_picture_and_three_series(tmp_path, model_folder, pair):
    third = cases.save(tmp_path / "t2.nii.gz", cases.voxels(3).astype("f4") / 3)
    for sources, arguments in ((pair, ("--checkpoint", model_folder)), ((*pair, third), ())):
        (tmp_path / "study.nii.gz").unlink(missing_ok=True)
        path = archive_of(tmp_path, sources, *arguments)
        for source, copy in zip(sources, unpacked(path, len(sources)), strict=True):
            np.testing.assert_array_equal(cases.stored(copy), cases.stored(source))


def test_the_picture_is_in_proportion_to_values_of_any_scale(tmp_path):
    """Floats, whose bits are no brightness, and a falling slope give the same picture as integers."""
    stored = cases.voxels(1, (24, 24, 5)).clip(0)
    pictures = []
    for name, data, fields in (
        ("i", stored, {}),
        ("f", stored * 0.37e-3, {}),
        ("n", 700 - stored, {"scl_slope": -1.0, "scl_inter": 700.0}),
    ):
        source = cases.save(tmp_path / f"{name}.nii", data.astype("f8" if name == "f" else "i2"), **fields)
        path = archive_of(tmp_path, (source, source), name=f"{name}-study.nii")
        np.testing.assert_array_equal(cases.stored(unpacked(path, 2)[1]), cases.stored(source))
        pictures.append(nib.load(path).get_fdata())
    for other in pictures[1:]:
        np.testing.assert_allclose(other, pictures[0], atol=2 / archive.GREY_LEVELS)


@pytest.mark.parametrize("name", ["study.nii", "study.nii.gz"])
def test_all_damage_is_found_before_anything_is_written(tmp_path, pair, name, capsys):
    path = archive_of(tmp_path, pair, name=name)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    damaged, out = tmp_path / f"damaged-{name}", [tmp_path / "a.nii", tmp_path / "b.nii"]
    for i in range(150):
        changed = bytearray(whole)
        if i % 5 == 0:
            del changed[rng.integers(len(whole)) :]
        else:
            changed[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        if bytes(changed) == whole:
            continue
        damaged.write_bytes(changed)
        try:
            decompose.main([str(damaged), "-o", *map(str, out)])
        except (UserError, SystemExit):
            assert not any(file.exists() for file in out)
            continue
        assert name.endswith(".gz"), "damage went unnoticed"  # bytes of gzip's own head may mean nothing
        for source, copy in zip(pair, out, strict=True):
            np.testing.assert_array_equal(cases.stored(copy), cases.stored(source))
            copy.unlink()


def test_latents_and_records_are_sealed(tmp_path, model_folder, pair):
    """A changed voxel of the latent, header of a source, or place of the picture gives an error, not another image."""
    fused, latent, out = tmp_path / "f.nii", tmp_path / "z.nii", [tmp_path / "a.nii", tmp_path / "b.nii"]
    common = ["--checkpoint", str(model_folder)]
    assert fuse.main([*map(str, pair), "-o", str(fused), "--latent", str(latent), *common]) == 0
    command = [str(fused), "--latent", str(latent), "-o", *map(str, out), "--overwrite", *common]
    assert decompose.main(command) == 0
    image, channels = fused.read_bytes(), latent.read_bytes()
    place = image.index(b'"header":"') + 150
    for file, changed, message in (
        (latent, channels[:-7] + bytes([channels[-7] ^ 0x80]) + channels[-6:], "its voxels were changed"),
        (fused, image[:place] + bytes([image[place] ^ 1]) + image[place + 1 :], "the record of"),
        (fused, image[:283] + bytes([image[283] ^ 4]) + image[284:], "its affine was changed"),
    ):
        before = file.read_bytes()
        file.write_bytes(changed)
        with pytest.raises(UserError, match=message):
            decompose.main(command)
        file.write_bytes(before)
    assert decompose.main(command) == 0


def test_dicom_series_come_back_as_dicom(tmp_path):
    """Stored pixels, rescaling slice by slice, geometry; who the patient is stays out."""
    voxels = [np.abs(cases.voxels(seed, (12, 11, 6))).transpose(2, 1, 0).astype(np.uint16) for seed in (1, 2)]
    slopes = np.linspace(1, 2, 6)
    sources = [dicom_series.write(tmp_path / f"in{i}", v, slopes=slopes) for i, v in enumerate(voxels)]
    path = archive_of(tmp_path, sources)
    assert b"DOE" not in gzip.decompress(path.read_bytes())
    out = [tmp_path / "back0", tmp_path / "back1"]
    assert decompose.main([str(path), "-o", *map(str, out)]) == 0
    for source, copy in zip(sources, out, strict=True):
        before, after = files.read(source), files.read(copy)
        np.testing.assert_array_equal(after.stored, before.stored)
        np.testing.assert_allclose(after.slope, before.slope)
        np.testing.assert_allclose(after.affine, before.affine, atol=tolerances.PLACE_MM)


def test_an_archive_is_smaller_than_its_sources(tmp_path):
    """Smooth content with noise, 24 slices of 64x64: picture and both series in less than gzip takes for the series."""
    sources = [cases.save(tmp_path / f"{i}.nii.gz", cases.voxels(i, (64, 64, 24))) for i in (1, 2)]
    assert archive_of(tmp_path, sources).stat().st_size < 0.85 * sum(source.stat().st_size for source in sources)


def test_real_volumes(tmp_path, realdata):
    """A slab of real pairs: below the gzipped series (all of them whole: benchmarks/lossless.py)."""
    pairs = [
        (flair, flair.with_name(flair.name.replace("_flair", "_t1ce")))
        for flair in sorted(realdata.rglob("*_flair.nii.gz"))
        if "isles" not in str(flair)
    ][:2]
    for paths in pairs:
        sources = []
        for i, path in enumerate(paths):
            sources.append(tmp_path / f"s{i}.nii.gz")
            nib.save(nib.load(path).slicer[60:180, 60:180, 70:82], sources[-1])
        (tmp_path / "study.nii.gz").unlink(missing_ok=True)
        path = archive_of(tmp_path, sources)
        assert path.stat().st_size < 0.8 * sum(source.stat().st_size for source in sources)
        for source, copy in zip(sources, unpacked(path, 2), strict=True):
            np.testing.assert_array_equal(cases.stored(copy), cases.stored(source))
