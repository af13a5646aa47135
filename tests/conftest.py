"""One place for what every test shares: 8 fake CPU devices, quiet TensorFlow, the folder of real images."""

import os
import pathlib
import signal
import threading
from collections.abc import Iterator

# The suite is mostly compilation: without the optimiser's expensive passes it takes a third of the time.
# Eight devices share two busy cores: XLA's default of 40 s at a collective, then abort, is too little patience.
FLAGS = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_cpu_collective_call_terminate_timeout_seconds=600"
)
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["FUSIONINN_COMPILATION_CACHE"] = "off"  # of commands that tests start: the user's own is none of theirs

import pytest  # noqa: E402  the flags above must be set before jax is imported


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
    from fusioninn_jax.models import half_unet, unet, unet_3plus, unet_plus_plus

    for module in (half_unet, unet, unet_3plus, unet_plus_plus):
        monkeypatch.setattr(module, "LEVELS", 3)


@pytest.fixture(scope="session")
def reference(realdata: pathlib.Path) -> pathlib.Path:
    """The golden numbers that hold pieces of real images; they lie beside the folder of real images."""
    folder = realdata.parent / "reference"
    if not folder.is_dir():
        pytest.skip(f"no folder of golden numbers beside {realdata.name}")
    return folder
