"""DICOM series as archives and scanners really hand them over: nothing vanishes and nothing is invented in silence."""

import io
import pathlib
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from fusioninn_jax.formats import dicom, dicom_writer, files, nifti
from fusioninn_jax.runtime.errors import UserError
from tests.studies import dicom_series

VOXELS = np.random.default_rng(0).integers(0, 900, (7, 6, 8)).astype("u2")
SECRET = "FAMILY^GIVEN"
BOMB = 100 << 20
DUST = 1e-6  # mm


def series(folder, change=lambda image, z: None, voxels=VOXELS):
    """A series written slice by slice, `change`d by the slice's number from the feet up."""
    dicom_series.write(folder, voxels)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        change(image, round((float(image.ImagePositionPatient[2]) - 30) / dicom_series.STEP))
        image.save_as(path)
    return folder


def of_slice(folder, z):
    """The file of a slice."""
    return next(path for path in folder.iterdir() if path.name.endswith(f"-{z}"))


def move(places):
    def change(image, z):
        image.ImagePositionPatient = [f"{x:.10g}" for x in places[z]]

    return change


def along(z_of_slice):
    return move([[-10, -20, z_of_slice(z)] for z in range(len(VOXELS))])


def refused(folder, message):
    with pytest.raises(UserError, match=message) as caught:
        files.read(folder)
    text = str(caught.value)
    assert text.startswith(str(folder)) and "\n" not in text and SECRET not in text
    return text


@pytest.mark.parametrize("where", ["preamble", "preamble and DICM", "meta too"])
def test_files_without_preamble_are_read(tmp_path, where, capsys):
    folder = series(tmp_path / "s")
    for path in folder.iterdir():
        content = path.read_bytes()
        meta_end = 144 + int.from_bytes(content[140:144], "little")
        path.write_bytes(content[{"preamble": 128, "preamble and DICM": 132, "meta too": meta_end}[where] :])
    np.testing.assert_array_equal(files.read(folder).stored, VOXELS)
    assert capsys.readouterr().err == ""


def cut_inside_header(path):
    path.write_bytes(path.read_bytes()[:600])


def cut_inside_pixels(path):
    path.write_bytes(path.read_bytes()[:-20])


def to_nothing(path):
    path.write_bytes(b"")


def to_text(path):
    path.write_text("the disk was full")


def to_zeros(path):
    path.write_bytes(bytes(5000))


@pytest.mark.parametrize("damage", [cut_inside_header, cut_inside_pixels, to_nothing, to_text, to_zeros])
def test_a_damaged_file_at_an_end_is_named(tmp_path, damage, capsys):
    folder = series(tmp_path / "s", lambda image, z: delattr(image, "ImagesInAcquisition"))
    path = of_slice(folder, 6)
    damage(path)
    np.testing.assert_array_equal(files.read(folder).stored, VOXELS[:6])
    said = capsys.readouterr().err
    assert "6 images read, 1 files passed over" in said and path.name in said and said.count("\n") == 1
    damage(of_slice(folder, 3))
    refused(folder, "1 slices are missing, the first after slice 3 of 5")


def test_other_things_in_the_folder_are_named(tmp_path, capsys):
    folder = series(tmp_path / "s")
    (folder / "report.txt").write_text("x")
    (folder / "raw").mkdir()
    (folder / ".DS_Store").touch()
    (folder / "loop").symlink_to("loop")
    np.testing.assert_array_equal(files.read(folder).stored, VOXELS)
    said = capsys.readouterr().err
    assert "report.txt (not DICOM)" in said and "raw (a folder)" in said and "loop (is a loop" in said
    assert ".DS_Store" not in said


@pytest.mark.parametrize("lost", [(2,), (0,), (6,), (0, 3, 4)])
def test_slices_without_a_position_go_where_their_number_says(tmp_path, lost, capsys):
    whole = files.read(series(tmp_path / "whole"))
    capsys.readouterr()
    folder = series(tmp_path / "s", lambda image, z: z in lost and delattr(image, "ImagePositionPatient"))
    got = files.read(folder)
    np.testing.assert_array_equal(got.stored, VOXELS)
    np.testing.assert_allclose(got.affine, whole.affine, atol=DUST)
    assert "has no position; placed by its number" in capsys.readouterr().err


def test_a_position_is_not_guessed_where_numbers_say_nothing(tmp_path):
    def same_number(image, z):
        image.InstanceNumber = 1
        if z == 2:
            del image.ImagePositionPatient

    def shuffled(image, z):
        image.InstanceNumber = [3, 1, 7, 2, 6, 5, 4][z]
        if z == 2:
            del image.ImagePositionPatient

    for name, change in (("same", same_number), ("shuffled", shuffled)):
        refused(series(tmp_path / name, change), "has no position, and its number does not tell one")


