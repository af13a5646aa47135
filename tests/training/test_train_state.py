"""The optimiser: schedules, and the plateau as PyTorch counts it."""

import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import settings
from fusioninn_jax.training import train_state
from tests import tolerances


def config(schedule, **changes):
    result = settings.defaults("optimizer")
    result.schedule = schedule
    result.update(changes)
    return result


def test_plateau_lowers_the_rate_after_patience_plus_one_bad_evaluations():
    settings = config("plateau", plateau_patience=8)
    optimizer = train_state.make_optimizer(settings, 100)
    state = train_state.create({"params": jnp.ones(2)}, optimizer, settings)
    scales = []
    for _ in range(1 + 9 + 9):  # the first sets the mark
        state = train_state.after_evaluation(state, 1.0, settings)
        scales.append(float(state.plateau.scale))
    np.testing.assert_allclose(scales, [1] * 9 + [0.95] * 9 + [0.95**2], rtol=tolerances.ROUNDING_F32)


def test_an_improvement_starts_the_count_anew():
    settings = config("plateau", plateau_patience=2)
    optimizer = train_state.make_optimizer(settings, 100)
    state = train_state.create({"params": jnp.ones(2)}, optimizer, settings)
    for loss in (1.0, 1.0, 1.0, 0.9, 0.9, 0.9):
        state = train_state.after_evaluation(state, loss, settings)
        assert float(state.plateau.scale) == 1
    assert float(train_state.after_evaluation(state, 0.9, settings).plateau.scale) == pytest.approx(0.95)


def test_the_plateau_scales_the_update():
    settings = config("plateau", plateau_patience=0, plateau_factor=0.5, clip_norm=0.0)
    optimizer = train_state.make_optimizer(settings, 100)
    state = train_state.create({"params": jnp.ones(2)}, optimizer, settings)

    def moved(state):
        moved = train_state.apply_gradients(state, jnp.ones(2), {}, optimizer, settings)
        return 1 - float(moved.variables["params"][0])

    full = moved(state)
    for loss in (1.0, 1.0):
        state = train_state.after_evaluation(state, loss, settings)
    assert moved(state) == pytest.approx(full / 2, rel=tolerances.COARSE)


def test_schedules():
    cosine = train_state.make_schedule(config("cosine", warmup_steps=10), 100)
    np.testing.assert_allclose(
        [cosine(0), cosine(10), cosine(55), cosine(100)], [0, 3e-3, 1.5e-3, 0], atol=tolerances.GOLDEN_F64
    )
    constant = train_state.make_schedule(config("constant", warmup_steps=10), 100)
    np.testing.assert_allclose(
        [constant(5), constant(10), constant(1000)], [1.5e-3, 3e-3, 3e-3], rtol=tolerances.ROUNDING_F32
    )
    with pytest.raises(ValueError, match="must be one of cosine, plateau, constant"):
        train_state.make_schedule(config("linear"), 100)


def test_the_average_follows_the_params_and_is_what_is_evaluated():
    settings = config("constant", ema=0.5, clip_norm=0.0)
    optimizer = train_state.make_optimizer(settings, 100)
    state = train_state.create({"params": jnp.ones(2), "batch_stats": jnp.zeros(1)}, optimizer, settings)
    expected = 1.0
    for step in range(12):
        state = train_state.apply_gradients(state, jnp.ones(2), {}, optimizer, settings)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * float(state.variables["params"][0])
    np.testing.assert_allclose(state.evaluated["params"], expected, rtol=tolerances.ROUNDING_F32)
    assert expected > float(state.variables["params"][0]) + 1e-4
    assert "batch_stats" in state.evaluated


def test_without_an_average_the_params_are_evaluated():
    settings = config("constant")
    state = train_state.create({"params": jnp.ones(2)}, train_state.make_optimizer(settings, 100), settings)
    assert state.average == {} and state.evaluated is state.variables
