"""What a file's name tells: whose it is, and which modality or mask it holds.

| naming | files of a subject |
|---|---|
| BraTS 2017-2021 | `<id>_{t1,t1ce,t2,flair,seg}.nii[.gz]` |
| BraTS 2023-2024 | `<id>-{t1n,t1c,t2w,t2f,seg}.nii[.gz]` |
| UPENN-GBM, UCSF-PDGM, BIDS | `<id>_{T1,T1GD,T1c,T2,FLAIR,segm,tumor_segmentation,ce-gd_T1w,...}.nii[.gz]` |
| by folder | `<id>/{flair,t1ce,...}.nii[.gz]` |
| one folder a file | `<id>/<id>_flair.nii/anything.nii`, `<id>/flair/<id>_flair.nii` |
| MSD Task01 | `imagesTr/BRATS_<n>.nii[.gz]`, 4-D, and `labelsTr/BRATS_<n>.nii[.gz]` |
| FusionINN's authors | `train_data.h5`, `test_data.h5` |

Upper and lower case are the same; a modality is spelt with or without `-` and `_` (`T2-FLAIR`, `t1_gd`).
"""

from __future__ import annotations

import pathlib
import re
from typing import NamedTuple

ALIASES = {
    "t1": "t1",
    "t1n": "t1",
    "t1w": "t1",
    "t1pre": "t1",
    "t1native": "t1",
    "t1gd": "t1gd",
    "t1ce": "t1gd",
    "t1c": "t1gd",
    "ct1": "t1gd",
    "t1post": "t1gd",
    "t1wce": "t1gd",
    "t1wgd": "t1gd",
    "t1cw": "t1gd",
    "t1contrast": "t1gd",
    "t1gado": "t1gd",
    "t1km": "t1gd",
    "cet1": "t1gd",
    "cet1w": "t1gd",
    "t2": "t2",
    "t2w": "t2",
    "flair": "flair",
    "t2f": "flair",
    "t2flair": "flair",
    "t2wflair": "flair",
    "flairw": "flair",
}
MASK_NAMES = (
    "seg",
    "segm",
    "tumorseg",
    "tumourseg",
    "tumorsegmentation",
    "tumoursegmentation",
    "tumormask",
    "tumourmask",
    "automatedapproxsegm",
    "glistrboost",
    "glistrboostmanuallycorrected",
)
KNOWN_MASKS = {("BraTS20_Training_355", "w39_1998.09.19_segm")}  # published under this name
HDF5_SPLITS = {"train_data.h5": "train", "test_data.h5": "validation"}
UNDERSTOOD = (
    "<id>_{t1,t1ce,t2,flair,seg}.nii[.gz] (BraTS 2017-2021), <id>-{t1n,t1c,t2w,t2f,seg}.nii[.gz] "
    "(BraTS 2023-2024), imagesTr/BRATS_<n>.nii[.gz] with labelsTr/ (MSD Task01), train_data.h5 and "
    "test_data.h5 (the authors' HDF5)"
)
IMAGE_ENDINGS = (
    ".nii",
    ".nii.gz",
    ".h5",
    ".hdf5",
    ".img",
    ".hdr",
    ".mha",
    ".mhd",
    ".nrrd",
    ".mgz",
    ".mgh",
    ".dcm",
    ".nii.bz2",
    ".nii.zip",
)

_NIFTI = re.compile(r"(?P<stem>.+)\.nii(\.gz)?", re.IGNORECASE)
_CONTRAST = re.compile(r"(?P<id>.+?)_ce-(?!none)[a-z0-9]+(?P<rest>(_.+)?)_t1w", re.IGNORECASE)  # BIDS
_MSD = re.compile(r"BRATS_\d+", re.IGNORECASE)
_MASK_LIKE = re.compile(
    r"seg|mask|label|lesion|annot|tumou?r|glistr|truth|(?<![a-z])(gt|roi|voi|ot)(?![a-z])", re.IGNORECASE
)