def test_without_any_position_the_numbers_tell_the_order_or_nothing_does(tmp_path, capsys):
    def numbered(image, z):
        image.InstanceNumber = z + 1
        del image.ImagePositionPatient

    def unnumbered(image, z):
        del image.InstanceNumber, image.ImagePositionPatient

    def gap(image, z):
        numbered(image, z)
        image.InstanceNumber = z + 1 + (z > 3)

    def twice(image, z):
        numbered(image, z)
        image.InstanceNumber = z // 2

    got = files.read(series(tmp_path / "numbered", numbered))
    np.testing.assert_array_equal(got.stored, VOXELS)
    np.testing.assert_allclose(np.linalg.norm(got.affine[:3, :3], axis=0), (0.9, 1.1, 2.5), atol=DUST)
    assert "no positions; they are ordered by their numbers" in capsys.readouterr().err
    refused(series(tmp_path / "gap", gap), "slices are missing: their numbers run 1 to 8")
    for name, change in (("none", unnumbered), ("twice", twice)):
        refused(series(tmp_path / name, change), "neither positions nor numbers of their own")


def test_pixel_spacing_by_its_other_names(tmp_path, capsys):
    def rename(keyword):
        def change(image, z):
            setattr(image, keyword, image.PixelSpacing)
            del image.PixelSpacing

        return change

    whole = files.read(series(tmp_path / "whole"))
    for keyword, said in (("NominalScannedPixelSpacing", ""), ("ImagerPixelSpacing", "that of the detector")):
        got = files.read(series(tmp_path / keyword, rename(keyword)))
        np.testing.assert_allclose(got.affine, whole.affine, atol=DUST)
        assert said in capsys.readouterr().err
    files.read(series(tmp_path / "none", lambda image, z: delattr(image, "PixelSpacing")))
    assert "its pixel spacing is unknown; 1 mm is taken" in capsys.readouterr().err
    refused(
        series(tmp_path / "some", lambda image, z: z == 3 and delattr(image, "PixelSpacing")),
        "lacks the pixel spacing that others have",
    )
    refused(series(tmp_path / "zero", lambda image, z: setattr(image, "PixelSpacing", [0, 1])), "pixel spacing of 0 mm")


@pytest.mark.parametrize("step, decimals", [(0.625, 1), (1.2, 1), (6.3, 0), (3.3333333, 1), (0.9765625, 2)])
def test_rounded_positions_lie_on_the_even_grid_that_fits_them(tmp_path, step, decimals):
    got = files.read(series(tmp_path / "s", along(lambda z: round(z * step, decimals))))
    np.testing.assert_array_equal(got.stored, VOXELS)
    assert got.affine[2, 2] == pytest.approx(step, rel=0.05)


@pytest.mark.parametrize(
    "place, message",
    [
        (lambda z: 30 + 2.5 * z + 0.6 * (z == 3), "mm apart"),
        (lambda z: 30 + z**1.2, "mm apart"),
        (lambda z: 30 + 2.5 * z * (z != 3), "at one place"),
        (lambda z: 30 + 2.5 * (z + (z > 2)), "1 slices are missing"),
        (lambda z: 30 + 2.5 * (z + 3 * (z > 4)), "3 slices are missing, the first after slice 5"),
    ],
)
def test_uneven_positions_are_refused(tmp_path, place, message):
    refused(series(tmp_path / "s", along(place)), message)


def test_slices_that_wander_sideways_are_refused(tmp_path):
    refused(series(tmp_path / "s", move([[-10 + 2 * (z % 2), -20, 30 + 2.5 * z] for z in range(7)])), "off an even")


@pytest.mark.parametrize("degrees", [5, 20, -12])
def test_gantry_tilt_is_in_the_sform_and_in_no_qform(tmp_path, degrees):
    tilt = np.tan(np.radians(degrees))
    places = [[-10, -20 + tilt * 2.5 * z, 30 + 2.5 * z] for z in range(7)]

    def change(image, z):
        move(places)(image, z)
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]

    got = files.read(series(tmp_path / "s", change))
    for z, place in enumerate(places):
        np.testing.assert_allclose(got.affine @ [0, 0, z, 1], [-place[0], -place[1], place[2], 1], atol=DUST)
    written = got._replace(origin={"kind": "picture", "flat": False})
    nifti.write_series(tmp_path / "t.nii", written)
    image = nib.load(tmp_path / "t.nii")
    assert image.header["qform_code"] == 0 and image.header["sform_code"] == 1
    np.testing.assert_allclose(image.affine @ [0, 0, 6, 1], got.affine @ [0, 0, 6, 1], atol=1e-4)
    assert not any(image.header[field] for field in nifti.CODED_FIELDS["qform_code"])
    dicom_writer.write(tmp_path / "back", tmp_path / "back", got)
    np.testing.assert_allclose(files.read(tmp_path / "back").affine, got.affine, atol=1e-5)
    first = pydicom.dcmread(tmp_path / "back" / "0001.dcm")
    assert float(first.SpacingBetweenSlices) == pytest.approx(2.5)
    straight = files.read(series(tmp_path / "straight"))._replace(origin=written.origin)
    nifti.write_series(tmp_path / "q.nii", straight)
    assert nib.load(tmp_path / "q.nii").header["qform_code"] == 1


