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


@pytest.fixture(scope="module", name="parts_and_gradients")
def parts_and_gradients_fixture():
    """(ours) -> a function of its variables: every loss part, and the gradients of their total.

    Compiled once for each case and precision.
    """
    compiled = {}

    def of(ours):
        def total(variables):
            parts = ours.parts(variables)
            return parts["total"], parts

        key = ours.case.images.tobytes(), ours.dtype
        if key not in compiled:
            compiled[key] = jax.jit(jax.grad(total, has_aux=True))
        return compiled[key]

    return of


def test_float64_outputs_losses_and_gradients_are_the_authors(case, parts_and_gradients):
    with jax.enable_x64(True):
        ours = fusioninn_goldens.Ours(case, np.float64)
        for name, value in jax.jit(ours.outputs)().items():
            expected = case.expected[name]
            expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
            np.testing.assert_allclose(value, expected, atol=tolerances.GOLDEN_F64, err_msg=name)
        gradients, parts = parts_and_gradients(ours)(ours.variables)
        for name in fusioninn_goldens.PARTS:
            np.testing.assert_allclose(parts[name], case.expected[name], atol=tolerances.GOLDEN_F64, err_msg=name)
        np.testing.assert_allclose(
            flat(gradients["params"]), flat(ours.relabelled(case.gradients)), atol=tolerances.GOLDEN_F64
        )


def test_float64_adam_trajectory_is_the_authors(case, parts_and_gradients):
    with jax.enable_x64(True):
        ours = fusioninn_goldens.Ours(case, np.float64)
        adam, of_loss = optax.adam(3e-4), parts_and_gradients(ours)

        @jax.jit
        def step(variables, opt_state, gradients):
            updates, opt_state = adam.update(gradients, opt_state)
            return optax.apply_updates(variables, updates), opt_state

        variables, opt_state, trajectory = ours.variables, adam.init(ours.variables), []
        for _ in case.trajectory:
            gradients, parts = of_loss(variables)
            variables, opt_state = step(variables, opt_state, gradients)
            trajectory.append(float(parts["total"]))
        np.testing.assert_allclose(trajectory, case.trajectory, atol=tolerances.TRAJECTORY_F64)


def test_float32_losses_and_gradients_are_near_the_authors(case, parts_and_gradients):
    ours = fusioninn_goldens.Ours(case, np.float32)
    gradients, parts = parts_and_gradients(ours)(ours.variables)
    for name in fusioninn_goldens.PARTS:
        np.testing.assert_allclose(parts[name], case.expected[name], rtol=tolerances.LOSS_F32, err_msg=name)
    gradients = flat(gradients["params"])
    expected = flat(ours.relabelled(case.gradients))
    assert np.linalg.norm(gradients - expected) <= tolerances.GRADIENT_F32 * np.linalg.norm(expected)
