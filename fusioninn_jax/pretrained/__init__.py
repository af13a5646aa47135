"""A trained model as two plain files: the one that ships with the package, and export from a training.

`weights.npz` holds the variables as NumPy arrays named by their place in the tree, `config.json` what rebuilds the
model. Neither Orbax nor pickle is needed to read them. `python -m fusioninn_jax.pretrained --workdir=... --out=...`
writes them from a training.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath

from fusioninn_jax import models, settings
from fusioninn_jax.models import FusionModel, Variables, fusioninn
from fusioninn_jax.runtime import guarded, numpy_files, outputs
from fusioninn_jax.runtime.errors import UserError, first_line
from fusioninn_jax.settings import limits
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.training import checkpoint

WEIGHTS, CONFIG = "weights.npz", "config.json"
FOLDER = pathlib.Path(__file__).parent  # of the model that ships


def load(folder: str | pathlib.Path | None = None) -> TrainedModel:
    """A model from such a pair of files.

    Args:
      folder: that holds them; None takes the model that ships with the package: trained on the embedded phantom's
        simulated T1-Gd and FLAIR slices.

    Returns:
      the model; its config has `model` as in training, `prior` of the latent and `modalities`.

    Raises:
      UserError: a file is missing, damaged, or of another model than its configuration says.
    """
    place = epath.Path(folder or FOLDER)
    how = "write it anew with `python -m fusioninn_jax.pretrained`"
    text, weights = (guarded.read_anywhere(place / name) for name in (CONFIG, WEIGHTS))
    with guarded.reading(place, "not a model of this package", how):
        try:
            return from_bytes(text.decode(), weights)
        except ValueError as error:  # a setting that is not to be had; the message is ours
            raise UserError(f"{place}: not a model of this package ({first_line(error)}); {how}") from error


def load_any(place: str | pathlib.Path, which: str = "best") -> TrainedModel:
    """A model from any place that holds one.

    Args:
      place: `pretrained` for the model that ships, a folder with the two files, or a training's workdir.
      which: of a training's checkpoints, as for `checkpoint.load`.

    Raises:
      UserError: there is no sound model.
    """
    return load() if place == "pretrained" else load_from(place, which)


def load_from(folder: str | pathlib.Path, which: str = "best") -> TrainedModel:
    """A model from a folder, of either kind.

    Args:
      folder: with the two files, or a training's workdir.
      which: of a training's checkpoints, as for `checkpoint.load`.

    Raises:
      UserError: there is no sound model.
    """
    return load(folder) if (epath.Path(folder) / WEIGHTS).exists() else checkpoint.load(folder, which)


def weights_for(place: str | pathlib.Path, like: Variables, config: ml_collections.ConfigDict) -> Variables:
    """The weights that a training starts from.

    Args:
      place: see `load_any`.
      like: variables of the model that is to be trained.
      config: of that training, `settings.TRAINING`.

    Returns:
      the weights, in the types of `like`.

    Raises:
      UserError: there is no sound model, or it is of another architecture.
    """
    trained = load_any(place)
    found, wanted = _architecture(trained.config), _architecture(config)
    if found != wanted:
        (name, of_found), (wanted_name, of_wanted) = ((of["name"], of[of["name"]]) for of in (found, wanted))
        differing = [key for key in of_wanted if of_found.get(key) != of_wanted[key]] if name == wanted_name else []
        what = f"model.{name}.{differing[0]} is {of_found.get(differing[0])}" if differing else f"is of {name}"
        raise UserError(
            f"--config.start={place}: {what}, the training's {of_wanted[differing[0]] if differing else wanted_name}; "
            "set it alike, or --config.start='' for random weights"
        )
    return jax.tree.map(lambda old, new: np.asarray(new, old.dtype), like, trained.variables)


def settle_start(config: ml_collections.ConfigDict) -> str:
    """What `start` of a training comes to: where it is `auto`, `pretrained` for its architecture, else empty.

    Args:
      config: `settings.TRAINING`.
    """
    if config.start != "auto":
        return config.start
    ships = ml_collections.ConfigDict(json.loads((FOLDER / CONFIG).read_text()))
    return "pretrained" if _architecture(ships) == _architecture(config) else ""


def _architecture(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The model's settings, less those that leave its function alone."""
    model = json.loads(describe(config).model.to_json())
    own = model[model["name"]]
    model[model["name"]] = {name: own[name] for name in own if name not in ("backward", "dtype", "actnorm")}
    return model


