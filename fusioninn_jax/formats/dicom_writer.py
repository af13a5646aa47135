"""Series -> a derived DICOM series: Secondary Capture, one file a slice, new UIDs, linked to its sources."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from fusioninn_jax.formats import provenance
from fusioninn_jax.formats.dicom import (
    CREATOR,
    KIND,
    MANUFACTURER,
    PATIENT,
    PRIVATE_GROUP,
    RECORD_ELEMENT,
    limits,
    pydicom,
)
from fusioninn_jax.formats.dicom_geometry import PERPENDICULAR_TOLERANCE
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime.errors import UserError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.valuerep import DSfloat

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
HOLDS = ("|u1", "<u2", "<i2")
SERIES_NUMBER = 9000


def write(folder: pathlib.Path, name: pathlib.Path, series: Series, record: Provenance | None = None) -> None:
    """Writes a folder of files 0001.dcm, 0002.dcm, ... from the feet up.

    Args:
      folder: to be made.
      name: of the output, for messages.
      series: of 8- or 16-bit integers.
      record: of a fused image; goes into a private element of each file, and its sources are referred to.

    Raises:
      UserError: a type that DICOM images cannot hold.
    """
    if series.stored.dtype.str not in HOLDS:
        raise UserError(f"{name}: DICOM cannot hold {series.stored.dtype}; write .nii.gz")
    right, down = series.affine[:3, :2].T
    if abs(right @ down) > PERPENDICULAR_TOLERANCE * np.linalg.norm(right) * np.linalg.norm(down):
        raise UserError(f"{name}: its rows and columns are not perpendicular, which DICOM cannot hold; write .nii.gz")
    library = pydicom()
    uids = {key: library.uid.generate_uid(prefix=None) for key in ("study", "series", "frame")}
    origins = [source["origin"] for source in record["sources"]] if record else [series.origin]
    text = provenance.text(record).decode() if record else None
    bits = _bits(series)
    series = series._replace(stored=np.clip(series.stored, *limits(bits, series.stored.dtype)))
    span = int(series.stored.min()), int(series.stored.max())
    folder.mkdir()
    for number in range(len(series.stored)):
        dataset = _empty(library)
        _add_patient_and_study(dataset, series, uids)
        _add_series(dataset, series, uids, "Fused" if record else "Decomposed")
        _add_image(library, dataset, series, number, bits)
        _add_window(library, dataset, series, number, span)
        _refer(library, dataset, [o for o in origins if o["kind"] == KIND], number, len(series.stored))
        if text:
            dataset.private_block(PRIVATE_GROUP, CREATOR, create=True).add_new(RECORD_ELEMENT, "UT", text)
        dataset.save_as(folder / f"{number + 1:04d}.dcm", enforce_file_format=True)


def _bits(series: Series) -> int:
    """Bits stored: those of a series that came from DICOM, else all of its type."""
    own = series.origin.get("bits") if series.origin["kind"] == KIND else None
    return own or 8 * series.stored.dtype.itemsize


def _empty(library: ModuleType) -> Dataset:
    meta = library.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = library.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = library.uid.generate_uid(prefix=None)
    dataset = library.dataset.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = SECONDARY_CAPTURE, meta.MediaStorageSOPInstanceUID
    dataset.SpecificCharacterSet = "ISO_IR 192"
    return dataset


def _add_patient_and_study(dataset: Dataset, series: Series, uids: dict[str, str]) -> None:
    """Type 2 attributes stand empty where the patient is not to be named."""
    patient = series.origin.get("patient", {})
    for keyword in PATIENT:
        setattr(dataset, keyword, patient.get(keyword, ""))
    if not patient:
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "fusioninn_jax: name and identifiers left out"
    dataset.StudyInstanceUID = series.origin.get("study") or uids["study"]


def _add_series(dataset: Dataset, series: Series, uids: dict[str, str], what: str) -> None:
    dataset.Modality = series.origin.get("modality", "OT")
    dataset.SeriesInstanceUID, dataset.SeriesNumber = uids["series"], SERIES_NUMBER
    dataset.SeriesDescription = f"{what} by fusioninn_jax"
    dataset.FrameOfReferenceUID = series.origin.get("frame") or uids["frame"]
    dataset.PositionReferenceIndicator = dataset.Laterality = ""
    dataset.Manufacturer, dataset.ConversionType = MANUFACTURER, "WSD"
    dataset.DerivationDescription = f"{what} by fusioninn_jax, an invertible network (arXiv 2403.15769)"


def _decimals(library: ModuleType, values: Iterable[float]) -> list[DSfloat]:
    return [library.valuerep.DS(float(value), auto_format=True) for value in values]


def _add_window(library: ModuleType, dataset: Dataset, series: Series, number: int, span: tuple[int, int]) -> None:
    """The window of a series that came from DICOM, else one of all stored values, from smallest to largest (`span`)."""
    low, high = (float(end) * series.slope[number] + series.intercept[number] for end in span)
    own = series.origin.get("window") if series.origin["kind"] == KIND else None
    window = own or [(low + high) / 2, max(high - low, 1e-3)]
    dataset.WindowCenter, dataset.WindowWidth = _decimals(library, window)


def _add_image(library: ModuleType, dataset: Dataset, series: Series, number: int, bits: int) -> None:
    """Geometry, scale and pixels of one slice."""
    lps, spacing = series.grid.lps, series.grid.spacing
    right, down = (lps[:3, :2] / spacing[:2]).T
    apart = np.abs(np.cross(right, down) @ lps[:3, 2:])  # of tilted slices less than the way from first pixel to first

    dataset.InstanceNumber = number + 1
    dataset.PatientOrientation = ""
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BurnedInAnnotation = "NO"
    dataset.ImagePositionPatient = _decimals(library, lps[:3] @ [0, 0, number, 1])
    dataset.ImageOrientationPatient = _decimals(library, np.concatenate([right, down]))
    dataset.PixelSpacing = dataset.NominalScannedPixelSpacing = _decimals(library, spacing[[1, 0]])
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimals(library, apart)[0]
    pixels = series.stored[number]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored = 8 * pixels.dtype.itemsize, bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = _decimals(
        library, [series.slope[number], series.intercept[number]]
    )
    dataset.RescaleType = "US"  # unspecified
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OW"


def _refer(library: ModuleType, dataset: Dataset, origins: list[dict[str, Any]], number: int, count: int) -> None:
    """Names the source images of a slice, and the source series; all the images where they are not one a slice."""
    images, series = [], []
    for origin in origins:
        one_each = len(origin["instances"]) == count
        used = [origin["instances"][number]] if one_each else dict.fromkeys(origin["instances"])
        references = [_reference(library, origin["class"], uid) for uid in used]
        images += references
        entry = library.dataset.Dataset()
        entry.SeriesInstanceUID, entry.ReferencedInstanceSequence = origin["series"], references
        series.append(entry)
    if images:
        dataset.SourceImageSequence, dataset.ReferencedSeriesSequence = images, series


def _reference(library: ModuleType, sop_class: str, uid: str) -> Dataset:
    reference = library.dataset.Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, uid
    return reference
