"""The files of a DICOM series: which are read, and which are passed over and named. No header text leaves here."""

from __future__ import annotations

import io
import pathlib
import re
import stat
import sys
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fusioninn_jax.runtime import decompression, guarded
from fusioninn_jax.runtime.errors import UserError

if TYPE_CHECKING:
    from pydicom import Dataset

DEFLATED = "1.2.840.10008.1.2.1.99"  # a transfer syntax
BESIDE_PIXELS = 32 << 20  # bytes that a deflated file may hold beside its pixels
LAST_GROUP = 0x28  # of the elements that say how many pixels there are
GROUPS = (b"\2\0", b"\x08\0")  # in which a file without preamble starts
LONGEST_UID = 64  # characters
NAMED = 10  # files named in a note
SAME = {
    "SeriesInstanceUID": "series",
    "StudyInstanceUID": "studies",
    "PatientID": "patients",
    "FrameOfReferenceUID": "frames of reference",
    "Modality": "modalities",
    "EchoTime": "echoes",
}


class Image(NamedTuple):
    """A file with pixels; `name` is its path, for messages."""

    name: pathlib.Path
    dataset: Dataset


def pydicom() -> ModuleType:
    """The library, which is an extra.

    Raises:
      UserError: not installed.
    """
    try:
        import pydicom as library
    except ImportError as error:
        raise UserError("DICOM needs pydicom; install it: pip install 'fusioninn_jax[dicom]'") from error
    return library


def find(path: pathlib.Path) -> list[Image]:
    """The images of the series at `path`: those of a folder, or one file. What is passed over is named on stderr.

    Raises:
      UserError: no image there, files of several series, studies, patients, modalities or echoes, one that is damaged
        where only that one is asked for.
    """
    library = pydicom()
    guarded.check_there(path)
    files = sorted(f for f in path.iterdir() if not f.name.startswith(".")) if path.is_dir() else [path]
    images, passed = [], []
    for file in files:
        opened = _open(library, file)
        if isinstance(opened, str):
            passed.append(f"{file.name} ({opened})")
        else:
            images.append(Image(file, opened))
    if not images:
        if path.is_dir() or not passed:
            first = f" (the first: {passed[0]})" if passed else ""
            raise UserError(f"{path}: no DICOM image there{first}; give the folder of one series")
        raise UserError(f"{path}: not a readable DICOM file{passed[0].removeprefix(path.name)}; fetch it anew")
    _check_one_series(path, images)
    if passed:
        more = f" and {len(passed) - NAMED} more" if len(passed) > NAMED else ""
        print(
            f"{path}: {len(images)} images read, {len(passed)} files passed over: {', '.join(passed[:NAMED])}{more}; "
            "fetch them anew if they belong to the series",
            file=sys.stderr,
        )
    _tell_missing(path, images)
    return images


def _open(library: ModuleType, file: pathlib.Path) -> Dataset | str:
    """A dataset with pixels, or why there is none."""
    try:
        if stat.S_ISDIR(guarded.check_there(file).st_mode):
            return "a folder"
        content = guarded.read_bytes(file)
    except UserError as error:
        return guarded.reason(error, file)
    if not content:
        return "empty"
    with_preamble = content[128:132] == b"DICM"
    if not with_preamble and content[:2] not in GROUPS and content[:4] != b"DICM":
        return "not DICOM"
    content = content if with_preamble else content.removeprefix(b"DICM")
    try:
        with guarded.quiet():
            if DEFLATED.encode() in content:
                _check_deflated(library, content)
            dataset = library.dcmread(io.BytesIO(content), force=not with_preamble)
            if "PixelData" not in dataset:
                return "cut off before its pixels" if "Rows" in dataset else "without an image"
            return (
                "its pixels cannot be decoded, they are cut off" if _is_cut(_with_syntax(library, dataset)) else dataset
            )
    except Exception as error:  # pydicom raises many kinds for what is no DICOM or a torn one
        return f"damaged: {guarded.why(error)}"


