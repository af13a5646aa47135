"""TensorFlow and TFDS. The one module that imports them: lazily, quietly, and off the accelerator."""

from __future__ import annotations

import importlib
import logging

from fusioninn_jax.runtime import quiet_tensorflow  # noqa: F401  isort: skip  before TensorFlow

from etils import epy

logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns of its own deprecated calls


def _leave_accelerator(_: str) -> None:
    """Keeps TensorFlow off the accelerator, which belongs to JAX; before it, or TFDS through it, does anything."""
    importlib.import_module("tensorflow").config.set_visible_devices([], "GPU")  # not `tf`: that is what loads just now


with epy.lazy_imports(success_callback=_leave_accelerator):  # they take seconds, which a command's help would wait for
    import tensorflow as tf
    import tensorflow_datasets as tfds

__all__ = ["tf", "tfds"]
