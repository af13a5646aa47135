"""Signals end a command in one line, with what it had half-written removed."""

import importlib
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

import fusioninn_jax
from fusioninn_jax.runtime import errors, interrupts
from tests.chosen import chosen

ROOT = pathlib.Path(__file__).parents[2]
WORK = """
import pathlib, sys, time
from fusioninn_jax.runtime import errors
def main():
    half = pathlib.Path(sys.argv[1])
    try:
        half.write_text("half")
        while True: time.sleep(0.01)
    finally:
        time.sleep(0.2)
        half.unlink()
errors.cli(main)
"""


CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
PRESSED = [(number, times) for number in CODES for times in (1, 3)]


@pytest.mark.parametrize("number, times", chosen(PRESSED, [(signal.SIGINT, 3), (signal.SIGTERM, 1)]))
def test_a_command_cleans_up_and_says_so(tmp_path, number, times):
    half = tmp_path / "half"
    process = subprocess.Popen([sys.executable, "-c", WORK, str(half)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not half.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(times):  # impatient users press it again while it cleans up
        process.send_signal(number)
        time.sleep(0.03)
    _, said = process.communicate(timeout=60)
    assert process.returncode == CODES[number] and not half.exists()
    name = signal.Signals(number).name
    assert said.strip().splitlines() == [f"error: stopped by {name}; nothing half-written is left"]


@pytest.mark.parametrize(
    "started", [("-m", "fusioninn_jax.fuse"), ("-m", "data.prepare"), ("/somewhere/bin/fusioninn", "train")], ids=str
)
def test_the_imports_of_a_command_are_guarded(monkeypatch, started):
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, *started])
    try:
        importlib.reload(fusioninn_jax)
        assert all(signal.getsignal(number) != handlers[number] for number in handlers)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("started", [(), ("-c", "pass"), ("/x/fusioninn_study.py",), ("-m", "pytest"), ("-m",)])
def test_other_programs_keep_their_handlers(monkeypatch, started):
    handlers = [signal.getsignal(number) for number in interrupts.SIGNALS]
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, *started])
    importlib.reload(fusioninn_jax)
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == handlers


def test_while_it_starts(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "fusioninn_jax.fuse", "--help"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=120)
    assert "Traceback" not in complained or "KeyboardInterrupt" in complained.splitlines()[-1]
    assert process.returncode in (130, -2, 0)  # Python itself starting, our imports, or done already


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    with interrupts.raised():
        assert [signal.getsignal(number) for number in interrupts.SIGNALS] != before
        with pytest.raises(interrupts.Stopped) as caught:
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.number == signal.SIGTERM
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.raised():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_runs_a_command_without_handlers():
    codes = []

    def work():
        with pytest.raises(SystemExit) as end:
            errors.cli(lambda: 7)
        codes.append(end.value.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert codes == [7]
