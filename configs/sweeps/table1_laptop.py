"""The trained systems of the paper's Table 1, so narrow that two CPU cores train each in some minutes.

    python -m fusioninn_jax.report table1 --sweep=configs/sweeps/table1_laptop.py --root=runs/table1 --split=test \
        --config.data.dataset=brats/t1gd_flair

A smoke form, on the embedded phantom:

    python -m data.prepare brain_phantom --data_dir=runs/data
    python -m fusioninn_jax.report table1 --sweep=configs/sweeps/table1_laptop.py --base=phantom --root=runs/smoke \
        --split=test --limit=24 --config.data.crop=64,64 --config.train.steps=60
"""

import ml_collections

from configs import sweeps

WIDTHS = {"deepfuse": 8, "funfusean": 8, "half_unet": 16, "unet": 8, "unet_plus_plus": 8, "unet_3plus": 8}
COMMON = {"train.batch_size": 8, "train.steps": 1000, "train.eval_every": 1000, "optimizer.learning_rate": 2e-3}
RUNS = {name: COMMON | {"model.name": name, f"model.{name}.width": width} for name, width in WIDTHS.items()}
RUNS["fusioninn"] = COMMON | {"model.name": "fusioninn"}


def get_config(argument: str = "fusioninn") -> ml_collections.ConfigDict:
    """`SYSTEM` or `SYSTEM,BASE`."""
    return sweeps.build(RUNS, argument)
