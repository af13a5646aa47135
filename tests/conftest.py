"""One place for what every test shares: 8 fake CPU devices, what is compiled, quiet TensorFlow, real images."""

import atexit
import gc
import importlib.metadata
import os
import pathlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator

# The suite is mostly compilation: without the optimiser's expensive passes it takes a third of the time.
# Eight devices share two busy cores: XLA's default of 40 s at a collective, then abort, is too little patience.
FLAGS = [
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_cpu_collective_call_terminate_timeout_seconds=600",
]
# XLA ends a process that gives it a flag it does not know, so these only where we know that it knows them.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    FLAGS += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]  # half of the rest
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS]).strip()
if "FUSIONINN_TEST_CACHE" not in os.environ:
    # What one test compiled, other tests, the other worker and commands that tests start take from here.
    os.environ["FUSIONINN_TEST_CACHE"] = tempfile.mkdtemp(prefix="fusioninn-tests-")
    atexit.register(shutil.rmtree, os.environ["FUSIONINN_TEST_CACHE"], ignore_errors=True)
os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": os.environ["FUSIONINN_TEST_CACHE"],
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**31),  # with a bound JAX locks the folder, so nobody reads half an entry
}
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["FUSIONINN_COMPILATION_CACHE"] = "off"  # of commands that tests start: the user's own is none of theirs

# Tracing makes objects by the million, and each collection walks all that live: a fifteenth of the suite's time.
gc.set_threshold(200_000, 20, 100)

import pytest  # noqa: E402  the flags above must be set before jax is imported

# The files that take longest, in that order: started first, no worker is left alone with one of them at the end.
LONGEST = [
    "tests/test_documentation.py",
    "tests/test_train.py",
    "tests/training/test_parallel.py",
    "tests/runtime/test_processes.py",
    "tests/bijections/test_transformations.py",
    "tests/models/test_baselines.py",
    "tests/models/test_fusioninn_flow.py",
    "tests/models/ddfm/test_model.py",
    "tests/test_training_faults.py",
    "tests/tables/test_tables.py",
    "tests/training/test_baseline_training.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`LONGEST` first, else as collected."""
    files = {pathlib.Path(__file__).parents[1] / name: place for place, name in enumerate(LONGEST)}
    assert all(path.is_file() for path in files), "LONGEST names a file that is not there"
    items.sort(key=lambda item: files.get(item.path, len(files)))


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard() -> None:
    """A suite started in the background by a shell inherits SIGINT ignored; tests, and what they start, hear it."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def realdata() -> pathlib.Path:
    """The folder of real MRI; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("FUSIONINN_REALDATA")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("FUSIONINN_REALDATA is unset or not a folder: no real images on this machine")
    return pathlib.Path(folder)


@pytest.fixture(scope="module", autouse=True)
def compiled_code_is_freed() -> Iterator[None]:
    """Frees a file's compiled code after it: the suite's takes 60 000 memory maps a worker, and Linux grants 65 530."""
    yield
    import jax

    jax.clear_caches()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The tiny dataset of `training_case`, prepared."""
    from tests import training_case

    return training_case.prepare(tmp_path_factory.mktemp("data"))


@pytest.fixture
def three_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The UNets with three levels for five: the same code, compiled in a third of the time."""
    from fusioninn_jax import train
    from fusioninn_jax.models import half_unet, unet, unet_3plus, unet_plus_plus

    monkeypatch.setattr(train, "_programs_of", train._programs_of.__wrapped__)  # kept ones have all levels
    for module in (half_unet, unet, unet_3plus, unet_plus_plus):
        monkeypatch.setattr(module, "LEVELS", 3)


@pytest.fixture(scope="session")
def reference(realdata: pathlib.Path) -> pathlib.Path:
    """The golden numbers that hold pieces of real images; they lie beside the folder of real images."""
    folder = realdata.parent / "reference"
    if not folder.is_dir():
        pytest.skip(f"no folder of golden numbers beside {realdata.name}")
    return folder
