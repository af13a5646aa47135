"""A synthetic DICOM series: MR images with a patient, oblique, rescaled, written in no particular order."""

from __future__ import annotations

import pathlib

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR = "1.2.840.10008.5.1.4.1.1.4"
TURN = np.radians(10)
DIRECTION = [np.cos(TURN), np.sin(TURN), 0.0, -np.sin(TURN), np.cos(TURN), 0.0]
SPACING, STEP = (1.1, 0.9), 2.5


def dataset(series: str, study: str, frame: str) -> pydicom.Dataset:
    """What every image of the series has."""
    result = pydicom.Dataset()
    result.file_meta = pydicom.dataset.FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID = MR
    result.PatientName, result.PatientID, result.PatientBirthDate = "DOE^JANE", "ID12345", "19500101"
    result.StudyInstanceUID, result.SeriesInstanceUID, result.FrameOfReferenceUID = study, series, frame
    result.StudyDate, result.Modality, result.SeriesDescription = "20200101", "MR", "Jane's T1"
    result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.BitsAllocated = result.BitsStored = 16
    result.HighBit, result.PixelRepresentation = 15, 0
    return result


def write(
    folder: pathlib.Path,
    voxels: np.ndarray,
    *,
    slopes: np.ndarray | None = None,
    study: str = "1.2.3",
    frame: str = "1.2.4",
    leave_out: tuple[int, ...] = (),
) -> pathlib.Path:
    """Writes (Z, Y, X) uint16 slices as files whose names do not tell their order."""
    folder.mkdir()
    series = generate_uid()
    for z in np.random.default_rng(0).permutation(len(voxels)).tolist():
        if z in leave_out:
            continue
        image = dataset(series, study, frame)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
        image.InstanceNumber, image.ImagesInAcquisition = len(voxels) - z, len(voxels)
        image.Rows, image.Columns = voxels[z].shape
        image.ImagePositionPatient = [-10.0, -20.0, 30.0 + STEP * z]
        image.ImageOrientationPatient = [f"{x:.12g}"[:16] for x in DIRECTION]
        image.PixelSpacing, image.SliceThickness = list(SPACING), STEP
        image.RescaleSlope, image.RescaleIntercept = (1 if slopes is None else float(slopes[z])), 0
        image.PixelData = voxels[z].astype("<u2").tobytes()
        image["PixelData"].VR = "OW"
        image.save_as(folder / f"{(z * 7) % 11:02d}-{z}", enforce_file_format=True)
    return folder


def write_multiframe(path: pathlib.Path, voxels: np.ndarray) -> pathlib.Path:
    """The same geometry as one enhanced MR file with functional groups."""
    image = dataset(generate_uid(), "1.2.3", "1.2.4")
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    image.NumberOfFrames, image.Rows, image.Columns = voxels.shape
    shared, measures, orientation = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(SPACING), STEP
    orientation.ImageOrientationPatient = [f"{x:.12g}"[:16] for x in DIRECTION]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    image.SharedFunctionalGroupsSequence, frames = [shared], []
    for z in range(len(voxels)):
        group, position, scale = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = [-10.0, -20.0, 30.0 + STEP * z]
        scale.RescaleSlope, scale.RescaleIntercept = 2, -1
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [position], [scale]
        frames.append(group)
    image.PerFrameFunctionalGroupsSequence = frames
    image.PixelData = voxels.astype("<u2").tobytes()
    image["PixelData"].VR = "OW"
    image.save_as(path, enforce_file_format=True)
    return path