@pytest.mark.parametrize(
    "keyword, value, what",
    [
        ("SeriesInstanceUID", "1.9", "series"),
        ("StudyInstanceUID", "1.9", "studies"),
        ("PatientID", "X", "patients"),
        ("FrameOfReferenceUID", "1.9", "frames of reference"),
        ("Modality", "CT", "modalities"),
        ("EchoTime", 9, "echoes"),
    ],
)
def test_mixed_series_are_refused(tmp_path, keyword, value, what):
    refused(series(tmp_path / "s", lambda image, z: z == 3 and setattr(image, keyword, value)), f"holds 2 {what}")


@pytest.mark.parametrize("direction", [[1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]])
def test_a_direction_that_is_none(tmp_path, direction):
    refused(
        series(tmp_path / "s", lambda image, z: setattr(image, "ImageOrientationPatient", direction)),
        "not two perpendicular unit vectors",
    )


def raw(image, tag, vr, value):
    image._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)


@pytest.mark.parametrize(
    "tag, vr",
    [
        (0x00280004, "CS"),
        (0x00200013, "IS"),
        (0x00201002, "IS"),
        (0x00281053, "DS"),
        (0x00281052, "DS"),
        (0x00280008, "IS"),
        (0x00200032, "DS"),
        (0x00200037, "DS"),
        (0x00280030, "DS"),
        (0x00180050, "DS"),
        (0x00280002, "CS"),
        (0x00280010, "CS"),
        (0x00280100, "LO"),
        (0x00080060, "CS"),
        (0x0020000D, "UI"),
        (0x00080018, "UI"),
        (0x00080016, "UI"),
        (0x00200052, "UI"),
        (0x00280103, "SH"),
    ],
)
def test_header_text_gets_into_no_message_and_no_output(tmp_path, tag, vr, capsys, recwarn, caplog):
    folder = series(tmp_path / "s", lambda image, z: raw(image, tag, vr, SECRET.encode()))
    out = tmp_path / "out"
    try:
        got = files.read(folder)
        files.write(tmp_path / "f.nii", tmp_path / "f.nii", got)
        files.write(out, out, got._replace(origin=got.origin))
        written = b"".join(path.read_bytes() for path in [tmp_path / "f.nii", *out.iterdir()])
        assert SECRET.encode() not in written and b"GIVEN" not in written
        said = str(got.origin)
    except UserError as error:
        said = str(error)
    said += "".join(capsys.readouterr()) + caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert SECRET not in said and "GIVEN" not in said


@pytest.mark.parametrize("vr", ["IS", "DS", "UI", "DA", "UN", "SQ"])
def test_a_name_in_place_of_the_record_is_not_quoted(tmp_path, vr, recwarn, caplog):
    def change(image, z):
        raw(image, 0x00990010, "LO", dicom.CREATOR.encode() + b" ")
        raw(image, 0x00991001, vr, SECRET.encode())

    refused(series(tmp_path / "s", change), "the record of the fusion in it is damaged")
    assert SECRET not in caplog.text + "".join(str(warning.message) for warning in recwarn)


