"""Random damage to every kind of file that is read: what comes of it is a result or one line, and no file.

`tests/test_fuzz.py` runs some rounds, `python -m benchmarks.fuzz` as many as asked for.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
import tifffile
from PIL import Image

from fusioninn_jax import decompose, fuse
from fusioninn_jax.formats import files, nifti, provenance
from fusioninn_jax.pretrained import load
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import archive, decomposing
from tests.studies import cases, dicom_series

LONGEST_LINE = 700  # characters of a message, paths included


@dataclasses.dataclass(frozen=True)
class Subject:
    """A kind of file: the folder that holds a whole one, which of its files are damaged, and how it is read.

    `sealed`: a result is that of the whole file, whatever was damaged; else any finite result will do.
    """

    name: str
    folder: pathlib.Path
    damaged: tuple[str, ...]
    read: Callable[[pathlib.Path], list[np.ndarray]]
    sealed: bool = False
    rate: int = 1  # rounds in so many


def _flip(content: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, len(content), int(rng.choice([1, 1, 2, 8, 64]))):
        content[place] ^= 1 << int(rng.integers(8))
    return content


def _flip_near_start(content: bytearray, rng: np.random.Generator) -> bytearray:
    content[int(rng.integers(0, min(len(content), 400)))] = int(rng.integers(256))
    return content


def _cut(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: int(rng.integers(0, len(content)))]


def _blank(content: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = (int(rng.integers(0, len(content))) for _ in range(2))
    length = min(length, len(content) - start)
    content[start : start + length] = bytes([int(rng.choice([0, 255]))]) * length
    return content


def _insert(content: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(0, len(content)))
    content[start:start] = rng.bytes(int(rng.integers(1, 40)))
    return content


def _digits(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Other digits in a text: what a checksum-less JSON takes without a word."""
    places = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    for place in rng.choice(places, min(len(places), 3)) if places else ():
        content[place] = int(rng.choice(list(b"0123456789-e.")))
    return content


DAMAGES = (_flip, _flip_near_start, _cut, _blank, _insert, _digits)


def _series(path: pathlib.Path) -> list[np.ndarray]:
    series = files.read(path)
    if series.record is not None and series.record["content"] == "fused":
        for source in provenance.sources(series.record, series, path):
            files.check_origin(path, source)
    return [series.values]


def _archive(path: pathlib.Path) -> list[np.ndarray]:
    archive.check_seal(path)
    image = files.read(path)
    record = provenance.check(image.record, path, "fused")
    content = archive.payload(path, record)
    if content is None:
        raise UserError("the archive is none any more")  # `decompose` goes on with the fused image alone
    sources = decomposing.from_archive(path, image, record, content)
    return [source.stored for source in sources]


def _latent(path: pathlib.Path) -> list[np.ndarray]:
    channels, record = nifti.read_channels(path)
    provenance.check(record, path, "latent")
    return [channels]


def _model(path: pathlib.Path) -> list[np.ndarray]:
    return [np.asarray(len(load(path.parent).variables))]


def _decomposed(path: pathlib.Path) -> list[np.ndarray]:
    """The command, from files to files."""
    out = [path.parent / "1.npy", path.parent / "2.npy"]
    try:
        decompose.main([str(path), "-o", *map(str, out), "--checkpoint", str(path.parents[1] / "model")])
        return [np.load(name) for name in out]
    finally:
        for name in out:
            name.unlink(missing_ok=True)


FILES = (  # folder and file of what is read as a series
    ("plain", "plain.nii"),
    ("gzipped", "gzipped.nii.gz"),
    ("png", "a.png"),
    ("colour", "a.png"),
    ("jpeg", "a.jpg"),
    ("tiff", "a.tif"),
    ("float_tiff", "a.tif"),
    ("npy", "a.npy"),
    ("fused", "f.nii"),
    ("record_npy", "f.npy"),
    ("record_png", "f.png"),
)


