"""DICOM series -> Series (pydicom). Single-frame files of one folder, or one multi-frame file."""

from __future__ import annotations

import contextlib
import io
import pathlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL.Image

from fusioninn_jax.formats import dicom_files, dicom_geometry, provenance
from fusioninn_jax.formats.dicom_files import Image, pydicom
from fusioninn_jax.formats.dicom_geometry import Plane
from fusioninn_jax.formats.grid import slice_step, to_slices
from fusioninn_jax.formats.image_io import LARGEST
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.provenance_schema import MOST_BITS
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["CREATOR", "KIND", "MANUFACTURER", "PATIENT", "PRIVATE_GROUP", "RECORD_ELEMENT", "is_own", "pydicom", "read"]
KIND = "dicom"
MANUFACTURER = "fusioninn_jax"  # of derived series
PRIVATE_GROUP, CREATOR, RECORD_ELEMENT = 0x0099, "FUSIONINN_JAX", 0x01
PATIENT = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
GREYS = ("MONOCHROME2", "MONOCHROME1")  # of the latter small values are white: it is read inverted
MODALITIES = ("CR", "CT", "DX", "MG", "MR", "NM", "OT", "PT", "SC", "US", "XA")
JPEGS = ("JPEG", "JPEG2000")
LARGEST_COMPRESSED = 2  # times the pixels; what is larger would become more than they are


class Frame(NamedTuple):
    """One slice with what belongs to it."""

    pixels: np.ndarray
    image: Image
    plane: Plane
    slope: float | None
    intercept: float | None
    window: list[float] | None


def read(path: pathlib.Path, *, keep_phi: bool = False) -> Series:
    """One series: all DICOM images of a folder, or one file; slices sorted by their place along the slice normal.

    Files without preamble are read. What is no image, and what is damaged, is passed over and named on stderr.

    Args:
      path: the folder or file.
      keep_phi: keep who the patient is, for the header of a derived series.

    Raises:
      UserError: no DICOM image, several series, an order that cannot be known, a missing or doubled slice, uneven
        spacing, slices of different size or direction, colour, a scale that is none, pixels that cannot be decoded.
    """
    images = dicom_files.find(path)
    with guarded.reading(path, "not a readable DICOM series", "export it anew"):
        frames = [frame for image in images for frame in _frames(image)]
    if len({frame.pixels.shape for frame in frames}) > 1 or len({frame.pixels.dtype for frame in frames}) > 1:
        raise UserError(f"{path}: its slices differ in size or type; give the folder of one series")
    for name, values in (
        ("RescaleSlope", [f.slope for f in frames]),
        ("RescaleIntercept", [f.intercept for f in frames]),
    ):
        if None in values and len(set(values)) > 1:
            lacks = frames[values.index(None)].image.name.name
            raise UserError(f"{path}: {lacks} lacks the {name} that others have; give the folder of one series")
    order, affine = dicom_geometry.grid(path, [frame.plane for frame in frames])
    ordered = [frames[i] for i in order]
    series = Series(
        np.stack([frame.pixels for frame in ordered]),
        np.array([1.0 if frame.slope is None else frame.slope for frame in ordered]),
        np.array([frame.intercept or 0.0 for frame in ordered]),
        affine,
        _origin(ordered, keep_phi),
        _record(path, frames[0].image.dataset),
    )
    kinds = {dicom_files.text(image.dataset, "PhotometricInterpretation") for image in images}
    if len(kinds) > 1:
        raise UserError(f"{path}: small values are white in some of its slices only; give the folder of one series")
    if kinds == {"MONOCHROME1"}:
        print(
            f"{path}: small values are white (MONOCHROME1); read inverted, and written as MONOCHROME2", file=sys.stderr
        )
    return _in_slice_order(path, series)


def is_own(folder: pathlib.Path) -> bool:
    """Whether a folder holds images that this package wrote, and nothing else."""
    try:
        files = list(folder.iterdir())
        with guarded.quiet():
            return all(not file.is_symlink() and _manufacturer(file) == MANUFACTURER for file in files)
    except Exception:  # what cannot be read is not ours
        return False


def _manufacturer(file: pathlib.Path) -> str:
    with guarded.open_file(file) as handle:
        return pydicom().dcmread(handle, specific_tags=["Manufacturer"]).Manufacturer


