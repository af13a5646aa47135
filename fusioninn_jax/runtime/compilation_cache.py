"""Compiled programs kept between two commands, so that the second compiles nothing.

JAX's persistent cache in the user's cache folder. Whatever goes wrong with it costs the compilation and nothing else:
a folder that cannot be made or written, a full disk, a damaged entry, another process that writes the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import platform
import warnings

import jax

VARIABLE = "FUSIONINN_COMPILATION_CACHE"
HELP = (
    f"Compiled programs are kept in ~/.cache/fusioninn_jax, or below $XDG_CACHE_HOME; {VARIABLE}=FOLDER keeps them "
    f"elsewhere, {VARIABLE}=off nowhere."
)
OFF = ("off", "0", "")
LARGEST = 256 * 2**20  # bytes; a training's step takes about 1 MB, a fusion a tenth


def keep_compiled_programs() -> pathlib.Path | None:
    """Tells JAX where to keep what it compiles; to be called by a command, before it computes.

    Does nothing where the user has told JAX so already (`JAX_COMPILATION_CACHE_DIR`), or said no.

    Returns:
      the folder; None where there is none.
    """
    if jax.config.values["jax_compilation_cache_dir"] or os.environ.get(VARIABLE, "on") in OFF:
        return None
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():  # programs of others would run as ours
            return None
        _shrink(folder.parent)
    except (OSError, RuntimeError):  # the latter: no home
        return None
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


def _folder() -> pathlib.Path:
    given = os.environ.get(VARIABLE)
    if given:
        return pathlib.Path(given).absolute() / _processor()
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = base if base.is_absolute() else pathlib.Path.home() / ".cache"  # a relative one counts for nothing
    return base / "fusioninn_jax" / _processor()


def _processor() -> str:
    """A name of this kind of processor: a home may be shared, and programs are made for the processor at hand."""
    about = {platform.machine(), platform.processor()}
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        about |= {line for line in lines if line.startswith(("flags", "Features", "model name", "CPU part"))}
    return hashlib.sha256("\n".join(sorted(about)).encode()).hexdigest()[:16]


def _shrink(folder: pathlib.Path) -> None:
    """Removes what was not used for longest until `LARGEST` bytes are left.

    JAX can bound its cache itself, but by a lock that each look-up takes: on a network's home it may wait seconds.
    """
    found = []
    for path in folder.glob("*/*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another process shrinks it too
            found.append((path, path.stat()))
    size = sum(status.st_size for _, status in found)
    for path, status in sorted(found, key=lambda entry: max(entry[1].st_atime, entry[1].st_mtime)):
        if size <= LARGEST:
            return
        path.unlink(missing_ok=True)
        size -= status.st_size