@pytest.mark.parametrize("value", ["19.05.1950", "19500519"])
def test_what_is_no_uid_is_neither_kept_nor_told(tmp_path, value, recwarn):
    got = files.read(series(tmp_path / "s", lambda image, z: raw(image, 0x0020000D, "UI", value.encode())))
    files.write(tmp_path / "out", tmp_path / "out", got)
    told = "".join(str(warning.message) for warning in recwarn)
    assert value not in str(got.origin) + told
    assert all(value.encode() not in path.read_bytes() for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("slope", ["nan", "inf", "-inf", "1e39", "1e308", "0", "-1e38"])
def test_a_scale_that_is_none(tmp_path, slope):
    folder = series(tmp_path / "s", lambda image, z: z == 4 and raw(image, 0x00281053, "DS", slope.encode()))
    text = refused(folder, "RescaleSlope|slice 5 holds .* values that cannot be computed with, the first ")
    assert of_slice(folder, 4).name in text or "slice 5" in text


def deflated(path, lie):
    """Rewrites a file as a deflated one that is followed by a bomb; `lie` says how that is hidden."""
    image = pydicom.dcmread(path)
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    if lie == "far":  # what tells of the deflating comes late in the file
        image.file_meta.FileMetaInformationVersion = b"\0\1" + bytes(8000)
    image.save_as(path, enforce_file_format=lie != "far")
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    head, plain = content[:start], zlib.decompress(content[start:], -15)
    if lie in ("short", "long"):  # the length that it tells of what comes before
        head = head[:140] + (4 if lie == "short" else 1 << 30).to_bytes(4, "little") + head[144:]
    if lie == "command":
        head += bytes.fromhex("00000001 02000000 0100".replace(" ", ""))
    deflate = zlib.compressobj(9, wbits=-15)
    private = bytes.fromhex("e17f1000 4c4f0400 41414141 e17f1010 4f420000") + BOMB.to_bytes(4, "little")
    squeezed = deflate.compress(plain + private + bytes(BOMB)) + deflate.flush()
    path.write_bytes((head[132:] if lie == "no preamble" else head) + squeezed)


@pytest.mark.parametrize("lie", ["", "far", "short", "long", "command", "no preamble"])
def test_a_deflated_bomb(tmp_path, lie):
    folder = series(tmp_path / "s")
    path = of_slice(folder, 2)
    deflated(path, lie)
    tracemalloc.start()
    refused(folder, "1 slices are missing")
    refused_alone = "not a readable DICOM file .damaged: its compressed content is longer than"
    with pytest.raises(UserError, match=refused_alone):
        files.read(path)
    assert tracemalloc.get_traced_memory()[1] < BOMB
    tracemalloc.stop()


def test_a_deflated_series_is_read(tmp_path):
    def change(image, z):
        image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"

    np.testing.assert_array_equal(files.read(series(tmp_path / "s", change)).stored, VOXELS)


@pytest.mark.parametrize("size, message", [(8, ""), (3000, "a frame of 3000x3000 where 8x8 are declared")])
@pytest.mark.parametrize("kind, syntax", [("JPEG2000", JPEG2000Lossless), ("JPEG", JPEGBaseline8Bit)])
def test_a_compressed_frame_is_no_larger_than_declared(tmp_path, kind, syntax, size, message):
    encoded = io.BytesIO()
    Image.fromarray(np.full((size, size), 7, np.uint8)).save(encoded, kind)
    path = of_slice(dicom_series.write(tmp_path / "s", VOXELS[:1]), 0)
    image = pydicom.dcmread(path)
    image.file_meta.TransferSyntaxUID = syntax
    image.Rows = image.Columns = image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.NumberOfFrames = 7, 1
    image.PixelData = pydicom.encaps.encapsulate([encoded.getvalue()])
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    image.save_as(path)
    if not message:
        assert (files.read(path).stored == 7).all()
        return
    with pytest.raises(UserError, match=message if kind == "JPEG2000" else "bytes of pixels where|a frame of"):
        files.read(path)


def test_what_is_ours_is_told_from_what_is_not(tmp_path):
    got = files.read(series(tmp_path / "s"))
    out = tmp_path / "out"
    dicom_writer.write(out, out, got)
    assert files.is_own_folder(out) and not files.is_own_folder(tmp_path / "s")
    (out / "notes.txt").write_text("mine")
    assert not files.is_own_folder(out)
    (out / "notes.txt").unlink()
    (out / "sub").mkdir()
    assert not files.is_own_folder(out)
    (out / "sub").rmdir()
    (out / "0009.dcm").symlink_to(tmp_path / "s" / of_slice(tmp_path / "s", 0).name)
    assert not files.is_own_folder(out) and not files.is_own_folder(pathlib.Path("/nowhere"))
    assert dicom.is_own.__doc__


@pytest.mark.parametrize(
    "lacks, message",
    [
        (lambda image: delattr(image, "RescaleSlope"), "lacks the RescaleSlope that others have"),
        (lambda image: delattr(image, "RescaleIntercept"), "lacks the RescaleIntercept that others have"),
        (lambda image: setattr(image, "PhotometricInterpretation", "MONOCHROME1"), "white in some of its slices only"),
    ],
)
def test_a_scale_of_some_slices_alone_is_refused(tmp_path, lacks, message):
    def change(image, z):
        image.RescaleSlope, image.RescaleIntercept = 2, -5
        if z == 3:
            lacks(image)

    refused(series(tmp_path / "s", change), message)


def test_a_direction_that_one_slice_lacks_is_told(tmp_path, capsys):
    folder = series(tmp_path / "s", lambda image, z: z == 2 and delattr(image, "ImageOrientationPatient"))
    np.testing.assert_array_equal(files.read(folder).stored, VOXELS)
    assert "has no ImageOrientationPatient; that of the others is taken" in capsys.readouterr().err


def test_every_second_number_without_positions_is_refused(tmp_path):
    def change(image, z):
        del image.ImagePositionPatient
        image.InstanceNumber = 2 * z + 1

    refused(series(tmp_path / "s", change), "slices are missing")
