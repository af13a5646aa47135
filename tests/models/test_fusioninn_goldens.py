"""FusionINN against the authors' numbers: outputs, loss parts, gradients, the course of a training."""

import jax
import numpy as np
import optax
import pytest

from tests import tolerances
from tests.golden import fusioninn_goldens


@pytest.fixture(params=["portable", "real"], name="case")
def case_fixture(request):
    if request.param == "portable":
        return fusioninn_goldens.portable(fusioninn_goldens.FOLDER)
    return fusioninn_goldens.real(request.getfixturevalue("reference"))


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def parts_and_gradients(ours):
    """Every loss part, and the gradients of their total by the params."""

    @jax.jit
    def both(variables):
        def total(variables):
            parts = ours.parts(variables)
            return parts["total"], parts

        gradients, parts = jax.grad(total, has_aux=True)(variables)
        return parts, gradients["params"]

    return both(ours.variables)


def test_float64_outputs_losses_and_gradients_are_the_authors(case):
    with jax.enable_x64(True):
        ours = fusioninn_goldens.Ours(case, np.float64)
        for name, value in jax.jit(ours.outputs)().items():
            expected = case.expected[name]
            expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
            np.testing.assert_allclose(value, expected, atol=tolerances.GOLDEN_F64, err_msg=name)
        parts, gradients = parts_and_gradients(ours)
        for name in fusioninn_goldens.PARTS:
            np.testing.assert_allclose(parts[name], case.expected[name], atol=tolerances.GOLDEN_F64, err_msg=name)
        np.testing.assert_allclose(flat(gradients), flat(ours.relabelled(case.gradients)), atol=tolerances.GOLDEN_F64)


def test_float64_adam_trajectory_is_the_authors(case):
    with jax.enable_x64(True):
        ours = fusioninn_goldens.Ours(case, np.float64)
        adam = optax.adam(3e-4)

        @jax.jit
        def step(variables, opt_state):
            loss, gradients = jax.value_and_grad(lambda v: ours.parts(v)["total"])(variables)
            updates, opt_state = adam.update(gradients, opt_state)
            return optax.apply_updates(variables, updates), opt_state, loss

        variables, opt_state, trajectory = ours.variables, adam.init(ours.variables), []
        for _ in case.trajectory:
            variables, opt_state, loss = step(variables, opt_state)
            trajectory.append(float(loss))
        np.testing.assert_allclose(trajectory, case.trajectory, atol=tolerances.TRAJECTORY_F64)


def test_float32_losses_and_gradients_are_near_the_authors(case):
    ours = fusioninn_goldens.Ours(case, np.float32)
    parts, gradients = parts_and_gradients(ours)
    for name in fusioninn_goldens.PARTS:
        np.testing.assert_allclose(parts[name], case.expected[name], rtol=tolerances.LOSS_F32, err_msg=name)
    gradients = flat(gradients)
    expected = flat(ours.relabelled(case.gradients))
    assert np.linalg.norm(gradients - expected) <= tolerances.GRADIENT_F32 * np.linalg.norm(expected)
