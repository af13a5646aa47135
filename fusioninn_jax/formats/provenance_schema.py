"""What a record must look like before any of it is used: types, lengths, nesting and sizes; it comes from a file."""

from __future__ import annotations

import json
import math
import re

from fusioninn_jax.formats.image_io import LARGEST
from fusioninn_jax.runtime.guarded import Damaged

LARGEST_TEXT = 256 << 20  # bytes
MOST_SLICES, MOST_SOURCES = 1 << 16, 64
LARGEST_NUMBER = 2 * LARGEST  # a moved background lies a little below the smallest value
TYPES = {f"{order}{kind}" for kind in ("i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "f16") for order in "<>="} | {
    "|u1",
    "|i1",
}
HEADERS = (464, 720)  # base64 characters of a NIfTI-1 and a NIfTI-2 header
MOST_BITS = 16  # of a DICOM image that can be written
PATIENT_TEXT = 1024  # characters


def loads(content: bytes) -> dict[str, object]:
    """The JSON text `content` of a record as an object; numbers that are none are refused.

    Raises:
      Damaged: too long, or no JSON object.
    """

    def refuse(name: str) -> float:
        raise Damaged("it holds a number that is none")

    if len(content) > LARGEST_TEXT:
        raise Damaged("it is too long")
    try:
        found = json.loads(content, parse_constant=refuse)
    except Damaged:
        raise
    except (ValueError, RecursionError) as error:
        raise Damaged("it is not JSON") from error
    return _object(found, "it")


def check(record: dict[str, object]) -> None:
    """Raises Damaged at the first part of a `record` of this version that is not as `provenance.make` writes it."""
    _match(record.get("id"), "id", r"[0-9a-f]{32}")
    if record.get("content") == "latent":
        _require(isinstance(record.get("remainder"), bool), "remainder")
        return
    _require(record.get("content") == "fused", "content")
    _match(record.get("model"), "model", r"[0-9a-f]{1,64}|mean")
    _match(record.get("prior"), "prior", r"[a-z_]{1,32}")
    image = _object(record.get("image"), "image")
    _scale(image)
    sources = _list(record.get("sources"), "sources", MOST_SOURCES)
    ranges = _list(record.get("ranges"), "ranges", MOST_SLICES, 0 if "archive" in record else 1)  # a mean has none
    for of_slice in ranges:
        for pair in _list(of_slice, "ranges", len(sources), len(sources)):
            low, high = (_number(value, "ranges") for value in _list(pair, "ranges", 2, 2))
            _require(low <= high, "ranges")
    for source in sources:
        _check_source(_object(source, "sources"), *([len(ranges)] * 2 if ranges else [1, MOST_SLICES]))


def _check_source(source: dict[str, object], least: int, most: int) -> None:
    """A source of so many slices."""
    _require(source.get("dtype") in TYPES, "dtype")
    for key in ("slope", "intercept"):
        values = source.get(key)
        for value in _list(values, key, most, least) if isinstance(values, list) else [values]:
            _require(_number(value, key) != 0 or key == "intercept", key)
    origin = _object(source.get("origin"), "origin")
    kind = origin.get("kind")
    _require(kind in CHECKS, "kind")
    CHECKS[str(kind)](origin)
    if kind == "dicom" and "bits" in origin:
        _require(_number(origin["bits"], "bits") <= 8 * int(str(source["dtype"])[2:]), "bits")
    if "chroma" in source:
        chroma = _object(source["chroma"], "chroma")
        _require(chroma.get("dtype") in ("|u1", "<u2", "<f4"), "chroma")
        _require(_number(chroma.get("step"), "chroma") > 0, "chroma")
        _match(chroma.get("data"), "chroma", r"[0-9A-Za-z+/=]*")


def _check_nifti(origin: dict[str, object]) -> None:
    header = origin.get("header")
    _match(header, "header", r"[0-9A-Za-z+/=]*")
    _require(len(str(header)) in HEADERS, "header")
    _require(isinstance(origin.get("flat", False), bool), "flat")  # earlier records have none


def _check_dicom(origin: dict[str, object]) -> None:
    for key in ("study", "series", "frame", "class"):
        _match(origin.get(key), key, r"[0-9.]{0,64}")
    _match(origin.get("modality"), "modality", r"[A-Z]{1,16}")
    for uid in _list(origin.get("instances"), "instances", MOST_SLICES):
        _match(uid, "instances", r"[0-9.]{0,64}")
    _check_display(origin)
    for name, value in _object(origin.get("patient", {}), "patient").items():
        _match(name, "patient", r"[A-Za-z]{1,64}")
        _require(isinstance(value, str) and len(value) <= PATIENT_TEXT, "patient")


def _check_display(origin: dict[str, object]) -> None:
    """Bits stored and window, which earlier records lack."""
    bits = origin.get("bits", MOST_BITS)
    _require(isinstance(bits, int) and not isinstance(bits, bool) and 1 <= bits <= MOST_BITS, "bits")
    if "window" in origin:
        _, width = (_number(value, "window") for value in _list(origin["window"], "window", 2, 2))
        _require(width > 0, "window")


def _check_picture(origin: dict[str, object]) -> None:
    _require(isinstance(origin.get("flat"), bool), "flat")


CHECKS = {"nifti": _check_nifti, "dicom": _check_dicom, "picture": _check_picture}


def _require(is_right: bool, what: str) -> None:
    if not is_right:
        raise Damaged(f"its `{what}` is not as it is written")


def _object(value: object, what: str) -> dict[str, object]:
    _require(isinstance(value, dict), what)
    return value  # type: ignore[return-value]


def _list(value: object, what: str, most: int, least: int = 1) -> list[object]:
    _require(isinstance(value, list) and least <= len(value) <= most, what)
    return value  # type: ignore[return-value]


def _match(value: object, what: str, pattern: str) -> None:
    _require(isinstance(value, str) and re.fullmatch(pattern, value) is not None, what)


def _number(value: object, what: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    _require(is_number and abs(value) <= LARGEST_NUMBER and math.isfinite(value), what)  # type: ignore[arg-type]
    return float(value)  # type: ignore[arg-type]


def _scale(image: dict[str, object]) -> None:
    _require(_number(image.get("slope"), "slope") != 0, "slope")
    _number(image.get("intercept"), "intercept")