def _frames(image: Image) -> list[Frame]:
    """Every frame of a file with its pixels, scale and geometry."""
    pixels = _pixels(image)
    return [
        Frame(frame, image, *_described(image, number))
        for number, frame in enumerate(pixels if pixels.ndim == 3 else pixels[None])
    ]


def _pixels(image: Image) -> np.ndarray:
    """(H, W) or (frames, H, W) stored values."""
    name, dataset = image
    colour = dicom_files.text(dataset, "PhotometricInterpretation")
    if (dicom_files.whole(image, "SamplesPerPixel") or 1) != 1 or colour not in GREYS:
        raise UserError(
            f"{name}: {colour if colour in COLOURS else 'unknown'} pixels where grey ones ({' or '.join(GREYS)}) "
            "are expected; convert the series"
        )
    if dataset.get("ModalityLUTSequence"):
        raise UserError(f"{name}: its values are scaled by a table (Modality LUT); convert the series")
    with guarded.reading(name, "its pixels cannot be decoded", "decompress the series, e.g. with gdcmconv --raw"):
        count = dicom_files.whole(image, "NumberOfFrames") or 1
        size = count * dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
        if len(dataset.PixelData) > LARGEST_COMPRESSED * size + 4096 * (1 + count):
            raise guarded.Damaged(f"{len(dataset.PixelData)} bytes of pixels where {size} are declared")
        _check_frames(dataset, count)
        pixels = np.asarray(dataset.pixel_array)
        if pixels.dtype.kind not in "iuf" or pixels.ndim not in (2, 3):
            raise guarded.Damaged(f"{pixels.dtype} of shape {pixels.shape}")
        return _inverted(pixels, dataset) if colour == "MONOCHROME1" else pixels


def _check_frames(dataset: Dataset, count: int) -> None:
    """Raises Damaged where a compressed frame is a picture of more pixels than declared; a decoder would make them all.

    Looks at JPEG and JPEG 2000: other encodings say nothing of a size of their own.
    """
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    for frame in pydicom().encaps.generate_frames(dataset.PixelData, number_of_frames=count):
        with contextlib.suppress(PIL.UnidentifiedImageError), PIL.Image.open(io.BytesIO(frame), formats=JPEGS) as image:
            if image.width * image.height > dataset.Rows * dataset.Columns:
                raise guarded.Damaged(
                    f"a frame of {image.height}x{image.width} where {dataset.Rows}x{dataset.Columns} are declared"
                )


