"""The base configuration; the others are small changes to it.

python -m fusioninn_jax.train --config=configs/default.py --workdir=runs/default
"""

import ml_collections

from fusioninn_jax import settings


def get_config() -> ml_collections.ConfigDict:
    """Every setting with its default; each is explained in fusioninn_jax/settings/__init__.py."""
    return settings.defaults()
