"""TFDS builders and the command that runs them."""

from fusioninn_jax.runtime import interrupts

interrupts.guard_start("data")
