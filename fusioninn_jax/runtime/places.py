"""Folders on a disk or in a bucket, as a user names them."""

from __future__ import annotations

import re

from etils import epath

from fusioninn_jax.runtime.errors import UserError

SCHEMES = ("gs", "s3", "az", "hf")  # that etils.epath knows
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


def folder(text: str, option: str) -> epath.Path:
    """A folder on a disk or in a bucket.

    Args:
      text: a local path, `~` standing for the home folder, or a URL.
      option: that gave it, for the message.

    Raises:
      UserError: a URL of a kind that is not known, which would else become a local folder of that name.
    """
    match = _SCHEME.match(text)
    if match and (match[1] not in SCHEMES or not text.startswith(f"{match[1]}://")):
        raise UserError(
            f"{option}={text}: not a path that can be used; give a local folder, or one that begins with "
            + " or ".join(f"{scheme}://" for scheme in SCHEMES)
        )
    return epath.Path(text).expanduser()
