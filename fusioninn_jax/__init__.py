"""FusionINN in JAX: invertible fusion of medical images, and everything the paper compares it with.

The pure-function API. Importing it brings in neither TensorFlow nor Orbax; those come with the entry points,
`python -m fusioninn_jax.{train, evaluate, report}`.
"""

from fusioninn_jax.runtime import interrupts  # isort: skip  before the imports that take seconds

# `data` has its commands too, and imports this first; `fusioninn` runs all of them
interrupts.guard_start(("fusioninn_jax", "data"), "fusioninn")

from fusioninn_jax import bijections, interop, losses, metrics, models, pretrained  # noqa: E402
from fusioninn_jax.volumes import FusedVolume, decompose_samples, decompose_volume, fuse_volume  # noqa: E402

__all__ = [
    "FusedVolume",
    "bijections",
    "decompose_samples",
    "decompose_volume",
    "fuse_volume",
    "interop",
    "losses",
    "metrics",
    "models",
    "pretrained",
]
