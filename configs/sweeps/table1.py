"""The trained systems of the paper's Table 1, at their published widths.

    python -m fusioninn_jax.report table1 --sweep=configs/sweeps/table1.py --root=runs/table1 --split=test \
        --config.data.dataset=brats/t1gd_flair
"""

import ml_collections

from configs import sweeps

SYSTEMS = ("deepfuse", "funfusean", "half_unet", "unet", "unet_plus_plus", "unet_3plus", "fusioninn")
RUNS = {name: {"model.name": name} for name in SYSTEMS}
RUNS["funfusean"]["train.batch_size"] = 8  # as its authors


def get_config(argument: str = "fusioninn") -> ml_collections.ConfigDict:
    """`SYSTEM` or `SYSTEM,BASE`."""
    return sweeps.build(RUNS, argument)
