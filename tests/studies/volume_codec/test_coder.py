"""The coder: its tables, and the decisions that it writes."""

import hashlib


def test_the_tables_of_the_coder_are_the_same_everywhere():
    """Another digest would be another format: archives written elsewhere could not be read."""
    from fusioninn_jax.studies.volume_codec import coder, residual

    tables = (coder.SQUASH, coder.STRETCH, coder.MOVES, residual.LOG)
    tables = b"".join(table.astype("<i8").tobytes() for table in tables)
    assert hashlib.sha256(tables).hexdigest()[:16] == "6e97adfa53993c9c"
