"""DICOM series -> Series (pydicom). Single-frame files of one folder, or one multi-frame file."""
from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import nibabel as nib
import numpy as np

from fusioninn_jax.formats import image_io
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import PIXELS, Series
from fusioninn_jax.runtime.errors import UserError, first_line

KIND = "dicom"
PRIVATE_GROUP, CREATOR, RECORD_ELEMENT = 0x0099, "FUSIONINN_JAX", 0x01
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPACING_TOLERANCE = 0.01  # of the distance between slices
DIRECTION_TOLERANCE = 1e-4
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
           "StudyTime", "ReferringPhysicianName")


def pydicom() -> Any:
    """The library, which is an extra.

    Raises:
      UserError: not installed.
    """
    try:
        import pydicom as library
    except ImportError as error:
        raise UserError("DICOM needs pydicom; install it: pip install 'fusioninn_jax[dicom]'") from error
    return library


def read(path: pathlib.Path, *, keep_phi: bool = False) -> Series:
    """One series: all DICOM files of a folder, or one file; slices sorted by their place along the slice normal.

    Raises:
      UserError: no DICOM file, several series, a missing or doubled slice, uneven spacing, slices of different size or
        direction, colour, pixels that cannot be decoded.
    """
    frames = _frames(path, _datasets(path))
    pixels, places, directions, spacings = zip(*[(f["pixels"], f["place"], f["direction"], f["spacing"])
                                                 for f in frames], strict=True)
    if len({p.shape for p in pixels}) > 1 or len({p.dtype for p in pixels}) > 1:
        raise UserError(f"{path}: its slices differ in size or type; give the folder of one series")
    if any(place is None for place in places):
        order, affine = np.arange(len(frames)), PIXELS
    else:
        order, affine = _geometry(path, np.array(places), np.array(directions), np.array(spacings))
    ordered = [frames[i] for i in order]
    stored = np.stack([frame["pixels"] for frame in ordered])
    series = Series(stored, np.array([frame["slope"] for frame in ordered]),
                    np.array([frame["intercept"] for frame in ordered]), affine,
                    _origin(ordered, keep_phi), _record(path, frames[0]["dataset"]))
    return _in_axial_order(path, series)


def _datasets(path: pathlib.Path) -> list[Any]:
    """The image files of a series, in the order of their instance numbers."""
    library, found = pydicom(), []
    files = sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith(".")) if path.is_dir() else [path]
    for file in files:
        try:
            dataset = library.dcmread(file)
        except FileNotFoundError as error:
            raise UserError(f"{file}: no such file; check the path") from error
        except Exception as error:  # pydicom raises many kinds for what is no DICOM or a torn one
            if path.is_dir() and isinstance(error, library.errors.InvalidDicomError):
                continue
            raise UserError(f"{file}: not a readable DICOM file ({first_line(error)}); fetch it anew") from error
        if "PixelData" in dataset:
            found.append(dataset)
    if not found:
        raise UserError(f"{path}: no DICOM image there; give the folder of one series")
    series = {str(dataset.get("SeriesInstanceUID", "")) for dataset in found}
    if len(series) > 1:
        raise UserError(f"{path}: holds {len(series)} series; give the folder of one series")
    _tell_missing(path, found)
    return sorted(found, key=lambda dataset: int(dataset.get("InstanceNumber", 0) or 0))


def _tell_missing(path: pathlib.Path, datasets: list[Any]) -> None:
    """A note where the header counts more images than there are: slices missing at an end leave no gap to see.

    No error, since an acquisition may have been split into several series.
    """
    claimed = int(datasets[0].get("ImagesInAcquisition") or 0)
    if claimed > len(datasets) and "NumberOfFrames" not in datasets[0]:
        print(f"{path}: {len(datasets)} images, its header counts {claimed} in the acquisition; if that was one "
              "series, export it anew", file=sys.stderr)


def _frames(path: pathlib.Path, datasets: list[Any]) -> list[dict[str, Any]]:
    """Every frame with its pixels, scale and geometry."""
    frames = []
    for dataset in datasets:
        if int(dataset.get("SamplesPerPixel", 1)) != 1 or dataset.get("PhotometricInterpretation") != "MONOCHROME2":
            raise UserError(f"{path}: {dataset.get('PhotometricInterpretation', 'unknown')} pixels where grey ones "
                            "(MONOCHROME2) are expected; convert the series")
        try:
            pixels = np.asarray(dataset.pixel_array)
        except Exception as error:  # a decoder for compressed pixels may be missing, or the pixels torn
            raise UserError(f"{path}: its pixels cannot be decoded ({first_line(error)}); decompress the series, e.g. "
                            "with gdcmconv --raw") from error
        for number, image in enumerate(pixels if pixels.ndim == 3 else pixels[None]):
            frames.append({"pixels": image, "dataset": dataset, **_described(dataset, number)})
    return frames


