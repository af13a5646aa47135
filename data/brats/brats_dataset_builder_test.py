"""The brats builder under TFDS's own checks, on synthetic patients."""

import pathlib
import tempfile

import tensorflow_datasets as tfds

from data.brats import brats_dataset_builder
from tests.data import synthetic


class BratsTest(tfds.testing.DatasetBuilderTestCase):
    """Three synthetic patients, two slices each."""

    DATASET_CLASS = brats_dataset_builder.Builder
    SPLITS = {"train": 4, "validation": 2}

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.EXAMPLE_DIR = folder.name
        for seed, name in enumerate(("p1", "p2", "p3")):
            synthetic.brats(pathlib.Path(folder.name), name, seed=seed)
        super().setUpClass()


if __name__ == "__main__":
    tfds.testing.test_main()
