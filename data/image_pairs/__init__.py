"""Pairs of ordinary images of one scene, such as CT and MRI or infrared and visible light."""

import pathlib
import sys

# `tfds build data/image_pairs` imports this folder as a top-level package; the modules it shares lie two levels up.
_ROOT = str(pathlib.Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
