"""Tells what is installed and whether it works: `python -m fusioninn_jax.doctor [--data_dir=runs/data]`.

Versions, devices, which extras are there, where data and caches lie, and one slice fused and decomposed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pathlib
import platform
import sys
import time
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from fusioninn_jax import pretrained, volumes
from fusioninn_jax.runtime import compilation_cache
from fusioninn_jax.runtime.devices import described
from fusioninn_jax.runtime.errors import Parser, cli

PACKAGES = (
    "fusioninn_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-datasets",
    "nibabel",
)
EXTRAS = {
    "phantom": ("nilearn", "simulates patients"),
    "dicom": ("pydicom", "reads and writes DICOM"),
    "resample": ("SimpleITK", "brings series to one grid"),
    "beam": ("apache_beam", "prepares data on clusters"),
    "torch": ("torch", "imports the authors' checkpoints"),
}
SIDE = 64  # of the slice that goes through the model
CLOSE = 1e-4  # of the range: what float32 leaves after fusing and decomposing with the latent

EXAMPLES = """
python -m fusioninn_jax.doctor
python -m fusioninn_jax.doctor --data_dir=/data/prepared
"""


def versions() -> Iterator[str]:
    """A line for each package that matters."""
    yield f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            if name not in ("tensorflow", "tensorflow-cpu", "fusioninn_jax"):  # one of the two will do
                yield f"{name}: missing; pip install {name}"


def extras() -> Iterator[str]:
    """A line for each optional part: there, or how to get it."""
    for name, (module, purpose) in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        yield f"{name} ({purpose}): " + ("there" if there else f"not installed; pip install 'fusioninn_jax[{name}]'")


def places(data_dir: pathlib.Path) -> Iterator[str]:
    """Where prepared datasets and compiled code are.

    Args:
      data_dir: where datasets are prepared.
    """
    found = sorted(path.parent.relative_to(data_dir).as_posix() for path in data_dir.glob("*/*/*/dataset_info.json"))
    yield f"datasets in {data_dir.absolute()}: " + (
        ", ".join(found) if found else "none; `python -m data.prepare brain_phantom` makes one"
    )
    cache = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    yield f"compiled code: {f'kept in {cache}' if cache else f'not kept; {compilation_cache.VARIABLE}=FOLDER keeps it'}"
    yield f"package: {pathlib.Path(pretrained.__file__).parent.parent}"


def round_trip() -> tuple[float, float]:
    """Seconds, and the largest error of a slice fused by the shipped model and decomposed with its latent."""
    started, trained = time.monotonic(), pretrained.load()
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE  # smooth, as images are: on white noise float32 loses more
    sources = np.stack([0.5 + 0.4 * np.sin(9 * rows + 2 * columns), 0.5 + 0.4 * np.cos(3 * rows - 8 * columns)])
    sources = sources[:, None].astype(np.float32)
    fused = volumes.fuse_volume(trained.model, trained.variables, *sources)
    back = volumes.decompose_volume(trained.model, trained.variables, fused)
    return time.monotonic() - started, float(np.abs(np.asarray(back) - sources).max())


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what it finds; returns 0 where all is well, else 1.

    Args:
      argv: the arguments; None for those of the process.
    """
    parser = Parser(prog="python -m fusioninn_jax.doctor", description=__doc__, examples=EXAMPLES)
    parser.add_argument(
        "--data_dir", type=pathlib.Path, default=pathlib.Path("runs/data"), help="where datasets are prepared"
    )
    args = parser.parse_args(argv)
    compilation_cache.keep_compiled_programs()
    for title, lines in (
        ("versions", versions()),
        ("devices", iter([described(jax.local_devices())])),
        ("extras", extras()),
        ("places", places(args.data_dir)),
    ):
        print(f"{title}:", *lines, sep="\n  ")
    seconds, error = round_trip()
    fine = error < CLOSE
    print(
        f"one slice fused and decomposed: largest error {error:.1e} of the range, {seconds:.1f} s: "
        f"{'works' if fine else 'WRONG, please report this'}",
        file=sys.stdout if fine else sys.stderr,
    )
    return 0 if fine else 1


if __name__ == "__main__":
    cli(main)