def subjects(root: pathlib.Path) -> list[Subject]:
    """One whole file of each kind below `root`."""

    def folder(name: str) -> pathlib.Path:
        (root / name).mkdir()
        return root / name

    model = cases.save_model(folder("model"))
    grey = cases.voxels(1, (9, 7, 1)).clip(0, 255).astype("u1")[..., 0].T
    rgb = np.stack([grey, grey // 2, grey // 3], -1)
    pair = [
        cases.save(folder(name) / f"{name}.{ending}", cases.voxels(i))
        for i, (name, ending) in enumerate((("plain", "nii"), ("gzipped", "nii.gz")))
    ]
    dicom_series.write(root / "dicom", cases.voxels(0, (8, 6, 4), "u2").transpose(2, 1, 0))
    Image.fromarray(grey).save(folder("png") / "a.png")
    Image.fromarray(rgb).save(folder("colour") / "a.png")
    Image.fromarray(rgb).save(folder("jpeg") / "a.jpg")
    tifffile.imwrite(folder("tiff") / "a.tif", grey.astype("u2"), compression="zlib")
    tifffile.imwrite(folder("float_tiff") / "a.tif", grey.astype("f4"))
    np.save(folder("npy") / "a.npy", grey.astype("f4"))
    for name, output in (("fused", "f.nii"), ("archive", "f.nii"), ("latent", "f.nii"), ("record_npy", "f.npy")):
        more = {"archive": ["--lossless"], "latent": ["--latent", str(root / "latent" / "z.nii")]}.get(name, [])
        fuse.main([*map(str, pair), "-o", str(folder(name) / output), *more, "--checkpoint", str(model)])
    pictures = [str(root / name / "a.png") for name in ("colour", "png")]
    fuse.main([*pictures, "-o", str(folder("record_png") / "f.png"), "--checkpoint", str(model)])
    found = [Subject(name, root / name, (file,), _series) for name, file in FILES]
    slices = tuple(sorted(path.name for path in (root / "dicom").iterdir()))
    found.append(Subject("dicom", root / "dicom", slices, lambda path: _series(path.parent)))
    found.append(Subject("archive", root / "archive", ("f.nii",), _archive, sealed=True, rate=4))
    found.append(Subject("latent", root / "latent", ("z.nii",), _latent))
    found.append(Subject("model", root / "model", ("weights.npz", "config.json"), _model, rate=4))
    found.append(Subject("decompose", root / "fused", ("f.nii",), _decomposed, rate=8))
    return found


def rounds(root: pathlib.Path, seed: int, every: list[Subject]) -> Iterator[tuple[str, str]]:
    """Damages a file of each kind in turn, endlessly, and yields (kind, `right`, `other result` or `error`).

    Raises:
      AssertionError: anything but a result or a one-line error, a result that is not finite, another result of a sealed
        file, a file left behind; its message names kind, seed and round.
    """
    whole = {subject.name: subject.read(subject.folder / subject.damaged[0]) for subject in every}
    number = 0
    while True:
        for subject in every:
            if number % subject.rate == 0:
                outcome = _round(
                    root / "trial",
                    np.random.default_rng([seed, number]),
                    subject,
                    whole[subject.name],
                    f"{subject.name}, seed {seed}, round {number}",
                )
                yield subject.name, outcome
        number += 1


def counted(
    outcomes: Iterator[tuple[str, str]],
    *,
    seconds: float,
    least: int = 0,
    after_each: Callable[[], object] = lambda: None,
) -> collections.Counter[tuple[str, str]]:
    """How often each of the `rounds` came, over so many seconds and at least so many rounds."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    start = time.monotonic()
    for outcome in outcomes:
        counts[outcome] += 1
        after_each()
        if time.monotonic() - start > seconds and counts.total() >= least:
            break
    return counts


def mostly_damaged(counts: collections.Counter[tuple[str, str]]) -> bool:
    """Whether the damage was worth the name: more than a tenth of the files gave an error."""
    return sum(count for (_, outcome), count in counts.items() if outcome == "error") > counts.total() / 10


def _round(trial: pathlib.Path, rng: np.random.Generator, subject: Subject, whole: list[np.ndarray], where: str) -> str:
    shutil.copytree(subject.folder, trial / subject.folder.name)
    if subject.folder.name != "model":
        (trial / "model").symlink_to(subject.folder.parent / "model")
    path = trial / subject.folder.name / str(rng.choice(subject.damaged))
    damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
    path.write_bytes(damage(bytearray(path.read_bytes()), rng))
    before = sorted(trial.rglob("*"))
    where = f"{where}, {damage.__name__}"
    try:
        result = subject.read(path)
    except UserError as error:
        text = str(error)
        assert "\n" not in text and len(text) < LONGEST_LINE, f"{where}: {text[:LONGEST_LINE]!r}"
        outcome = "error"
    except BaseException as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {str(error)[:300]}") from error
    else:
        same = len(result) == len(whole) and all(np.array_equal(a, b) for a, b in zip(result, whole, strict=True))
        assert same or not subject.sealed, f"{where}: another result of a sealed file"
        assert all(np.isfinite(array).all() for array in result), f"{where}: a result that is not finite"
        outcome = "right" if same else "other result"
    left = sorted(set(trial.rglob("*")) ^ set(before))
    assert not left, f"{where}: left behind {left}"
    shutil.rmtree(trial)
    return outcome


def table(counts: collections.Counter[tuple[str, str]]) -> str:
    """The outcomes by kind, Markdown."""
    kinds = sorted({kind for kind, _ in counts})
    lines = ["| kind | damaged | error | right | other result |", "|---|---|---|---|---|"]
    for kind in kinds:
        error, right, other = (counts[kind, outcome] for outcome in ("error", "right", "other result"))
        lines.append(f"| {kind} | {error + right + other} | {error} | {right} | {other} |")
    return "\n".join(lines)


def training_subjects(data_dir: pathlib.Path, workdir: pathlib.Path) -> list[Subject]:
    """A checkpoint of a finished training, and the examples that it was trained on."""
    from fusioninn_jax import input_pipeline  # TensorFlow and Orbax take seconds to import
    from fusioninn_jax.training import checkpoint, checkpoint_folders
    from tests import training_case

    def load_last(path: pathlib.Path) -> list[np.ndarray]:
        run = next(folder for folder in path.parents if folder.name == workdir.name)
        trained = checkpoint.load(run, "last")
        return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.variables)] + [np.asarray(trained.step)]

    def load_examples(path: pathlib.Path) -> list[np.ndarray]:
        config = training_case.config(path.parents[3]).data
        prepared = input_pipeline.open_dataset(config)
        return [
            np.concatenate(
                [batch[name] for batch in input_pipeline.evaluation_batches(prepared, config, "train", batch_size=4)]
            )
            for name in ("sources", "mask")
        ]

    def names(folder: pathlib.Path, pattern: str) -> tuple[str, ...]:
        return tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob(pattern) if path.is_file()))

    last = max(int(path.name) for path in (workdir / checkpoint_folders.FOLDER).iterdir() if path.name.isdigit())
    examples = names(data_dir, "tiny/default/1.0.0/*train*tfrecord*")
    described = names(data_dir, "tiny/default/1.0.0/*.json")
    state = tuple(name for name in names(workdir, "*") if f"{checkpoint_folders.FOLDER}/{last}/" in name)
    return [
        Subject("checkpoint", workdir, state, load_last, sealed=True),
        Subject("tfrecord", data_dir, examples, load_examples, sealed=True),
        Subject("description of a dataset", data_dir, described, load_examples, sealed=True),
    ]