def _described(dataset: Any, number: int) -> dict[str, Any]:
    """Scale and geometry of one frame; a multi-frame file keeps them in its functional groups."""
    groups = [dataset]
    if "SharedFunctionalGroupsSequence" in dataset:
        groups = [dataset.PerFrameFunctionalGroupsSequence[number], dataset.SharedFunctionalGroupsSequence[0]]

    def find(sequence: str, keyword: str) -> Any:
        for group in groups:
            holder = group[sequence][0] if group is not dataset and sequence in group else group
            if keyword in holder and holder.get(keyword) not in (None, ""):
                return holder.get(keyword)
        return None

    def numbers(value: Any) -> np.ndarray | None:
        return None if value is None else np.array([float(x) for x in value])

    slope, intercept = (find("PixelValueTransformationSequence", key) for key in ("RescaleSlope", "RescaleIntercept"))
    place = numbers(find("PlanePositionSequence", "ImagePositionPatient"))
    direction = numbers(find("PlaneOrientationSequence", "ImageOrientationPatient"))
    spacing = numbers(find("PixelMeasuresSequence", "PixelSpacing"))
    thickness = float(find("PixelMeasuresSequence", "SliceThickness") or 1)
    known = place is not None and direction is not None
    return {"slope": 1.0 if slope is None else float(slope), "intercept": float(intercept or 0),
            "place": place if known else None, "direction": direction,
            "spacing": np.array([*(spacing if spacing is not None else (1.0, 1.0)), thickness])}


def _geometry(path: pathlib.Path, places: np.ndarray, directions: np.ndarray,
              spacings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of the slices, and the affine of (x, y, z) voxel indices to RAS+ millimetres."""
    if np.ptp(directions, 0).max() > DIRECTION_TOLERANCE or np.ptp(spacings[:, :2], 0).max() > DIRECTION_TOLERANCE:
        raise UserError(f"{path}: its slices differ in direction or pixel spacing; give the folder of one series")
    right, down = directions[0, :3], directions[0, 3:]
    normal = np.cross(right, down)
    along = places @ normal
    order = np.argsort(along, kind="stable")
    step = spacings[0, 2]
    if len(order) > 1:
        step = _even_step(path, np.diff(along[order]))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = right * spacings[0, 1], down * spacings[0, 0]
    affine[:3, 2] = (places[order[-1]] - places[order[0]]) / (len(order) - 1) if len(order) > 1 else normal * step
    affine[:3, 3] = places[order[0]]
    return order, RAS_FROM_LPS @ affine


def _even_step(path: pathlib.Path, gaps: np.ndarray) -> float:
    """The distance between slices, which must be the same throughout."""
    step = float(gaps.min())
    if step <= SPACING_TOLERANCE * float(np.median(gaps)):
        raise UserError(f"{path}: two slices lie at one place; give the folder of one series (one echo, one time)")
    wide, steps = np.flatnonzero(gaps > 1.5 * step), gaps / step
    if len(wide) and np.abs(steps - np.round(steps)).max() < 2 * SPACING_TOLERANCE * steps.max():
        lost = int(sum(round(gaps[i] / step) - 1 for i in wide))
        raise UserError(f"{path}: {lost} slices are missing, the first after slice {wide[0] + 1} of {len(gaps) + 1}; "
                        "export the whole series anew")
    if np.ptp(gaps) > 2 * SPACING_TOLERANCE * step:
        raise UserError(f"{path}: slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart; resample the series to "
                        "even spacing")
    return step


def _origin(frames: list[dict[str, Any]], keep_phi: bool) -> dict[str, Any]:
    """What a derived series refers to; who the patient is only with `keep_phi`."""
    first = frames[0]["dataset"]
    origin: dict[str, Any] = {
        "kind": KIND, "study": str(first.get("StudyInstanceUID", "")),
        "series": str(first.get("SeriesInstanceUID", "")), "frame": str(first.get("FrameOfReferenceUID", "")),
        "modality": str(first.get("Modality", "OT")), "class": str(first.get("SOPClassUID", "")),
        "instances": [str(frame["dataset"].get("SOPInstanceUID", "")) for frame in frames]}
    if keep_phi:
        origin["patient"] = {name: str(first.get(name)) for name in PATIENT if first.get(name) not in (None, "")}
    return origin


def _record(path: pathlib.Path, dataset: Any) -> Provenance | None:
    try:
        text = dataset.private_block(PRIVATE_GROUP, CREATOR)[RECORD_ELEMENT].value
    except KeyError:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: the record of the fusion in it is damaged; fuse anew") from error


def _in_axial_order(path: pathlib.Path, series: Series) -> Series:
    """The series in LPS voxel order, by flips and permutations alone."""
    to_lps = nib.orientations.ornt_transform(nib.io_orientation(series.affine), image_io.LPS)
    shape = series.stored.shape[::-1]
    turned = nib.orientations.apply_orientation(series.stored.transpose(2, 1, 0), to_lps).transpose(2, 1, 0)
    affine = series.affine @ nib.orientations.inv_ornt_aff(to_lps, shape)
    if to_lps[2, 0] == 2:  # slices are axial: what belongs to each goes with it
        flip = int(to_lps[2, 1])
        origin = series.origin | {"instances": series.origin["instances"][::flip]}
        return series._replace(stored=np.ascontiguousarray(turned), slope=series.slope[::flip],
                               intercept=series.intercept[::flip], affine=affine, origin=origin)
    if np.ptp(series.slope) or np.ptp(series.intercept):
        raise UserError(f"{path}: its slices are not axial and differ in rescale slope; convert the series to NIfTI")
    count = len(turned)
    return series._replace(stored=np.ascontiguousarray(turned), slope=np.full(count, series.slope[0]),
                           intercept=np.full(count, series.intercept[0]), affine=affine)
