"""Many processes that work as one: how they start, what they tell one another, how all of them end when one fails.

The engine is `jax.distributed`. Every command that runs on many processes takes three flags, which TPU pods and Slurm
make needless: --coordinator_address=HOST:PORT --num_processes=N --process_id=I.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from fusioninn_jax.runtime import compilation_cache, errors, interrupts
from fusioninn_jax.runtime.errors import UserError

Tree = TypeVar("Tree")  # of arrays
Value = TypeVar("Value")  # that JSON holds

PEER_LOST = 3  # exit code of a process that stops because another one did


def start(
    coordinator_address: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the other processes; does nothing where there are none.

    Args:
      coordinator_address: host and port of process 0.
      num_processes: of the whole run; 1 keeps a process alone where a cluster is detected.
      process_id: of this one. Without any argument a TPU pod or a Slurm step is detected.

    Raises:
      UserError: some of the three are missing, or the others cannot be reached.
    """
    given = [value is not None for value in (coordinator_address, num_processes, process_id)]
    if num_processes == 1:
        return
    if any(given) and not all(given):
        raise UserError(
            "--coordinator_address, --num_processes and --process_id belong together; give all three, or "
            "none on a TPU pod and under Slurm"
        )
    if process_id is not None and not 0 <= process_id < (num_processes or 1):
        raise UserError(
            f"--process_id={process_id}: with --num_processes={num_processes} it is 0 to {(num_processes or 1) - 1}"
        )
    try:
        jax.distributed.initialize(coordinator_address, num_processes, process_id)
        if jax.process_count() > 1:
            # gloo connects at the first collective and waits 30 seconds only: here, where all have just met, not later,
            # where one may compile for longer than another
            multihost_utils.sync_global_devices("start")
    except ValueError:  # no cluster was detected
        if any(given):
            raise
    except RuntimeError as error:
        raise UserError(
            f"--coordinator_address={coordinator_address or 'detected'}: the processes did not find one "
            f"another ({errors.first_line(error)}); check address and firewall, and that all were started; "
            "--num_processes=1 works alone"
        ) from error


def is_first() -> bool:
    """Whether this process writes the logs, tables and reports."""
    return jax.process_index() == 0


def broadcast(tree: Tree) -> Tree:
    """Process 0's `tree` on every process, bit for bit, as NumPy arrays; all must bring the same shapes and types."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    if jax.process_count() == 1:
        return jax.tree.unflatten(structure, leaves)
    whole = np.frombuffer(b"".join(leaf.tobytes() for leaf in leaves), np.uint8)
    whole = np.asarray(multihost_utils.broadcast_one_to_all(np.pad(whole, (0, -len(whole) % 4)).view(np.uint32)))
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    parts = np.split(whole.view(np.uint8), ends)
    return jax.tree.unflatten(
        structure, [part.view(leaf.dtype).reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=False)]
    )


def gather(value: Value) -> list[Value]:
    """The `value` that each process brings (anything that JSON holds), on every process, in the processes' order."""
    if jax.process_count() == 1:
        return [value]
    own = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(len(own)))
    padded = np.zeros(-(-int(lengths.max()) // 4) * 4, np.uint8)
    padded[: len(own)] = own
    everyone = multihost_utils.process_allgather(padded.view(np.uint32))
    return [
        json.loads(row.view(np.uint8)[:length].tobytes())
        for row, length in zip(everyone, lengths.tolist(), strict=True)
    ]


class Stop:
    """Remembers that Ctrl-C or SIGTERM came; where there are many processes, to any of them. A context manager.

    A second Ctrl-C raises KeyboardInterrupt at once. In a thread that is not the main one, and in a notebook, no
    handler is set, with a warning: there whoever runs the thread, or the notebook, says when to stop.

    Attributes:
      number: of the signal that came, None where none did.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}
        self._asked = 0

    def __enter__(self) -> Stop:
        if not interrupts.can_handle() or interrupts.in_notebook():
            warnings.warn(
                "training outside of the main thread, or in a notebook: signals do not save and stop it",
                RuntimeWarning,
                stacklevel=2,
            )
            return self
        many = jax.process_count() > 1  # then JAX's pre-emption service has taken SIGTERM
        for number in (signal.SIGINT,) if many else interrupts.SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._pass_on if many else self._request)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise interrupts.Stopped(number)
        self.number = number

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # which the pre-emption service tells to all

    def requested(self) -> bool:
        """Whether to save and leave now. All processes ask equally often, and get the same answer to each question."""
        if jax.process_count() > 1 and self.number is None:
            self._asked += 1
            if multihost_utils.reached_preemption_sync_point(self._asked):
                self.number = signal.SIGTERM
        return self.number is not None


def part() -> None:
    """Takes leave of the other processes in order: all must call it, and none waits for the others after it."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def cli(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` on the command line without the three flags, after joining the other processes.

    It returns the exit code, None standing for 0. What it compiles is kept (`compilation_cache`).

    As `errors.cli`; besides, a process of several that fails ends at once instead of waiting for the others, and the
    others end because of it: those that wait for it in a collective operation when the connection breaks, or else
    when JAX misses its heartbeat (100 seconds).
    """
    compilation_cache.keep_compiled_programs()
    try:
        errors.cli(lambda: main(_join(sys.argv[1:])))
    except SystemExit as end:
        if end.code:
            _leave(end.code if isinstance(end.code, int) else 1)
        raise
    except jax.errors.JaxRuntimeError as error:
        if not jax.distributed.is_initialized():
            raise
        print(
            f"error: process {jax.process_index()} of {jax.process_count()} stops: another process ended or cannot "
            f"be reached ({errors.first_line(error)}); start all of them again with the same command",
            file=sys.stderr,
        )
        _leave(PEER_LOST)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        _leave(1)


def _join(arguments: Sequence[str]) -> list[str]:
    """Takes the three flags out of a command line, and starts."""
    parser = errors.Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--coordinator_address")
    parser.add_argument("--num_processes", type=int)
    parser.add_argument("--process_id", type=int)
    options, rest = parser.parse_known_args(arguments)
    start(**vars(options))
    return rest


def _leave(code: int) -> None:
    """Ends this process of several without JAX's barrier at exit, where the others would never arrive."""
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
