"""The builder, on its tiny config; it simulates, so there is no dummy data."""

import numpy as np
import tensorflow_datasets as tfds

from data.brain_phantom import brain_phantom_dataset_builder


class BrainPhantomTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = brain_phantom_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["tiny"]
    SPLITS = {"train": 16, "validation": 8, "test": 8}
    EXAMPLE_DIR = "."  # nothing is read; the test case only checks that the folder exists


def _prepare(folder):
    builder = brain_phantom_dataset_builder.Builder(data_dir=folder, config="tiny")
    builder.download_and_prepare()
    return tfds.builder_from_directory(builder.data_dir)


def test_prepared_dataset_reads_back_with_its_metadata(tmp_path):
    builder = _prepare(tmp_path)
    assert builder.info.metadata["modalities"] == ["t1gd", "flair"]
    assert builder.info.metadata["label_names"]["2"] == "oedema"
    assert builder.info.metadata["has_mask"] is True and builder.info.metadata["seed"] == 0
    assert builder.info.metadata["split_by"] == "patient"
    assert builder.info.metadata["counts"]["slices"] == {s: i.num_examples for s, i in builder.info.splits.items()}
    subjects = {}
    for split in ("train", "validation", "test"):
        examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
        subjects[split] = {example["subject"] for example in examples}
        for example in examples:
            assert example["sources"].shape == (96, 96, 2) and example["sources"].dtype == np.float32
            assert example["mask"].shape == (96, 96, 1) and example["chroma"].shape == (0, 0, 2)
            np.testing.assert_array_equal(example["spacing"], [2.5, 2.5])
    assert [len(names) for names in subjects.values()] == [4, 2, 2]
    assert len(set.union(*subjects.values())) == 8  # no subject in two splits


def test_prepared_twice_the_files_are_the_same(tmp_path):
    first, second = (_prepare(tmp_path / name) for name in "ab")
    files = sorted(path.name for path in (tmp_path / "a/brain_phantom/tiny/1.1.0").iterdir() if "tfrecord" in path.name)
    assert files
    for name in files:
        assert (tmp_path / "a/brain_phantom/tiny/1.1.0" / name).read_bytes() == (
            tmp_path / "b/brain_phantom/tiny/1.1.0" / name
        ).read_bytes()


def test_default_config_holds_48_patients():
    config = next(c for c in brain_phantom_dataset_builder.Builder.BUILDER_CONFIGS if c.name == "default")
    assert [len(indices) for indices in config.splits().values()] == [36, 6, 6]
    assert sorted(i for indices in config.splits().values() for i in indices) == list(range(48))
