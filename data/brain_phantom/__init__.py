"""Simulated brain-tumour MRI, the default data."""

import pathlib
import sys

# `tfds build data/brain_phantom` imports this folder as a top-level package; the package it needs lies two levels up.
_ROOT = str(pathlib.Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
