"""What `fusioninn_jax.metrics` offers: one call shape, one value per image, for every public metric."""

import jax
import numpy as np
import pytest

from fusioninn_jax import metrics
from tests import tolerances
from tests.metrics.pictures import disc, triple

SHAPE = (2, 48, 45, 1)
OF_A_REGION = {"auc", "contrast_to_noise"}  # they take two masks, and are tested in test_conspicuity
NO_REFERENCE = {"entropy", "standard_deviation", "spatial_frequency", "average_gradient"}


@pytest.mark.parametrize("name", sorted({*metrics.__all__} - OF_A_REGION))
def test_every_metric_takes_images_and_a_mask_and_gives_one_value_per_image(name):
    metric, images = getattr(metrics, name), triple(SHAPE)
    if name in NO_REFERENCE:
        images = images[2:]
    elif name.startswith("decomposition"):
        images = images[::2]
    whole, inside = metric(*images), metric(*images, mask=disc(SHAPE))
    assert whole.shape == inside.shape == (2,)
    assert np.isfinite(whole).all() and np.isfinite(inside).all()
    assert not np.array_equal(whole, inside)
    alone = metric(*(image[[1, 1]] for image in images))  # compiled already; what it makes of one image is its shape
    np.testing.assert_allclose(alone, np.repeat(whole[1:], 2), rtol=tolerances.SUM_F32)
    assert jax.eval_shape(metric, *(image[1:] for image in images)).shape == (1,)


def test_q_abf_is_the_variant_of_q_xy():
    images = triple(SHAPE)
    np.testing.assert_array_equal(metrics.q_abf(*images), metrics.q_xy(*images, variant="xydeas2000"))
    assert not np.array_equal(metrics.q_abf(*images), metrics.q_xy(*images))
