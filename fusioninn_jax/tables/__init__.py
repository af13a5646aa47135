"""The paper's tables and figures from trained systems; what `python -m fusioninn_jax.report` runs."""
