"""data.building by Apache Beam: the same bytes, and a missing library named."""

import sys

import pytest

from data import prepare
from tests.data.refusals import refused


def test_beam_that_is_missing_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    refused(
        source,
        tmp_path,
        r"needs Apache Beam; pip install .fusioninn_jax\[beam\]",
        "--beam_pipeline_options=runner=DirectRunner",
    )


def test_beam_writes_the_same_bytes(source, tmp_path):
    pytest.importorskip("apache_beam")
    for folder, options in (("one", []), ("beam", ["--beam_pipeline_options=runner=DirectRunner"])):
        assert prepare.main(["brats", f"--source={source}", f"--data_dir={tmp_path / folder}", *options]) == 0
    one, beam = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).rglob("*.tfrecord*")}
        for folder in ("one", "beam")
    )
    assert one and one == beam
