"""The image_pairs builder under TFDS's own checks, on noise."""

import pathlib
import tempfile

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from data.image_pairs import image_pairs_dataset_builder


class ImagePairsTest(tfds.testing.DatasetBuilderTestCase):
    """Four pairs."""

    DATASET_CLASS = image_pairs_dataset_builder.Builder
    SPLITS = {"train": 3, "validation": 1}

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.EXAMPLE_DIR = folder.name
        rng = np.random.default_rng(0)
        for modality in ("first", "second"):
            pathlib.Path(folder.name, modality).mkdir()
            for i in range(4):
                Image.fromarray(rng.integers(0, 256, (12, 9), dtype=np.uint8)).save(f"{folder.name}/{modality}/{i}.png")
        super().setUpClass()


if __name__ == "__main__":
    tfds.testing.test_main()