class Named(NamedTuple):
    """What the name of a file says.

    Attributes:
      subject: whose it is.
      family: 'brats', 'msd' or 'hdf5'.
      kind: canonical modality, 'seg', or 'all' for a file that holds all modalities.
      folder: where the subject's files lie.
      generation: whose labels a mask beside it has, '' where the name does not tell.
    """

    subject: str
    family: str
    kind: str
    folder: pathlib.Path
    generation: str


class Subject(NamedTuple):
    """The files of one subject.

    Attributes:
      name: patient id, or the file's stem for HDF5.
      generation: 'brats2018', 'brats2023', 'msd' or 'hdf5'; it tells the meaning of the labels.
      images: modality -> file; MSD and HDF5 have one file for all, under 'all'.
      annotation: the label volume, None where there is none.
      folder: where the files lie.
    """

    name: str
    generation: str
    images: dict[str, pathlib.Path]
    annotation: pathlib.Path | None
    folder: pathlib.Path


def spelling(word: str) -> str:
    """One spelling of a modality, `word`: small letters, without separators."""
    return re.sub(r"[-_. ]", "", word.lower())


def stem(path: pathlib.Path) -> str | None:
    """The name of a NIfTI file, or of a folder named like one, without its ending; None where `path` is none."""
    match = _NIFTI.fullmatch(path.name)
    return match["stem"] if match else None


def recognise(path: pathlib.Path, root: pathlib.Path, *, alone: bool) -> Named | None:
    """What a file below `root` is, or None.

    Args:
      path: the file.
      root: the folder that is searched.
      alone: whether it is the only NIfTI file of its folder, which may then carry its name.
    """
    if path.name.lower() in HDF5_SPLITS:
        return Named(path.stem.lower(), "hdf5", "all", path.parent, "hdf5")
    name = stem(path)
    if name is None:
        return None
    if path.parent.name in ("imagesTr", "labelsTr"):
        kind = "all" if path.parent.name == "imagesTr" else "seg"
        return Named(name, "msd", kind, path.parent.parent, "msd") if _MSD.fullmatch(name) else None
    if path.parent.name == "imagesTs":
        return None
    above = path.parent
    own = _split(name)
    if own:
        return Named(own[0], "brats", own[1], above.parent if alone and _is_of(above.name, name) else above, own[2])
    of_folder = _split(stem(above) or above.name) if alone and above != root else None
    if of_folder:
        return Named(of_folder[0], "brats", of_folder[1], above.parent, of_folder[2])
    if _kind(name) and above != root:
        return Named("_".join(above.relative_to(root).parts), "brats", _kind(name), above, _generation(name, "_"))
    return None


def _is_of(folder: str, name: str) -> bool:
    """Whether a folder bears the name of the one file in it, or of its modality."""
    match = _NIFTI.fullmatch(folder)
    bare = match["stem"] if match else folder
    return bare == name or bool(_kind(bare))


def _kind(word: str) -> str:
    """Canonical modality, 'seg', or ''."""
    word = spelling(word)
    return "seg" if word in MASK_NAMES else ALIASES.get(word, "")


def _split(name: str) -> tuple[str, str, str] | None:
    """(subject, kind, generation) of `<subject>_<kind>`, the longest kind that is known."""
    contrast = _CONTRAST.fullmatch(name)
    if contrast:
        return contrast["id"] + contrast["rest"], "t1gd", "brats2018"
    for place in range(1, len(name) - 1):
        if name[place] in "_-" and _kind(name[place + 1 :]):
            return name[:place], _kind(name[place + 1 :]), _generation(name[place + 1 :], name[place])
    return None


def _generation(kind: str, separator: str) -> str:
    """Whose labels the mask beside an image has; t1c and t2w behind '_' are said in either."""
    kind = spelling(kind)
    if kind in ("t1n", "t2f") or (separator == "-" and kind in ("t1c", "t2w")):
        return "brats2023"
    return "" if kind in ("t1c", "t2w", "t1w") or kind in MASK_NAMES else "brats2018"


def looks_like_a_mask(path: pathlib.Path) -> bool:
    """Whether the name of the file `path`, of no known naming, speaks of a mask."""
    return bool(_MASK_LIKE.search(stem(path) or ""))
