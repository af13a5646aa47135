"""Programs are kept between two commands, and whatever is wrong with the folder costs the compilation alone."""

import json
import os
import pathlib
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator

import jax
import pytest

from fusioninn_jax.runtime import compilation_cache

Run = Callable[..., tuple[str, float, int]]
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "other content": lambda content: b"no entry at all",
    "bits turned over": lambda content: content[:200] + bytes(byte ^ 85 for byte in content[200:400]) + content[400:],
    "well packed nonsense": lambda content: zlib.compress(b"\0" * 1000),
}
PROGRAM = """
import json, os, sys, tempfile
import jax, jax.numpy as jnp, jax.monitoring
from fusioninn_jax.runtime.compilation_cache import keep_compiled_programs

def told(said):
    os.dup2(said.fileno(), 2)
    folder, hits = keep_compiled_programs(), []
    jax.monitoring.register_event_listener(lambda event, **_: hits.append(event.endswith('/cache_hits')))
    value = float(jax.jit(lambda x: jnp.tanh(x).sum())(jnp.arange(8.0)))
    return [str(folder), value, sum(hits), os.pread(2, 10_000, 0).decode()]

for line in sys.stdin:
    if not os.fork():
        os.environ.update(json.loads(line))
        with tempfile.TemporaryFile() as said:
            print(json.dumps(told(said)), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module", name="run")
def run_fixture() -> Iterator[Run]:
    """A small program as a command: the folder used, what it computed, how many programs it found compiled.

    All are forks of one process, which has imported JAX and not used it yet: starting each would take a second more.
    """
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in (compilation_cache.VARIABLE, "XDG_CACHE_HOME", "TF_CPP_MIN_LOG_LEVEL")
        and not key.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE"))  # the suite's own
    }
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=clean, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        to, back = process.stdin, process.stdout

        def run(**environment: str) -> tuple[str, float, int]:
            print(json.dumps(environment), file=to, flush=True)
            folder, value, hits, said = json.loads(back.readline())
            assert said == ""
            return folder, value, hits

        yield run


def entries(folder: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in folder.rglob("*-cache") if path.is_file()]


def test_the_second_command_finds_what_the_first_compiled(run: Run, tmp_path: pathlib.Path) -> None:
    first, second = run(XDG_CACHE_HOME=str(tmp_path)), run(XDG_CACHE_HOME=str(tmp_path))
    assert pathlib.Path(first[0]).parent == tmp_path / "fusioninn_jax"
    assert first[2] == 0 and second[2] == len(entries(tmp_path)) > 0
    assert first[1] == second[1]


@pytest.mark.parametrize("word", ["off", "0"])
def test_it_can_be_switched_off(run: Run, tmp_path: pathlib.Path, word: str) -> None:
    assert run(HOME=str(tmp_path), **{compilation_cache.VARIABLE: word})[0] == "None"
    assert list(tmp_path.iterdir()) == []


def test_jax_own_setting_stands(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's own; JAX reads the variable when it is imported."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(compilation_cache.VARIABLE)
    assert jax.config.values["jax_compilation_cache_dir"] == os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert compilation_cache.keep_compiled_programs() is None
    assert jax.config.values["jax_compilation_cache_dir"] == os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_ones_own(run: Run, tmp_path: pathlib.Path) -> None:
    assert pathlib.Path(run(**{compilation_cache.VARIABLE: str(tmp_path / "c")})[0]).parent == tmp_path / "c"


def test_a_relative_cache_home_counts_for_nothing(run: Run, tmp_path: pathlib.Path) -> None:
    folder = run(XDG_CACHE_HOME="here", HOME=str(tmp_path))[0]
    assert pathlib.Path(folder).parent == tmp_path / ".cache" / "fusioninn_jax"


@pytest.mark.parametrize("home", ["/dev/null", "/proc", "/dev/null/deeper", "/" + 300 * "x"])
def test_where_no_folder_can_be_made_it_compiles(run: Run, home: str) -> None:
    assert run(XDG_CACHE_HOME=home)[0] == "None"


def test_a_folder_of_another_user_is_left_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compilation_cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert compilation_cache.keep_compiled_programs() is None


def test_a_disk_that_is_full_costs_the_compilation_alone(run: Run, tmp_path: pathlib.Path) -> None:
    """Every write fails: the names of JAX's entries are taken by folders of the same name after the first run."""
    folder, value, _ = run(XDG_CACHE_HOME=str(tmp_path))
    for entry in entries(tmp_path):
        entry.unlink()
        entry.mkdir()
    assert run(XDG_CACHE_HOME=str(tmp_path)) == (folder, value, 0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_costs_the_compilation_alone(run: Run, tmp_path: pathlib.Path, damage: str) -> None:
    folder, value, _ = run(XDG_CACHE_HOME=str(tmp_path))
    for entry in entries(tmp_path):
        entry.write_bytes(DAMAGES[damage](entry.read_bytes()))
    assert run(XDG_CACHE_HOME=str(tmp_path)) == (folder, value, 0)


def test_the_size_is_bounded_and_what_was_used_last_stays(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "processor").mkdir()
    for age in range(5):
        entry = tmp_path / "processor" / f"{age}-cache"
        entry.write_bytes(bytes(100))
        os.utime(entry, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compilation_cache, "LARGEST", 250)
    compilation_cache._shrink(tmp_path)
    assert sorted(path.name for path in entries(tmp_path)) == ["0-cache", "1-cache"]


def test_another_processor_has_another_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = compilation_cache._processor()
    monkeypatch.setattr(pathlib.Path, "read_text", lambda *_, **__: "flags : sse2\nmodel name : other")
    assert compilation_cache._processor() != here