def _inverted(pixels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Pixels whose smallest value is shown white, as others are: the largest value is white."""
    if pixels.dtype.kind not in "iu":
        raise guarded.Damaged(f"MONOCHROME1 of {pixels.dtype}")
    top = -1 if pixels.dtype.kind == "i" else 2 ** int(dataset.BitsStored) - 1
    return (top - pixels.astype(np.int64)).astype(pixels.dtype)


def _described(image: Image, number: int) -> tuple[Plane, float | None, float | None, list[float] | None]:
    """Geometry, scale and window of one frame; a multi-frame file keeps them in its functional groups."""
    dataset = image.dataset
    groups = [dataset]
    if "SharedFunctionalGroupsSequence" in dataset:
        groups = [dataset.PerFrameFunctionalGroupsSequence[number], dataset.SharedFunctionalGroupsSequence[0]]

    def find(sequence: str, keyword: str, count: int = 1) -> np.ndarray | None:
        for group in groups:
            holder = group[sequence][0] if group is not dataset and sequence in group else group
            found = dicom_files.numbers(image, keyword, count, holder)
            if found is not None:
                return found
        return None

    slope, intercept = (find("PixelValueTransformationSequence", key) for key in ("RescaleSlope", "RescaleIntercept"))
    if slope is not None and slope[0] == 0:
        raise UserError(f"{image.name}: its RescaleSlope is 0, so its values are lost; export it anew")
    spacing = find("PixelMeasuresSequence", "PixelSpacing", 2)
    nominal, detector = (
        find("PixelMeasuresSequence", key, 2) for key in ("NominalScannedPixelSpacing", "ImagerPixelSpacing")
    )
    thickness = find("PixelMeasuresSequence", "SliceThickness")
    plane = Plane(
        image.name,
        (dicom_files.whole(image, "InstanceNumber"), number),
        find("PlanePositionSequence", "ImagePositionPatient", 3),
        find("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        next((found for found in (spacing, nominal, detector) if found is not None), None),
        float(thickness[0]) if thickness is not None and thickness[0] > 0 else None,
        spacing is None and nominal is None and detector is not None,
    )
    scale = (None if slope is None else float(slope[0])), (None if intercept is None else float(intercept[0]))
    return plane, *scale, _window(groups)


def _window(groups: list[Dataset]) -> list[float] | None:
    """Center and width of the first window, None where there is none or it cannot be used."""
    for group in groups:
        holder = group["FrameVOILUTSequence"][0] if group.get("FrameVOILUTSequence") else group
        center, width = (dicom_files.first_number(holder, key) for key in ("WindowCenter", "WindowWidth"))
        if center is not None and width is not None and 0 < width <= LARGEST and abs(center) <= LARGEST:
            return [center, width]
    return None


def limits(bits: int, dtype: np.dtype) -> tuple[int, int]:
    """The smallest and the largest integer of so many bits, signed where `dtype` is."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.kind == "i" else (0, 2**bits - 1)


def _bits(frames: list[Frame]) -> int | None:
    """Bits stored, the most of all slices; None where there are more than can be written or pixels leave them."""
    dtype = frames[0].pixels.dtype
    bits = int(max(dicom_files.first_number(frame.image.dataset, "BitsStored") or 0 for frame in frames))
    if dtype.kind not in "iu" or not 1 <= bits <= min(MOST_BITS, 8 * dtype.itemsize):
        return None
    low, high = limits(bits, dtype)
    return bits if all(low <= frame.pixels.min() and frame.pixels.max() <= high for frame in frames) else None


def _origin(frames: list[Frame], keep_phi: bool) -> dict[str, Any]:
    """What a derived series refers to, by an allow-list; who the patient is only with `keep_phi`."""
    first = frames[0].image.dataset
    modality = dicom_files.text(first, "Modality")
    origin: dict[str, Any] = {
        "kind": KIND,
        "study": dicom_files.uid(first, "StudyInstanceUID"),
        "series": dicom_files.uid(first, "SeriesInstanceUID"),
        "frame": dicom_files.uid(first, "FrameOfReferenceUID"),
        "modality": modality if modality in MODALITIES else "OT",
        "class": dicom_files.uid(first, "SOPClassUID"),
        "instances": [dicom_files.uid(frame.image.dataset, "SOPInstanceUID") for frame in frames],
    }
    bits, is_inverted = _bits(frames), dicom_files.text(first, "PhotometricInterpretation") == "MONOCHROME1"
    if bits:
        origin["bits"] = bits
    window = frames[len(frames) // 2].window  # slices may have different ones, those at the ends of little but air
    if window and not is_inverted:  # it is one of other values
        origin["window"] = window
    if keep_phi:
        origin["patient"] = {name: value for name in PATIENT if (value := dicom_files.text(first, name))}
    return origin


def _record(path: pathlib.Path, dataset: Dataset) -> Provenance | None:
    with guarded.reading(path, "the record of the fusion in it is damaged", "fuse anew"):
        try:
            text = dataset.private_block(PRIVATE_GROUP, CREATOR)[RECORD_ELEMENT].value
        except KeyError:
            return None
        return provenance.parse(path, str(text).encode())


def _in_slice_order(path: pathlib.Path, series: Series) -> Series:
    """The series in LPS voxel order, by flips and permutations alone."""
    voxels, affine = to_slices(series.stored.transpose(2, 1, 0), series.affine)
    turned, step = np.ascontiguousarray(voxels.transpose(2, 1, 0)), slice_step(series.affine)
    if step:  # slices are axial: what belongs to each goes with it
        origin = series.origin | {"instances": series.origin["instances"][::step]}
        return series._replace(
            stored=turned, slope=series.slope[::step], intercept=series.intercept[::step], affine=affine, origin=origin
        )
    if np.ptp(series.slope) or np.ptp(series.intercept):
        raise UserError(
            f"{path}: it is cut across its slices, which differ in rescale slope; convert the series to NIfTI"
        )
    count = len(turned)
    return series._replace(
        stored=turned,
        slope=np.full(count, series.slope[0]),
        intercept=np.full(count, series.intercept[0]),
        affine=affine,
    )
