"""Table 1: every system on the same images, beside the paper's numbers, its cost, and what differs for certain."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import input_pipeline
from fusioninn_jax.models import Variables
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.tables import comparison, cost, render, systems
from fusioninn_jax.tables.systems import System, TableRequest

BOUNDS = ("mean", "max", "laplacian_pyramid", "wavelet", "guided_filter", "ssim_limit")
ANY_MULTIPLE = 16  # every system takes images whose sides it divides


def measure_cost(system: System, size: tuple[int, int]) -> dict[str, float | None]:
    """Parameters of `system`, GFLOPs and milliseconds of fusing one pair of `size` (H, W), and seconds of training."""
    image = jnp.asarray(np.random.default_rng(0).random((1, *size, 1), np.float32))

    def fuse(variables: Variables, *sources: jax.Array) -> jax.Array:
        return system.trained.model.fuse(variables, *sources)[0]

    return {
        "parameters": cost.parameters(system.trained.variables),
        "gflops": cost.gflops(fuse, system.trained.variables, image, image),
        "milliseconds": cost.milliseconds(fuse, system.trained.variables, image, image),
        "training_seconds": system.training_seconds,
    }


@dataclasses.dataclass(frozen=True)
class Table1Request(TableRequest):
    """What `report table1` is asked for, beside what every table is.

    Attributes:
      workdirs: of trainings, any system.
      sweep: a sweep that trains the systems which no workdir holds; None for none.
      bounds: names of training-free systems.
    """

    workdirs: tuple[str, ...] = ()
    sweep: str | None = None
    bounds: tuple[str, ...] = BOUNDS


def _wishes(args: argparse.Namespace) -> Table1Request:
    common, bounds = dataclasses.asdict(systems.request(args)), tuple(name for name in args.bounds.split(",") if name)
    return Table1Request(**common, workdirs=tuple(args.workdirs), sweep=args.sweep, bounds=bounds)


def run(asked: Table1Request, overrides: Sequence[str] = ()) -> pathlib.Path:
    """Trains what the sweep lacks, scores everything, writes the tables; returns the Markdown's path.

    Args:
      asked: what is compared, and on what.
      overrides: `--config.KEY=VALUE`, for every run of the sweep.

    Raises:
      UserError: nothing to compare, or as `systems`.
    """
    workdirs = [pathlib.Path(workdir) for workdir in asked.workdirs]
    if asked.sweep:
        sweep = systems.load_sweep(asked.sweep)
        root = asked.root or pathlib.Path("runs") / pathlib.Path(asked.sweep).stem
        given = {system.name for system in systems.load(workdirs, [])}
        missing = [name for name in sweep.RUNS if name not in given]
        workdirs += systems.train_missing(sweep, missing, root, asked.base, overrides).values()
    elif not workdirs:
        raise UserError("nothing to compare; give --workdirs, or --sweep=configs/sweeps/table1.py to train them")
    compared = systems.load(workdirs, asked.bounds)
    data = systems.data_config(compared, asked.dataset, asked.data_dir)
    prepared = input_pipeline.open_dataset(data.data)
    out = asked.out or (asked.root or pathlib.Path("runs")) / "table1"
    scoring = asked.scoring("table1")
    found = [
        comparison.Scored(system, *systems.scores(system, prepared, data, scoring, out / "scores"))
        for system in compared
    ]
    first = next(input_pipeline.evaluation_batches(prepared, data.data, asked.split, batch_size=1, limit=1))
    height, width = (length + -length % ANY_MULTIPLE for length in first["sources"].shape[1:3])
    size = height, width
    costs = {system.label: measure_cost(system, size) for system in compared}
    images, patients = len(found[0].rows), len({subject for subject, _ in found[0].rows})
    title = f"Table 1 on {data.data.dataset}, split {asked.split}: {images} images of {patients} patients"
    tables = comparison.tables(found, costs, prepared.modalities, size)
    print(render.write(out, "table1", title, tables, comparison.numbers(found, costs)))
    return out / "table1.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives `parser` the command line of `report table1`."""
    systems.add_arguments(parser)
    parser.add_argument("--workdirs", nargs="*", default=[], help="of trainings, any system; repeated systems are fine")
    parser.add_argument("--sweep", help="trains the systems that no workdir holds, e.g. configs/sweeps/table1.py")
    parser.add_argument("--bounds", default=",".join(BOUNDS), help="training-free systems, set apart by commas")
    parser.set_defaults(run=lambda args, overrides: run(_wishes(args), overrides))
