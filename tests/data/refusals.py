"""What `data.prepare` refuses: one line, and nothing left behind."""

import pytest

from data import prepare
from fusioninn_jax.runtime.errors import UserError


def refused(source, tmp_path, message, *options):
    """Preparing must raise one line that matches, and leave the data folder as it was."""
    with pytest.raises(UserError, match=message) as caught:
        prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path}/out", *options])
    line = str(caught.value)
    assert "\n" not in line and "Failed to" not in line, line
    left = [path for path in (tmp_path / "out").rglob("*")] if (tmp_path / "out").exists() else []
    assert left == []
    return line


def truncate(folder):
    path = folder / "p2_t1ce.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
