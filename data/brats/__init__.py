"""BraTS and the collections made from it, as axial slices."""

import pathlib
import sys

# `tfds build data/brats` imports this folder as the top-level package `brats`; the modules it shares lie two levels up.
_ROOT = str(pathlib.Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
