"""What C++ writes to stderr: shown where all went well, dropped where our own line says it."""

import os
import threading

import pytest

from fusioninn_jax.runtime import guarded


def test_shown_after_success_and_dropped_after_an_error(capfd):
    with guarded.held_back():
        os.write(2, b"a note\n")
        assert "a note" not in capfd.readouterr().err
    assert capfd.readouterr().err == "a note\n"
    with pytest.raises(ValueError, match="ours"), guarded.held_back():
        os.write(2, b"W0000 theirs\n")
        raise ValueError("ours")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_two_threads_give_stderr_back(capfd):
    inside, done = threading.Event(), threading.Event()

    def other():
        with guarded.held_back():
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with guarded.held_back():
        os.write(2, b"first\n")
        done.set()
        thread.join()
    os.write(2, b"second\n")
    assert capfd.readouterr().err == "first\nsecond\n"


def test_without_a_stderr(monkeypatch):
    monkeypatch.setattr(guarded, "_has_stderr", lambda: False)
    with guarded.held_back():
        pass
