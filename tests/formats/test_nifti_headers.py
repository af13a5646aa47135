"""formats.nifti_headers: what a header may keep."""

import nibabel as nib
import numpy as np
import pytest

from fusioninn_jax.formats import files, nifti
from tests.formats.volume_cases import SECRET, noise
from tests.studies import cases

STRINGS = {
    "nifti1": {"data_type": 10, "db_name": 18, "descrip": 80, "aux_file": 24, "intent_name": 16},
    "nifti2": {"descrip": 80, "aux_file": 24, "intent_name": 16, "unused_str": 15},
}
OF_BOTH = ("slice_start", "slice_end", "toffset", "slice_duration", "intent_p1", "intent_p2", "intent_p3", "slice_code")
NUMBERS = {"nifti1": ("extents", "session_error", "glmax", "glmin", "regular", *OF_BOTH), "nifti2": OF_BOTH}


@pytest.mark.parametrize("kind", STRINGS)
@pytest.mark.parametrize("order", "<>")
def test_an_allow_list_says_what_a_header_keeps(tmp_path, kind, order):
    header = (nib.Nifti1Header if kind == "nifti1" else nib.Nifti2Header)(endianness=order)
    header.set_data_shape((5, 6, 3))
    header.set_data_dtype(f"{order}i2")
    header.set_sform(cases.AFFINE, 1)
    for field, length in STRINGS[kind].items():
        header[field] = SECRET[:length]
    for field in NUMBERS[kind]:
        header[field] = 77
    header["pixdim"][4:] = 1950.0101
    header["qoffset_x"] = header["quatern_b"] = 0.19500101  # unused, as qform_code is 0
    header["vox_offset"], header["magic"] = header.single_vox_offset, header.single_magic
    path = tmp_path / "a.nii"
    content = header.binaryblock + bytes(4)
    path.write_bytes(content.ljust(header.single_vox_offset, b"\0") + noise("i2").astype(f"{order}i2").tobytes())
    series = files.read(path)
    nifti.write_series(tmp_path / "b.nii", series)
    written = nib.load(tmp_path / "b.nii").header
    raw = (tmp_path / "b.nii").read_bytes()
    assert b"FAMILY" not in raw and type(written) is type(nib.load(path).header) and written.endianness == order
    for field in NUMBERS[kind]:
        assert written[field] in (0, b""), field
    assert not written["qoffset_x"] and not written["quatern_b"] and set(written["pixdim"][4:].tolist()) <= {0, 1}
    np.testing.assert_array_equal(written.get_best_affine(), header.get_best_affine())
    nifti.write_series(tmp_path / "c.nii", files.read(path, keep_phi=True))
    assert b"FAMILY" in (tmp_path / "c.nii").read_bytes()


@pytest.mark.parametrize("field", ["intent_code", "xyzt_units", "dim_info"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_letters_in_place_of_a_code_are_not_kept(tmp_path, kind, field):
    image = kind(noise("i2"), cases.AFFINE)
    content = bytearray(image.to_bytes())
    of_field, place = image.header.template_dtype.fields[field][:2]
    content[place : place + of_field.itemsize] = SECRET[: of_field.itemsize]
    (tmp_path / "a.nii").write_bytes(content)
    nifti.write_series(tmp_path / "b.nii", files.read(tmp_path / "a.nii"))
    assert nib.load(tmp_path / "b.nii").header[field] == 0
