"""runtime.places: local folders and buckets as a user names them."""

import os
import pathlib

import pytest

from fusioninn_jax.runtime import places
from fusioninn_jax.runtime.errors import UserError


@pytest.mark.parametrize("text", ["runs/x", "/data/x", "gs://bucket/x", "s3://bucket/x", "a:b/c"])
def test_paths_that_can_be_used_stay_as_they_are(text):
    assert os.fspath(places.folder(text, "--workdir")) == text


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert pathlib.Path(places.folder("~/runs", "--workdir")) == pathlib.Path("/home/somebody/runs")


@pytest.mark.parametrize("text", ["ftp://host/x", "gs:/bucket/x", "http://host/x", "file:///x"])
def test_a_url_of_another_kind_is_no_local_folder(text):
    with pytest.raises(UserError, match=f"--workdir={text}: not a path that can be used; .* gs:// or s3://"):
        places.folder(text, "--workdir")
