"""quiet_tensorflow: warnings of TensorFlow stay out of a command's last lines, unless the user asked for them."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("asked, found", [(None, "3"), ("0", "0"), ("2", "2")])
def test_jax_does_not_make_tensorflow_talk(asked, found):
    """JAX sets a level of its own when it is imported."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    words = "import jax, os, fusioninn_jax.runtime.quiet_tensorflow; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    done = subprocess.run(
        [sys.executable, "-c", words],
        env=environment | ({"TF_CPP_MIN_LOG_LEVEL": asked} if asked else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == found