def _check_deflated(library: ModuleType, content: bytes) -> None:
    """Raises Damaged where a deflated file would become much more than the pixels that it declares.

    Lengths that the file tells of its parts are not believed: the parts are found as the library finds them.
    """
    read, stream = library.filereader.read_dataset, io.BytesIO(content)
    library.filereader.read_preamble(stream, force=True)
    meta = read(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if DEFLATED not in [element.value for element in meta]:  # looks at each: what has no VR raises here
        return
    read(stream, True, True, stop_when=lambda tag, vr, length: tag >> 16 != 0)  # a command set may come before
    squeezed = content[stream.tell() :]
    start = io.BytesIO(decompression.start_of(squeezed, BESIDE_PIXELS, "deflate"))
    head = read(start, False, True, stop_when=lambda tag, vr, length: tag >> 16 > LAST_GROUP)
    decompression.check_expands(squeezed, _pixel_bytes(head) + BESIDE_PIXELS, "deflate")


def _pixel_bytes(dataset: Dataset) -> int:
    """How many bytes the pixels of a dataset take by its header, uncompressed."""
    return dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8 * int(dataset.get("NumberOfFrames") or 1)


def _is_cut(dataset: Dataset) -> bool:
    """Whether there are fewer pixels than declared; of compressed ones only a decoder can tell."""
    return not dataset.file_meta.TransferSyntaxUID.is_encapsulated and len(dataset.PixelData) < _pixel_bytes(dataset)


def _with_syntax(library: ModuleType, dataset: Dataset) -> Dataset:
    """The dataset with its transfer syntax, which files without file meta information leave to be seen."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = library.dataset.FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        is_implicit, is_little = dataset.original_encoding
        explicit = library.uid.ExplicitVRLittleEndian if is_little else library.uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = library.uid.ImplicitVRLittleEndian if is_implicit else explicit
    return dataset


def _check_one_series(path: pathlib.Path, images: list[Image]) -> None:
    for keyword, what in SAME.items():
        values = {text(image.dataset, keyword) for image in images}
        if len(values) > 1:
            raise UserError(f"{path}: holds {len(values)} {what}; give the folder of one series")


def _tell_missing(path: pathlib.Path, images: list[Image]) -> None:
    """A note where the header counts more images than there are: slices missing at an end leave no gap to see.

    No error, since an acquisition may have been split into several series.
    """
    found = text(images[0].dataset, "ImagesInAcquisition")
    claimed = int(found) if re.fullmatch("[0-9]{1,9}", found) else 0
    if claimed > len(images) and "NumberOfFrames" not in images[0].dataset:
        print(
            f"{path}: {len(images)} images, its header counts {claimed} in the acquisition; if that was one "
            "series, export it anew",
            file=sys.stderr,
        )


def text(dataset: Dataset, keyword: str) -> str:
    """The attribute `keyword` of a `dataset` as text, empty where none can be read; never for a message."""
    try:
        with guarded.quiet():
            value = dataset.get(keyword)
            return "" if value is None else str(value)
    except Exception:  # pydicom decodes on access and raises many kinds
        return ""


def uid(dataset: Dataset, keyword: str) -> str:
    """The attribute `keyword` of a `dataset`, a UID; empty where it is anything else, such as a patient's number."""
    value = text(dataset, keyword)
    return value if len(value) <= LONGEST_UID and re.fullmatch(r"[0-2](\.[0-9]+)+", value) else ""


def numbers(image: Image, keyword: str, count: int, holder: Dataset | None = None) -> np.ndarray | None:
    """An attribute of `count` finite numbers, None where it is absent or empty.

    Args:
      image: whose attribute it is.
      keyword: its name.
      count: how many numbers it must have.
      holder: the dataset that holds it, where that is not the image's own.

    Raises:
      UserError: other content; only numbers are quoted.
    """
    what = "a number" if count == 1 else f"{count} numbers"
    with guarded.reading(image.name, f"its {keyword} is not {what}", "export the series anew"):
        value = (image.dataset if holder is None else holder).get(keyword)
        if value is None or value == "" or not isinstance(value, int | float | str) and len(value) == 0:
            return None
        found = np.atleast_1d(np.array(value, dtype=np.float64))
        if found.shape != (count,):
            raise guarded.Damaged(f"it has {found.size}")
        if not np.isfinite(found).all():
            raise guarded.Damaged(f"it is {', '.join(map(str, found.tolist()))}")
        return found


def first_number(holder: Dataset, keyword: str) -> float | None:
    """The first value of the attribute `keyword` of the dataset `holder`, None where it is no finite number.

    Of what reading can do without: it never raises.
    """
    try:
        with guarded.quiet():
            value = float(np.ravel(holder.get(keyword))[0])
    except Exception:  # pydicom decodes on access and raises many kinds
        return None
    return value if np.isfinite(value) else None


def whole(image: Image, keyword: str) -> int | None:
    """The attribute `keyword` of an `image` as a whole number, None where it is absent.

    Raises:
      UserError: other content.
    """
    found = numbers(image, keyword, 1)
    return None if found is None else int(found[0])
