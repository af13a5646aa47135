"""Our side of gpu.py: the programs, ready to be timed and looked into."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.monitoring
import numpy as np

from benchmarks.gpu_cases import Case, timed
from benchmarks.our_model import configuration, sources
from fusioninn_jax import models, objective, settings
from fusioninn_jax.interop.torch_checkpoint import convert
from fusioninn_jax.models import convolution
from fusioninn_jax.training import parallel, train_state

FLOWS = ("official", "default")
# name -> (precision of float32 products, dtype of the conditioners)
PRECISIONS = {"float32": ("highest", "float32"), "TF32": (None, "float32"), "bfloat16": (None, "bfloat16")}
Weights = dict[str, np.ndarray] | None  # PyTorch's, of `official`
TRANSFERS = re.compile(r"\b(infeed|outfeed|send|recv)\(|callback")
pairs_of = functools.lru_cache(sources)


class Program:
    """A lowered function, its arguments, and how it is called again and again."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], again: Callable[[Any], tuple[Any, ...]]) -> None:
        self.function, self.arguments, self.again = function, arguments, again
        self.lowered = function.lower(*arguments)
        self.executable: Any = None

    def compile(self) -> bool:
        """Compiles; in a thread of its own."""
        self.executable = self.lowered.compile()
        return True

    def call(self) -> Any:
        """One call, queued. A step's state is the next one's argument: its buffers are donated."""
        result = self.executable(*self.arguments)
        self.arguments = self.again(result) or self.arguments
        return result

    def for_card(self) -> Any:
        """The lowered program of a card, also where there is none."""
        if jax.default_backend() != "cpu":
            return self.lowered
        return jax.jit(self.function).trace(*self.arguments).lower(lowering_platforms=("cuda",))

    def figures(self) -> tuple[float, float, float | None, float | None, float | None]:
        """Seconds, seconds queued, FLOPs as lowered, bytes as compiled, MB planned beside the arguments."""
        alone, queued = timed(self.call, jax.block_until_ready)
        cost, plan = self.executable.cost_analysis() or {}, self.executable.memory_analysis()
        beside = plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
        flops = (self.for_card().cost_analysis() or {}).get("flops")
        return alone, queued, flops, cost.get("bytes accessed"), beside / 2**20


def config_of(flow: str, precision: str, weights: Weights) -> tuple[Any, Any]:
    """The configuration of a training, and PyTorch's weights where the flow has them."""
    config, variables = (configuration("official"), None) if flow == "official" else (settings.defaults(), None)
    if flow == "official" and weights is not None:
        model, variables = convert("fusioninn", weights)
        config.model.fusioninn.update(permutations=model.permutations)
    config.model.fusioninn.dtype = PRECISIONS[precision][1]
    return config, variables


@functools.cache
def _initial(flow: str) -> Any:
    model = models.get("fusioninn", config_of(flow, "float32", None)[0].model.fusioninn)
    return jax.jit(model.init)(jax.random.key(0), *objective.split_sources(sources(1, 64)))


def lowered(case: Case, flow: str, precision: str, weights: Weights) -> Program:
    """The program of a case."""
    convolution.PRECISION = PRECISIONS[precision][0]
    config, variables = config_of(flow, precision, weights)
    model = models.get("fusioninn", config.model.fusioninn)
    variables = jax.tree.map(jax.numpy.array, _initial(flow) if variables is None else variables)
    try:
        make = _step if case.kind == "step" else _inference
        return make(case, model, variables, config)
    finally:
        convolution.PRECISION = "highest"


def _step(case: Case, model: Any, variables: Any, config: Any) -> Program:
    devices = jax.devices()[:1]
    optimizer = train_state.make_optimizer(config.optimizer, 1000)
    state = parallel.replicate(train_state.create(variables, optimizer, config.optimizer), devices)
    function = parallel.make_train_step(model, optimizer, config, devices)
    batch = jax.device_put(parallel.split_batch(objective.Slices(pairs_of(case.batch, case.size)), 1))
    key = jax.random.key(0)
    return Program(function, (state, batch, key), lambda result: (result[0], batch, key))


def _inference(case: Case, model: Any, variables: Any, config: Any) -> Program:
    images = objective.split_sources(jax.device_put(pairs_of(case.batch, case.size)))
    if case.kind == "decompose":
        return Program(jax.jit(model.decompose), (variables, images[0], _latent(case)), lambda result: ())
    return Program(jax.jit(model.fuse), (variables, *images), lambda result: ())


def _latent(case: Case) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (case.batch, case.size, case.size, 1))


def images(case: Case, weights: Weights) -> tuple[Any, ...]:
    """Fused image, latent and both sources that come back from them, of `official` in float32."""
    config, variables = config_of("official", "float32", weights)
    model = models.get("fusioninn", config.model.fusioninn)
    fused = jax.jit(model.fuse)(variables, *objective.split_sources(pairs_of(case.batch, case.size)))
    return (*fused, *jax.jit(model.decompose)(variables, *fused))


def describe(made: dict[Any, Program], cases: list[Case], weights: Weights) -> None:
    """Prints what the programs hold, and whether a training compiles its step once only."""
    print(
        "| program | convolutions, lowered | transfers to the host | buffers given back in place |\n|---|---|---|---|"
    )
    for (case, flow, precision), program in made.items():
        if precision == "float32" and case in (cases[0], *(c for c in cases[:3] if c.kind != "step")):
            text, final = program.for_card().as_text(), program.executable.as_text()
            found = TRANSFERS.findall(text) + TRANSFERS.findall(final)
            aliased = len(re.findall(r"(?:may|must)-alias", final.split("\n", 1)[0]))
            convolutions = text.count("stablehlo.convolution")
            print(f"| {case}, {flow} | {convolutions} | {len(found) or 'none'} | {aliased} |", flush=True)
    print()
    for flow in FLOWS:
        compilations = _compilations(flow, weights)
        print(
            f"train's own step, {flow}: compilations in calls 1 to 4: {', '.join(map(str, compilations))}", flush=True
        )


def _compilations(flow: str, weights: Weights) -> list[int]:
    """How often XLA compiles in each of four steps on new batches, called as a training does."""
    case = Case("step", 2, 64)
    program = lowered(case, flow, "float32", weights)
    state, counts = program.arguments[0], []
    for seed in range(4):
        batch = parallel.split_batch(objective.Slices(np.roll(pairs_of(case.batch, case.size), seed, 1)), 1)
        key = jax.random.key(0)
        _events().clear()
        state, metrics = program.function(state, batch, key)
        jax.block_until_ready(metrics)
        counts.append(len(_events()))
    return counts


@functools.cache
def _events() -> list[str]:
    """The compilations of this process from now on."""
    found: list[str] = []

    def note(event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    return found
