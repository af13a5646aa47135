"""The bijection of the sources inside a model: there and back, its log-det, the density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from fusioninn_jax import models
from tests import tolerances
from tests.models.flow_inputs import batch, trained


@pytest.mark.parametrize("formulation", ["linear", "logit", "official"])
def test_the_flow_of_the_sources_and_its_density(formulation):
    with jax.enable_x64(True):
        model = models.get("fusioninn", {"formulation": formulation, "blocks": 3, "levels": (0, 1), "widths": (3,)})
        sources = np.split(batch((2, 4, 4), dtype=jnp.float64), 2, -1)
        variables, stack = trained(model.init, *sources, size=0.05), np.concatenate(sources, -1)

        @jax.jit
        def calls(variables, *sources):
            def moved(shift):  # alike in both examples, which do not mix: the derivative is each one's Jacobian
                y, log_det = model.flow.forward(variables["params"], jnp.concatenate(sources, -1) + shift)
                return y.reshape(2, -1), (y, log_det)

            jacobian, (y, log_det) = jax.jacfwd(moved, has_aux=True)(jnp.zeros((4, 4, 2)))
            back = model.flow.inverse(variables["params"], jax.lax.optimization_barrier(y))
            own = (
                model.fuse(variables, *sources),
                model.log_det(variables, *sources),
                model.log_prob(variables, *sources),
            )
            return jacobian, y, log_det, back, own

        found = jax.tree.map(np.asarray, calls(variables, *sources))
        jacobian, y, log_det, (back, inverse_log_det), ((fused, latent), own_log_det, log_prob) = found
        shown = 1 / (1 + np.exp(-y[..., :1])) if formulation == "official" else y[..., :1]
        np.testing.assert_allclose(
            np.concatenate([shown, y[..., 1:]], -1), np.concatenate([fused, latent], -1), atol=tolerances.ROUND_TRIP_F64
        )
        np.testing.assert_allclose(back, stack, atol=tolerances.ROUND_TRIP_F64)
        np.testing.assert_allclose(inverse_log_det, -log_det, atol=tolerances.LONG_F64)
        np.testing.assert_allclose(own_log_det, log_det)
        of_jacobian = np.linalg.slogdet(jacobian.reshape(2, 32, 32))[1]
        np.testing.assert_allclose(log_det, of_jacobian, atol=tolerances.GOLDEN_F64)
        normal = scipy.stats.norm.logpdf(latent).sum((1, 2, 3))
        np.testing.assert_allclose(log_prob, normal + log_det)
