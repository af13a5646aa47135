"""The configuration of tests/training_case.py, for the command line: --config=tests/tiny_config.py:DATA_DIR."""

import pathlib

from tests import training_case


def get_config(data_dir: str):
    """A longer run with rarer evaluations, so that a signal finds it between two checkpoints."""
    config = training_case.config(pathlib.Path(data_dir))
    config.train.steps, config.train.eval_every = 60, 12
    return config
