"""TFDS builders and the command that runs them."""

import fusioninn_jax as fusioninn_jax  # first: from here on a signal ends a command in one line
