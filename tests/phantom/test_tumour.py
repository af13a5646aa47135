"""phantom.tumour: the annotation of a lesion."""

import numpy as np

from fusioninn_jax.phantom import tumour


def test_label_is_the_largest_compartment():
    parts = np.array([[0.5, 0.0, 0.1, 0.2], [0.3, 0.9, 0.2, 0.1], [0.2, 0.0, 0.6, 0.1]], np.float32)
    np.testing.assert_array_equal(tumour.labels(tumour.Lesion(*parts)), [1, 2, 4, 0])
