"""The lossless archive: every bit comes back, on machines that round differently too; damage is noticed."""
import gzip

import jax
import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from fusioninn_jax import decompose, fuse
from fusioninn_jax.formats import nifti
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import archive, integer_codec
from tests.studies import cases


def archive_of(folder, model, sources):
    """Writes the archive of some series."""
    path = folder / "study.nii.gz"
    assert fuse.main([*map(str, sources), "-o", str(path), "--lossless", "--checkpoint", str(model)]) == 0
    return path


def unpacked(path, count):
    """Decomposes an archive; no checkpoint is needed, it holds its model."""
    out = [path.with_name(f"out{i}.nii") for i in range(count)]
    assert decompose.main([str(path), "-o", *map(str, out)]) == 0
    return out


def test_every_type_comes_back_bit_for_bit(tmp_path, model_folder):
    rng = np.random.default_rng(0)
    floats = rng.standard_normal((7, 5, 4)) * 10.0 ** rng.integers(-30, 30, (7, 5, 4))
    floats[0, 0, 0] = -0.0
    kinds = {"i2": cases.voxels(1, (7, 5, 4)), "u1": rng.integers(0, 256, (7, 5, 4)),
             "u2": rng.integers(0, 65536, (7, 5, 4)), "f4": floats, "f8": floats * 1e-200,
             "i4": rng.integers(-2**31, 2**31, (7, 5, 4)), "u8": rng.integers(0, 2**64, (7, 5, 4), dtype=np.uint64)}
    names = list(kinds)
    for first, second in zip(names, names[1:] + names[:1], strict=True):
        sources = [cases.save(tmp_path / f"{name}.nii.gz", kinds[name].astype(name)) for name in (first, second)]
        (tmp_path / "study.nii.gz").unlink(missing_ok=True)
        path = archive_of(tmp_path, model_folder, sources)
        for source, copy in zip(sources, unpacked(path, 2), strict=True):
            assert cases.stored(copy).dtype == cases.stored(source).dtype
            assert cases.stored(copy).tobytes() == cases.stored(source).tobytes(), (first, second)
            copy.unlink()


def test_any_viewer_opens_an_archive(tmp_path, model_folder, pair):
    path = archive_of(tmp_path, model_folder, pair)
    image = nib.load(path)
    np.testing.assert_array_equal(image.affine, nib.load(pair[0]).affine)
    assert image.get_data_dtype() == np.int16 and image.shape == (9, 7, 5)
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_allclose(other.transpose(2, 1, 0), image.get_fdata())
    assert b"DOE" not in gzip.decompress(path.read_bytes())


@pytest.mark.parametrize("error, exact", [(1e-6, True), (1e-5, True), (0.4, False)])
def test_another_machine_may_round_differently(tmp_path, model_folder, pair, monkeypatch, error, exact):
    """What a machine computes is moved at random by up to `error` of a level."""
    path = archive_of(tmp_path, model_folder, pair)
    predictor, rng = archive._predictor, np.random.default_rng(0)

    def elsewhere(*arguments):
        def predict(*inputs):
            prediction = predictor(*arguments)(*inputs)
            return prediction + rng.uniform(-error, error, prediction.shape)
        return predict

    monkeypatch.setattr(archive, "_predictor", elsewhere)
    if exact:
        for source, copy in zip(pair, unpacked(path, 2), strict=True):
            np.testing.assert_array_equal(cases.stored(copy), cases.stored(source))
    else:
        with pytest.raises(UserError, match="study.nii.gz: the checksum of series 1 is not met"):
            unpacked(path, 2)
        assert not (tmp_path / "out0.nii").exists()


def test_predictions_at_the_border_of_rounding_are_kept():
    """All predictions lie on a half: without what is kept, half of them would flip."""
    rng = np.random.default_rng(0)
    stored = rng.integers(-100, 100, (3, 8, 8)).astype(np.int16)
    prediction = stored + rng.integers(-3, 3, stored.shape) + 0.5
    parts = archive._residual(stored, prediction, 1.0)
    assert len(parts["places"]) == stored.size
    moved = prediction + rng.choice([-1e-6, 1e-6], stored.shape)
    np.testing.assert_array_equal(archive._restore(parts, moved, 1.0, stored.dtype), stored)


def test_damage_is_noticed(tmp_path, model_folder, pair):
    path = archive_of(tmp_path, model_folder, pair)
    whole = bytearray(gzip.decompress(path.read_bytes()))
    place = whole.index(integer_codec.MAGIC) + 600
    damaged = tmp_path / "damaged.nii"
    for start in (place, len(whole) - 350):  # the archive; the voxels of the fused image
        damaged.write_bytes(whole[:start] + bytes(b ^ 0x55 for b in whole[start:start + 32]) + whole[start + 32:])
        with pytest.raises(UserError, match="damaged.nii: the (archive in its header is damaged|checksum)"):
            unpacked(damaged, 2)


def test_a_model_that_cannot_decompose_is_refused(model_folder, pair):
    from fusioninn_jax.formats import files
    from fusioninn_jax.studies import fusing
    system = fusing.load(str(model_folder))
    system = system._replace(model=system.model._replace(decompose=None))
    with pytest.raises(UserError, match="--lossless needs a model that can decompose"):
        archive.encode(system, [files.read(path) for path in pair])


def test_packing_keeps_any_integers():
    rng = np.random.default_rng(0)
    arrays = {"extremes": np.array([[-2**63, 2**63 - 1], [0, -1]]), "empty": np.zeros(0, np.int64),
              "smooth": np.cumsum(rng.integers(-3, 4, (2, 30, 30)), -1), "zeros": np.zeros((1, 1, 1), np.int64)}
    block = integer_codec.unpack(integer_codec.pack(integer_codec.Block({"a": 1}, arrays, {"text": b"\0\0x\0"})))
    assert block.meta == {"a": 1} and block.strings == {"text": b"\0\0x\0"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(block.arrays[name], array, err_msg=name)


def test_real_volumes(tmp_path, realdata, model_folder):
    """A slab of every real pair (the whole of all of them takes minutes: benchmarks/lossless.py)."""
    pairs = [(flair, flair.with_name(flair.name.replace("_flair", "_t1ce")))
             for flair in sorted(realdata.rglob("*_flair.nii.gz"))][:2]
    for paths in pairs:
        sources = []
        for i, path in enumerate(paths):
            slab = nib.load(path).slicer[60:180:2, 60:180:2, 70:76]
            sources.append(tmp_path / f"s{i}.nii.gz")
            nib.save(slab, sources[-1])
        (tmp_path / "study.nii.gz").unlink(missing_ok=True)
        for source, copy in zip(sources, unpacked(archive_of(tmp_path, model_folder, sources), 2), strict=True):
            np.testing.assert_array_equal(cases.stored(copy), cases.stored(source))
            copy.unlink()


def test_nifti_extensions_survive_zeros(tmp_path):
    source = cases.save(tmp_path / "a.nii", cases.voxels(1))
    series = nifti.read(source)
    nifti.write_series(tmp_path / "b.nii", series, [(nifti.PRIVATE, b"\0abc\0\1"), (nifti.COMMENT, b"text")])
    assert nifti.extensions(tmp_path / "b.nii") == [(0, b"\0abc\0\1"), (6, b"text")]
    assert nib.load(tmp_path / "b.nii").header["vox_offset"] % 16 == 0
    np.testing.assert_array_equal(cases.stored(tmp_path / "b.nii"), cases.stored(source))
    assert jax.config.jax_enable_x64 is False  # an archive leaves the precision as it was
