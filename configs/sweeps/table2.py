"""The paper's Table 2: α, λ, the number of blocks k and the latent z, one at a time.

    python -m fusioninn_jax.train --config=configs/sweeps/table2.py:alpha_0.2 --workdir=runs/table2/alpha_0.2 \
        --config.data.dataset=brats/t1gd_flair
    python -m fusioninn_jax.report table2 --sweep=configs/sweeps/table2.py --root=runs/table2 --split=test \
        --config.data.dataset=brats/t1gd_flair
"""

import ml_collections

from configs import sweeps

CHANGES: dict[str, dict[str, object]] = {
    "default": {},
    **{f"alpha_{alpha}": {"losses.alpha": alpha} for alpha in (0.2, 0.8, 1.0)},
    **{f"lambda_{lam}": {"losses.lam": lam} for lam in (0.9, 0.99, 0.999)},
    **{f"blocks_{blocks}": {"model.fusioninn.blocks": blocks} for blocks in (1, 2, 4)},
    # `characteristic` knows N(0, I) alone
    **{f"latent_{prior}": {"losses.prior": prior, "losses.latent": "white"} for prior in ("zeros", "uniform", "ones")},
}
# the paper's middle and its fusion loss, whatever the base has
PUBLISHED = {"losses.alpha": 0.5, "losses.lam": 0.8, "losses.fusion_target": "sources", "model.fusioninn.blocks": 3}
RUNS = {name: PUBLISHED | changes for name, changes in CHANGES.items()}
# Section -> row -> run; the same names as in fusioninn_jax.tables.published.TABLE2, whose numbers stand beside ours.
TABLE = {
    "α (k = 3, λ = 0.8)": {"0.2": "alpha_0.2", "0.5": "default", "0.8": "alpha_0.8", "1": "alpha_1.0"},
    "λ (k = 3, α = 0.5)": {"0.8": "default", "0.9": "lambda_0.9", "0.99": "lambda_0.99", "0.999": "lambda_0.999"},
    "k (α = 0.5, λ = 0.8)": {"1": "blocks_1", "2": "blocks_2", "3": "default", "4": "blocks_4"},
    "z (α = 0.5, λ = 0.8)": {
        "0": "latent_zeros",
        "N(0, I)": "default",
        "U[0, 1)": "latent_uniform",
        "1": "latent_ones",
    },
}


def get_config(argument: str = "default") -> ml_collections.ConfigDict:
    """`RUN` or `RUN,BASE`."""
    return sweeps.build(RUNS, argument)
