"""Does the fused picture show the tumour, and does it give both sources back: a row a patient, for any system.

    python benchmarks/conspicuity.py --workdir=runs/x                         # a training, its best checkpoint
    python benchmarks/conspicuity.py --model=mean --model=laplacian_pyramid   # training-free rules
    python benchmarks/conspicuity.py --pretrained                             # the model that ships

Patients are those with an annotation in --folder (default: $FUSIONINN_REALDATA), any collection that `data.brats`
reads; of each the --slices with most tumour, each slice brought to [0, 1] by its own minimum and maximum. Everything is
taken from 8 bits, decompositions with a fresh latent.

AUC: of grey value, the part of the tumour against other brain, which no part of the annotation claims; CNR: its
contrast-to-noise. Both pool the pixels of all slices of a patient, as do the latent's moments inside the brain; SSIMs
are means over slices. The last lines are the mean over patients and, column by column, the worst patient (of the
moments: the one farthest from N(0, I)).
"""

import argparse
import csv
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import jax.numpy as jnp
import numpy as np

from data.brats import layouts, reading
from fusioninn_jax import metrics, objective, pretrained, trained_model
from fusioninn_jax.anatomy import regions
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.metrics import conspicuity
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.runtime import errors
from fusioninn_jax.scoring import image_scores
from fusioninn_jax.storage import store
from fusioninn_jax.training import checkpoint

PARTS = ("oedema", "enhancing")
MEASURES = {"AUC": conspicuity.auc_of_levels, "CNR": conspicuity.contrast_to_noise_of_levels}
MOMENTS = {"mean": 0.0, "std": 1.0, "excess_kurtosis": 0.0, "autocorrelation": 0.0}  # what N(0, I) has
ABBREVIATIONS = {"t1gd": "T1-Gd", "flair": "FLAIR", "t1": "T1", "t2": "T2"}


def read_patient(subject, modalities, count):
    """(sources, labels) of the `count` slices with most tumour: (N, H, W, M) in [0, 1] and (N, H, W, 1)."""
    (block,) = reading.read_slices(subject, modalities, strict=False)
    chosen = np.sort(np.argsort((block.mask > 0).sum((1, 2, 3)), kind="stable")[-count:])
    sources, labels = block.sources[chosen], block.mask[chosen]
    low, high = sources.min((1, 2), keepdims=True), sources.max((1, 2), keepdims=True)
    return (sources - low) / np.where(high > low, high - low, 1), labels


def make_score(trained, names):
    """Fused image, conspicuity and SSIMs of a stack of slices, decomposition from 8 bits; compiled once a shape."""
    model = any_size(trained.model)

    @jax.jit
    def score(variables, stack, labels, key):
        sources = objective.split_sources(stack)
        fused, latent = model.fuse(variables, *sources)
        picture = store(fused, 8)
        brain = brain_mask(sources)
        other = conspicuity.other_brain(brain, labels)
        result = {}
        for label, image in (
            ("fused", picture),
            ("mean", sum(sources) / len(sources)),
            *zip(names, sources, strict=True),
        ):
            of_other = conspicuity.grey_levels(image, other).sum(0)
            for part in PARTS:
                of_part = conspicuity.grey_levels(image, labels == regions.SCORED[part]).sum(0)
                result |= {f"{part} {name}, {label}": measure(of_part, of_other) for name, measure in MEASURES.items()}
        result["fused SSIM"] = [metrics.decomposition_ssim(source, picture, mask=brain) for source in sources]
        if latent is None or model.decompose is None:
            return result
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(len(stack)))
        back = model.decompose(variables, store(fused, 8), objective.draw_latents(keys, trained.prior, latent))
        for place, mask in (("brain", brain), ("whole", None)):
            result[f"decomposed SSIM, {place}"] = [
                metrics.decomposition_ssim(source, image, mask=mask)
                for source, image in zip(sources, back, strict=True)
            ]
        return result | {"latent": latent[:, : stack.shape[1], : stack.shape[2]], "brain": brain}

    return score


def columns(result, names):
    """The result of `make_score` as {column: value} of one patient."""
    row = {
        f"{part} {measure}, {label}": float(result[f"{part} {measure}, {label}"])
        for part in PARTS
        for measure in MEASURES
        for label in ("fused", "mean", *names)
    }
    for kind in ("fused SSIM", "decomposed SSIM, brain", "decomposed SSIM, whole"):
        for name, values in zip(names, result.get(kind, ()), strict=False):
            row[f"{kind}, {name}"] = float(np.mean(values))
    if "latent" in result:
        moments = image_scores.LatentMoments()
        moments.add(np.asarray(result["latent"]), np.asarray(result["brain"]))
        row |= {f"z {name}": moments.summary()[name] for name in MOMENTS}
    return row


