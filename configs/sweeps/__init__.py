"""Sweeps: a family of runs that differ from a base configuration in a few settings, and the table they fill.

A sweep is a module with `RUNS` (run -> settings that differ from the base), `TABLE` (section -> row -> run) and
`get_config`. One run of it, or all of them and the table:

    python -m fusioninn_jax.train --config=configs/sweeps/table2.py:alpha_0.2 --workdir=runs/table2/alpha_0.2
    python -m fusioninn_jax.report table2 --sweep=configs/sweeps/table2.py --root=runs/table2 --split=test

After a comma the argument of `--config` names another base: `table2.py:alpha_0.2,paper`.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import ml_collections


def build(runs: Mapping[str, Mapping[str, Any]], argument: str, base: str = "brats") -> ml_collections.ConfigDict:
    """The configuration of one run.

    Args:
      runs: of the sweep.
      argument: `RUN` or `RUN,BASE`.
      base: the configuration, configs/BASE.py, that the runs change where the argument names none.

    Raises:
      ValueError: an unknown run or base.
      KeyError, TypeError: a run with a setting that the base does not have, or of another type.
    """
    run, _, named = argument.partition(",")
    if run not in runs:
        raise ValueError(f"the sweep has no run {run!r}; known: {', '.join(runs)}")
    try:
        module = importlib.import_module(f"configs.{named or base}")
    except ModuleNotFoundError as error:
        raise ValueError(f"there is no base configuration configs/{named or base}.py") from error
    config = module.get_config().lock()
    config.start = ""  # runs that are compared start alike
    config.update_from_flattened_dict(dict(runs[run]))
    return config
