"""data.prepare image_pairs on noise: pairing, colour, splits and bad folders."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tifffile
from PIL import Image

from data import prepare
from fusioninn_jax.formats import image_io
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances

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
        assert (
            prepare.main(
                _arguments(folders, tmp_path, name, f"--seed={seed}", "--val_fraction=.25", "--test_fraction=.25")
            )
            == 0
        )
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


def _save(folder, name, pixels, **options):
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name, **options)


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "bmp", "png"])
def test_the_formats_of_the_public_sets(tmp_path, ending):
    """Grey, grey as colour and colour, in each of the formats."""
    for i in range(4):
        _save(tmp_path / "a", f"{i}.{ending}", _noise(i))
        _save(tmp_path / "b", f"{i}.{ending}", np.repeat(_noise(10 + i, 1), 3, -1) if i < 2 else _noise(10 + i, 3))
    assert prepare.main(_arguments((tmp_path / "a", tmp_path / "b"), tmp_path, "--name=x")) == 0
    builder, examples = _load(tmp_path, "x")
    found = {e["subject"].decode(): e for part in examples.values() for e in part}
    assert [found[str(i)]["chroma"].size > 0 for i in range(4)] == [False, False, True, True]
    assert builder.info.metadata["white"] == 255
    if ending in ("bmp", "png"):
        np.testing.assert_array_equal(found["0"]["sources"][..., 0], _noise(0))


def test_a_palette_of_greys_is_grey(tmp_path):
    for i in range(3):
        _save(tmp_path / "a", f"{i}.png", _noise(i))
        (tmp_path / "b").mkdir(exist_ok=True)
        Image.fromarray(_noise(i)).convert("P").save(tmp_path / "b" / f"{i}.png")
    assert prepare.main(_arguments((tmp_path / "a", tmp_path / "b"), tmp_path, "--name=x", "--seed=2")) == 0
    _, examples = _load(tmp_path, "x")
    for example in (e for part in examples.values() for e in part):
        np.testing.assert_array_equal(example["sources"][..., 0], example["sources"][..., 1])
        assert not example["chroma"].size


def test_two_coloured_sources_share_their_chroma(tmp_path):
    for i in range(3):
        _save(tmp_path / "a", f"{i}.png", _noise(i, 3))
        _save(tmp_path / "b", f"{i}.png", _noise(10 + i, 3))
    assert prepare.main(_arguments((tmp_path / "a", tmp_path / "b"), tmp_path, "--name=x")) == 0
    _, examples = _load(tmp_path, "x")
    for example in (e for part in examples.values() for e in part):
        i = int(example["subject"])
        one, other = (image_io.luma_chroma(_noise(seed, 3))[1] for seed in (i, 10 + i))
        weights = abs(one) + abs(other)
        expected = (one * abs(one) + other * abs(other)) / np.where(weights > 0, weights, 1)
        np.testing.assert_allclose(example["chroma"], expected, atol=tolerances.COARSE)


def test_what_is_not_read_is_listed(folders, tmp_path, capsys):
    ct, pet = folders
    for name in ("x.gif", "y.webp", "notes.txt"):
        (ct / name).write_bytes(b"x")
    (pet / "more").mkdir()
    assert prepare.main(_arguments(folders, tmp_path)) == 0
    said = capsys.readouterr().out
    assert "image files passed over: 4" in said
    assert f"{ct}/x.gif: not one of .png" in said and f"{pet}/more: a folder within the source is not searched" in said


def test_copies_stay_on_one_side_and_are_told(folders, tmp_path, capsys):
    ct, pet = folders
    (ct / "im6.tif").write_bytes((ct / "im1.tif").read_bytes())  # one is enough
    for seed in range(4):
        options = [f"--name=s{seed}", f"--seed={seed}", "--val_fraction=.5"]
        assert prepare.main(_arguments(folders, tmp_path, *options)) == 0
        _, examples = _load(tmp_path, f"s{seed}")
        sides = [{e["subject"].decode() for e in part} for part in examples.values()]
        assert any({"im1", "im6"} <= side for side in sides)
        assert "im1, im6: identical images, kept on one side" in capsys.readouterr().out


def test_evaluate_gives_the_colour_back(tmp_path):
    from fusioninn_jax import evaluate

    for i in range(4):
        grey = np.linspace(60, 190, 16 * 20).reshape(16, 20).astype(np.uint8)
        colour = np.stack([grey, grey // 2 + 40, 200 - grey], -1)
        _save(tmp_path / "mri", f"{i}.png", np.roll(grey, i, 0))
        _save(tmp_path / "pet", f"{i}.png", np.roll(colour, i, 1) if i else np.repeat(grey[..., None], 3, -1))
    assert prepare.main(_arguments((tmp_path / "mri", tmp_path / "pet"), tmp_path, "--name=x")) == 0
    assert (
        evaluate.main(
            [
                "--model=mean",
                "--dataset=image_pairs/x",
                f"--data-dir={tmp_path}/out",
                "--split=train",
                f"--out={tmp_path}/o",
                f"--save-fused={tmp_path}/f",
                "--metrics=ssim",
            ]
        )
        == 0
    )
    saved = {path.stem: Image.open(path) for path in (tmp_path / "f" / "mean").iterdir()}
    assert saved
    for name, image in saved.items():
        i = int(name.split("_")[0])
        assert image.mode == ("L" if i == 0 else "RGB")
        if i:
            _, chroma = image_io.luma_chroma(np.asarray(Image.open(tmp_path / "pet" / f"{i}.png")))
            _, given = image_io.luma_chroma(np.asarray(image))
            # less than 1 where full chroma would leave what can be shown
            assert np.corrcoef(chroma[..., 1].ravel(), given[..., 1].ravel())[0, 1] > 0.85