def save(folder: str | pathlib.Path, variables: Variables, config: ml_collections.ConfigDict) -> None:
    """Writes the two files.

    Args:
      folder: made where it is missing, on a disk or in a bucket.
      variables: of the model.
      config: as `load` returns it, or a training's whole configuration.
    """
    place = epath.Path(folder)
    text, weights = to_bytes(variables, config)
    with outputs.new_files(place / WEIGHTS, place / CONFIG) as temporaries:
        for temporary, content in zip(temporaries, (weights, text.encode()), strict=True):
            temporary.write_bytes(content)


def describe(config: ml_collections.ConfigDict, modalities: tuple[str, ...] = ()) -> ml_collections.ConfigDict:
    """The part of a training's configuration that using the model needs, so that later defaults don't change it.

    Args:
      config: of a training, or what this function made of one.
      modalities: what the sources were; where `config` names them already, those stay.
    """
    name = config.model.name
    own = json.loads(config.model[name].to_json()) if name in config.model else {}
    if name == "fusioninn":
        whole = settings.defaults("model.fusioninn")
        whole.update(own)
        own = json.loads(fusioninn.settled(whole).to_json())
    prior = config.prior if "prior" in config else config.losses.prior
    modalities = tuple(config.get("modalities", modalities))
    return ml_collections.ConfigDict({"model": {"name": name, name: own}, "prior": prior, "modalities": modalities})


def to_bytes(variables: Variables, config: ml_collections.ConfigDict) -> tuple[str, bytes]:
    """What `save` writes.

    Args:
      variables: of the model.
      config: as for `save`.

    Returns:
      the JSON text and the content of the .npz.
    """
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: _compact(np.asarray(leaf)) for name, leaf in _flat(variables).items()}
    np.savez_compressed(buffer, **arrays)
    return json.dumps(json.loads(describe(config).to_json()), indent=2) + "\n", buffer.getvalue()


def halved(variables: Variables) -> Variables:
    """The variables with every weight rounded to half precision, which takes half the bytes in the file.

    Args:
      variables: of a model, float32; the types stay as they are.
    """
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float16).astype(leaf.dtype), variables)


def _compact(array: np.ndarray) -> np.ndarray:
    """As float16 where that loses nothing."""
    if array.dtype != np.float32:
        return array
    half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array


def from_bytes(text: str, weights: bytes) -> TrainedModel:
    """Undoes `to_bytes`.

    Args:
      text: the configuration, JSON.
      weights: the content of the .npz.

    Raises:
      ValueError, KeyError: weights and configuration that do not fit together.
    """
    config = ml_collections.ConfigDict(json.loads(text))
    prior = limits.LIMITS["losses.prior"]
    if not prior.allows(config.prior):
        raise ValueError(f"prior: is none of the known ones; give {prior.wanted}")
    named = config.get("modalities", ())
    if not isinstance(named, list | tuple) or not all(isinstance(name, str) for name in named):
        raise ValueError("modalities: is no list of names")
    model = _model(config.model.to_json(sort_keys=True))
    image = jax.ShapeDtypeStruct((1, 16, 16, 1), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *[image] * (model.sources or 2))
    places = _flat(shapes)
    declared = numpy_files.npz_headers(weights)  # compared before anything is decompressed
    wrong = sorted(
        name
        for name in places.keys() | declared.keys()
        if name not in places
        or name not in declared
        or places[name].shape != declared[name].shape
        or declared[name].dtype.kind != "f"
    )
    if wrong:
        where = next((name for name in wrong if name in places), "an array that the model does not have")
        raise ValueError(f"its weights and its configuration differ at {where}")
    arrays = numpy_files.read_npz(weights)
    leaves = [arrays[name].astype(place.dtype) for name, place in places.items()]
    variables = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    return TrainedModel(model, variables, config)


@functools.lru_cache(maxsize=8)
def _model(settings: str) -> FusionModel:
    """One object for equal settings, so that what jax compiled for it is found again."""
    config = json.loads(settings)
    return models.get(config["name"], config[config["name"]])


def fingerprint(variables: Variables, config: ml_collections.ConfigDict) -> str:
    """Tells two models apart: 16 hexadecimal digits of a hash over settings and weights.

    Args:
      variables: of the model.
      config: as for `save`.
    """
    digest = hashlib.sha256(json.dumps(json.loads(describe(config).model.to_json()), sort_keys=True).encode())
    for name, value in _flat(variables).items():
        array = np.ascontiguousarray(value)
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _flat(tree: Variables) -> dict[str, jax.Array]:
    """Leaves by their place, `params/1/subnet1/conv1/kernel`."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {"/".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path): leaf for path, leaf in leaves}
