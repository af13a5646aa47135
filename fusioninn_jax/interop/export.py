"""`python -m fusioninn_jax.interop.export --size 240 240 --out FOLDER`: a trained model that runs without this package.

Writes `fuse.stablehlo` and, where the model can, `decompose.stablehlo`: StableHLO serialised by jax.export, weights
inside, the batch size left open, for CPU, CUDA, ROCm and TPU; and `README.json`, which says what goes in and comes out.

    from jax import export
    fuse = export.deserialize(bytearray(open("fuse.stablehlo", "rb").read()))
    fused, latent = fuse.call(x1, x2)
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import export as jax_export

from fusioninn_jax import pretrained
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.runtime import outputs
from fusioninn_jax.runtime.errors import Parser, UserError, cli

OfImages = Callable[..., tuple[jax.Array, ...]]
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
ABOUT, FILES = "README.json", ("fuse.stablehlo", "decompose.stablehlo")

EXAMPLES = """
python -m fusioninn_jax.interop.export --out=exported --size 240 240
"""


def export(
    model: FusionModel, variables: Variables, size: tuple[int, int], sources: int | None = None
) -> dict[str, jax_export.Exported]:
    """The model's functions with their weights, for images of one size and batches of any.

    Args:
      model: the system.
      variables: its variables; they become constants.
      size: height and width, multiples of `model.multiple`.
      sources: how many, for a model that takes any number.

    Returns:
      `fuse`: m images (B, H, W, 1) -> (fused, latent), or (fused,) of a system without latent; `decompose`, where the
      system can: (fused, latent) -> m images.

    Raises:
      ValueError: a size that the model cannot take.
    """
    if any(length < 1 or length % model.multiple for length in size):
        raise ValueError(f"size {size[0]}x{size[1]}: the model needs multiples of {model.multiple}")
    count = model.sources or sources or 2
    (batch,) = jax_export.symbolic_shape("b")

    def image(channels: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *size, channels), jnp.float32)

    def one_by_one(function: OfImages) -> OfImages:
        """vmap hides the open batch size from what needs a number."""
        return jax.vmap(lambda *images: jax.tree.map(lambda x: x[0], function(*[image[None] for image in images])))

    def fuse(*images: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(result for result in model.fuse(variables, *images) if result is not None)

    def decompose(fused: jax.Array, latent: jax.Array) -> tuple[jax.Array, ...]:
        assert model.decompose is not None
        return model.decompose(variables, fused, latent)

    functions: dict[str, tuple[OfImages, list[jax.ShapeDtypeStruct]]] = {"fuse": (fuse, [image(1)] * count)}
    if model.decompose is not None:
        functions["decompose"] = (decompose, [image(1), image(count - 1)])
    return {
        name: jax_export.export(jax.jit(one_by_one(function)), platforms=PLATFORMS)(*shapes)
        for name, (function, shapes) in functions.items()
    }


def _is_own(folder: pathlib.Path) -> bool:
    """Whether a folder holds what this command writes, and nothing else."""
    return {ABOUT, FILES[0]} <= {path.name for path in folder.iterdir()} <= {ABOUT, *FILES}


def main(argv: Sequence[str] | None = None) -> int:
    """Parses `argv` (None: the command line) and writes the artefacts; returns the exit code."""
    from fusioninn_jax.studies import fusing  # above this package: only the command needs it

    parser = Parser(prog="python -m fusioninn_jax.interop.export", description=__doc__, examples=EXAMPLES)
    parser.add_argument("--checkpoint", help="folder of a training; default: the model that ships with the package")
    parser.add_argument(
        "--size", nargs=2, type=int, default=(240, 240), metavar=("HEIGHT", "WIDTH"), help="of the images, pixels"
    )
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the folder to be made")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder where it is there already")
    args = parser.parse_args(argv)
    outputs.check([args.out], overwrite=args.overwrite, is_own=_is_own)
    trained = fusing.load(args.checkpoint)
    try:
        exported = export(trained.model, trained.variables, tuple(args.size))
    except ValueError as error:
        raise UserError(f"--size: {error}") from error
    about = {
        part: {"takes": list(map(str, function.in_avals)), "gives": list(map(str, function.out_avals))}
        for part, function in exported.items()
    }
    name = pretrained.fingerprint(trained.variables, trained.config)
    with outputs.new_files(args.out, overwrite=args.overwrite, is_own=_is_own) as (folder,):
        folder.mkdir()
        for part, function in exported.items():
            (folder / f"{part}.stablehlo").write_bytes(function.serialize())
        (folder / ABOUT).write_text(json.dumps(about | {"model": name, "images": "NHWC in [0, 1]"}, indent=2) + "\n")
    print(f"written: {args.out} ({', '.join(exported)})")
    return 0


if __name__ == "__main__":
    cli(main)
