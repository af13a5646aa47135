"""Random damage to files of every kind, for as long as asked: `python -m benchmarks.fuzz --minutes 20`.

Prints, kind by kind, how many damaged files gave an error of one line, the right result, or another result (a flipped
voxel of a file without checksum); stops at the first traceback, non-finite result, file left behind, or other result of
a sealed file, and says the seed that shows it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import pathlib
import tempfile

from tests import fuzzing


def main() -> None:
    """Parses the command line, damages, prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            root = pathlib.Path(folder)
            counts = fuzzing.counted(fuzzing.rounds(root, args.seed, fuzzing.subjects(root)), seconds=60 * args.minutes)
    print(fuzzing.table(counts))


if __name__ == "__main__":
    main()