def print_tables(rows):
    """Tables of related columns: a line a patient, then the mean and the worst patient of each column."""
    everything = list(next(iter(rows.values())))
    groups = [
        [name for name in everything if name.startswith(start)]
        for start in (
            *[f"{part} {measure}" for part in PARTS for measure in MEASURES],
            "fused SSIM",
            "decomposed SSIM",
            "z ",
        )
    ]
    for group in filter(None, groups):
        print("\n| patient | " + " | ".join(group) + " |\n|---|" + "---|" * len(group))
        for patient, row in rows.items():
            print(f"| {patient} | " + " | ".join(_number(row[name]) for name in group) + " |")
        values = {name: np.array([row[name] for row in rows.values()]) for name in group}
        means = [_number(np.nanmean(of)) if np.isfinite(of).any() else "" for of in values.values()]
        print("| **mean** | " + " | ".join(means) + " |")
        print(
            "| **worst** | " + " | ".join(_worst(name, of, list(rows)) for name, of in values.items()) + " |",
            flush=True,
        )


def _number(value):
    return f"{value:.3f}" if np.isfinite(value) else ""


def _worst(name, values, patients):
    if not np.isfinite(values).any():
        return ""
    ideal = MOMENTS.get(name.removeprefix("z "))
    place = np.nanargmin(values) if ideal is None else np.nanargmax(np.abs(values - ideal))
    return f"{values[place]:.3f} {patients[place]}"


def systems(args):
    """(name, trained model) of each system asked for; by default the model that ships."""
    for workdir in args.workdir:
        trained = checkpoint.load(workdir, args.checkpoint)
        yield f"{workdir}, step {trained.step}", trained
    for folder in args.files:
        yield folder, pretrained.load(folder)
    for name in args.model:
        try:
            yield name, trained_model.training_free(name)
        except ValueError as error:
            raise errors.UserError(f"--model: {error}") from error
    if args.pretrained or not (args.workdir or args.files or args.model):
        yield "the shipped model", pretrained.load()


def find_patients(args, modalities):
    """The patients asked for that have an annotation and all modalities."""
    found = layouts.find_subjects(pathlib.Path(args.folder)).subjects
    wanted = [name for name in args.patients.split(",") if name]
    missing = set(wanted) - {subject.name for subject in found}
    if missing:
        raise errors.UserError(
            f"--patients: {args.folder} has no {', '.join(sorted(missing))}; it has "
            f"{', '.join(subject.name for subject in found)}"
        )
    chosen = [subject for subject in found if not wanted or subject.name in wanted]
    usable = [
        subject
        for subject in chosen
        if subject.annotation is not None
        and ("all" in subject.images or all(modality in subject.images for modality in modalities))
    ]
    left_out = [subject.name for subject in chosen if subject not in usable]
    if left_out:
        print(f"left out, without annotation or modality: {', '.join(left_out)}")
    if not usable:
        raise errors.UserError(
            f"{args.folder}: none of its patients has an annotation and {', '.join(modalities)}; "
            "give another --folder or --modalities"
        )
    return usable


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", action="append", default=[], help="of a training; repeatable")
    parser.add_argument("--files", action="append", default=[], help="of a model of two files; repeatable")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--model", action="append", default=[], help="a training-free rule, e.g. mean; repeatable")
    parser.add_argument("--pretrained", action="store_true", help="the shipped model, also where others are named")
    parser.add_argument(
        "--folder",
        default=os.environ.get("FUSIONINN_REALDATA"),
        help="of the patients, searched recursively; default: $FUSIONINN_REALDATA",
    )
    parser.add_argument("--patients", default="", help="names, set apart by commas; default: all with an annotation")
    parser.add_argument("--modalities", default="t1gd,flair", help="in the order in which the system was trained")
    parser.add_argument("--slices", type=int, default=6, help="of each patient, those with most tumour")
    parser.add_argument("--seed", type=int, default=0, help="of the fresh latents")
    parser.add_argument("--csv", help="also write one line a system and patient")
    args = parser.parse_args()
    if not args.folder:
        parser.error("give --folder, or set FUSIONINN_REALDATA")
    modalities = layouts.parse_modalities(args.modalities.split(","))
    names = [ABBREVIATIONS[modality] for modality in modalities]
    chosen = list(systems(args))
    patients = {
        subject.name: read_patient(subject, modalities, args.slices) for subject in find_patients(args, modalities)
    }
    lines = []
    for label, trained in chosen:
        score, key = make_score(trained, names), jax.random.key(args.seed)
        rows = {
            name: columns(jax.device_get(score(trained.variables, *images, key)), names)
            for name, images in patients.items()
        }
        print(f"\n## {label}")
        print_tables(rows)
        lines += [{"system": label, "patient": name, **row} for name, row in rows.items()]
    if args.csv:
        with open(args.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for line in lines for name in line)))
            writer.writeheader()
            writer.writerows(lines)
    return 0


if __name__ == "__main__":
    errors.cli(main)
