"""fusioninn_jax.input_pipeline.datasets: the newest version is opened, and a missing one names its command."""

import pytest

from fusioninn_jax import input_pipeline, settings
from fusioninn_jax.input_pipeline import datasets
from fusioninn_jax.runtime.errors import UserError


def config_of(data_dir, dataset):
    config = settings.defaults().data
    config.data_dir, config.dataset = str(data_dir), dataset
    return config


def test_the_newest_version_is_opened(tmp_path, monkeypatch):
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        folder = tmp_path / "tiny" / "default" / version
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
    monkeypatch.setattr(datasets, "open_folder", lambda folder: folder.name)
    assert input_pipeline.open_dataset(config_of(tmp_path, "tiny/default")) == "1.10.0"


@pytest.mark.parametrize(
    "dataset,hint",
    [
        ("brain_phantom/default", "data.prepare brain_phantom --config=default"),
        ("brats/mine", "data.prepare brats --source=FOLDER --name=mine"),
    ],
)
def test_an_unprepared_dataset_names_the_command(tmp_path, dataset, hint):
    with pytest.raises(UserError, match=hint):
        input_pipeline.open_dataset(config_of(tmp_path, dataset))
