"""data.prepare image_pairs on noise: pairing, colour, splits and bad folders."""
import numpy as np
import pytest
import tensorflow_datasets as tfds
import tifffile
from PIL import Image

from data import prepare
from fusioninn_jax.formats import image_io
from fusioninn_jax.runtime.errors import UserError

COUNT = 8


def _noise(seed, *shape, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (12, 9, *shape), dtype=dtype)


@pytest.fixture
def folders(tmp_path):
    """CT: 16-bit grey TIFF. PET: 8-bit PNG, colour but for the first, which is grey saved as colour."""
    ct, pet = tmp_path / "CT", tmp_path / "PET"
    for folder in (ct, pet):
        folder.mkdir()
    for i in range(COUNT):
        tifffile.imwrite(ct / f"im{i}.tif", _noise(i, dtype=np.uint16))
        pixels = np.repeat(_noise(100, 1), 3, axis=-1) if i == 0 else _noise(100 + i, 3)
        Image.fromarray(pixels).save(pet / f"im{i}.png")
    return ct, pet


def _arguments(folders, tmp_path, *options):
    return ["image_pairs", *(f"--source={folder}" for folder in folders), f"--data_dir={tmp_path}/out", *options]


def _load(tmp_path, name):
    builder = tfds.builder_from_directory(tmp_path / "out" / "image_pairs" / name / "1.0.0")
    return builder, {split: list(tfds.as_numpy(builder.as_dataset(split=split))) for split in builder.info.splits}


def test_pairs_keep_their_units_and_their_colour(folders, tmp_path):
    assert prepare.main(_arguments(folders, tmp_path)) == 0
    builder, examples = _load(tmp_path, "CT_PET")
    assert {split: len(part) for split, part in examples.items()} == {"train": 7, "validation": 1}
    found = {example["subject"].decode(): example for part in examples.values() for example in part}
    assert sorted(found) == [f"im{i}" for i in range(COUNT)]
    for i in range(COUNT):
        example = found[f"im{i}"]
        np.testing.assert_array_equal(example["sources"][..., 0], _noise(i, dtype=np.uint16))
        if i == 0:
            np.testing.assert_array_equal(example["sources"][..., 1], _noise(100, 1)[..., 0])
            assert example["chroma"].shape == (0, 0, 2)
        else:
            luma, chroma = image_io.luma_chroma(_noise(100 + i, 3))
            np.testing.assert_array_equal(example["sources"][..., 1], luma)
            np.testing.assert_array_equal(example["chroma"], chroma)
        assert example["mask"].shape == (12, 9, 1) and not example["mask"].any()
    assert builder.info.metadata["modalities"] == ["CT", "PET"]
    assert builder.info.metadata["split_by"] == "image" and builder.info.metadata["has_mask"] is False


def test_three_sources_and_names(folders, tmp_path):
    third = tmp_path / "deep" / "PET"
    third.mkdir(parents=True)
    for i in range(COUNT):
        Image.fromarray(_noise(200 + i)).save(third / f"im{i}.PNG")
    with pytest.raises(UserError, match="modalities: CT,PET,PET for 3 sources; name each"):
        prepare.main(_arguments((*folders, third), tmp_path, "--name=x"))
    assert prepare.main(_arguments((*folders, third), tmp_path, "--name=x", "--modalities=a,b,c")) == 0
    builder, examples = _load(tmp_path, "x")
    assert builder.info.metadata["modalities"] == ["a", "b", "c"]
    assert examples["train"][0]["sources"].shape == (12, 9, 3)


def test_the_split_depends_on_the_seed(folders, tmp_path):
    drawn = []
    for seed in range(4):
        name = f"--name=s{seed}"
        assert prepare.main(_arguments(folders, tmp_path, name, f"--seed={seed}", "--val_fraction=.25",
                                       "--test_fraction=.25")) == 0
        _, examples = _load(tmp_path, f"s{seed}")
        assert {split: len(part) for split, part in examples.items()} == {"train": 4, "validation": 2, "test": 2}
        drawn.append(tuple(sorted(example["subject"] for example in examples["validation"])))
    assert len(set(drawn)) > 1


def test_bad_folders_and_images(folders, tmp_path):
    ct, pet = folders

    def fails(message, *options, sources=folders):
        with pytest.raises(UserError, match=message) as caught:
            prepare.main(_arguments(sources, tmp_path, *options))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())

    (tmp_path / "empty").mkdir()
    fails("two or more folders", sources=[ct])
    fails("the same folder stands twice", "--modalities=a,b", sources=[ct, ct])
    fails("empty: no image found", sources=[ct, tmp_path / "empty"])
    fails("none: no such folder", sources=[ct, tmp_path / "none"])
    fails("'train' empty", "--val_fraction=0.99")
    Image.fromarray(_noise(0)).save(ct / "im1.png")
    fails("im1.tif: the name also stands in im1.png")
    (ct / "im1.png").rename(ct / "alone.png")
    fails(r"CT: 1 of its images have no partner in .*PET \(alone\)")
    (ct / "alone.png").unlink()
    Image.fromarray(_noise(0)[:-1]).save(pet / "im3.png")
    fails("im3.png: 9x11 pixels where .*im3.tif has 9x12")
    (pet / "im3.png").write_text("hello")
    fails("im3.png: cannot be read as an image")
