"""The embedded default data: simulated brain-tumour MRI on MNI152 anatomy, T1-Gd and T2-FLAIR.

NumPy and SciPy, not JAX: it runs once, on the host, when the dataset is prepared.
"""

from fusioninn_jax.phantom.subject import MODALITIES, Subject, simulate_subject
from fusioninn_jax.phantom.tumour import LABELS

__all__ = ["LABELS", "MODALITIES", "Subject", "simulate_subject"]
