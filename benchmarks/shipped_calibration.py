"""Error bars of a model that saw simulated patients alone: learnt on others of them, tried on real ones.

    python benchmarks/shipped_calibration.py --folder=FOLDER             # the model that ships, as it stands
    python benchmarks/shipped_calibration.py --patients=16 --write       # learns them first, beside the model
    python benchmarks/shipped_calibration.py --files=MODEL --learn=A,B --try=C,D     # from real patients, on others

--folder: patients of any collection that `data.brats` reads, default $FUSIONINN_REALDATA; the slices with most tumour
of each. A row a patient: the share of brain pixels whose truth lies in the intervals of 50, 80 and 95 % about the mean
of 16 draws from a fused image of 8 bits.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import conspicuity, unseen
from fusioninn_jax import objective, pretrained
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.runtime import errors
from fusioninn_jax.scoring import uncertainty
from fusioninn_jax.studies import fusing
from fusioninn_jax.trained_model import calibration

MODALITIES = ("t1gd", "flair")


def pixels(trained, patients):
    """`uncertainty.Pixels` of patients, {name: sources (N, H, W, 2)}, slice by slice."""
    found = []
    for name, sources in patients.items():
        for number, image in enumerate(sources):
            stack, key = jnp.asarray(image[None]), jax.random.fold_in(jax.random.key(0), number)
            brain = np.asarray(brain_mask(objective.split_sources(stack))[..., 0])
            drawn = uncertainty.draws(trained.model, trained.variables, stack, key, uncertainty.SAMPLES)
            mean, spread = (np.asarray(of)[brain] for of in drawn)
            found.append((mean, spread, image[None][brain], np.full(len(mean), name)))
    return uncertainty.Pixels(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def simulated(first, count):
    """Some slices of patients that nobody trained on."""
    return {f"simulated {first + i}": unseen.patient(first + i)[0][::2] for i in range(count)}


def real(folder, names, count):
    """The slices with most tumour of the real patients of these names, commas between; of all where it is empty."""
    subjects = conspicuity.find_patients(argparse.Namespace(folder=folder, patients=names), MODALITIES)
    return {subject.name: conspicuity.read_patient(subject, MODALITIES, count)[0] for subject in subjects}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", default=str(pretrained.FOLDER), help="of the model; default: the one that ships")
    parser.add_argument("--patients", type=int, default=16, help="simulated ones, to learn from")
    parser.add_argument("--write", action="store_true", help="learn and keep, beside the model")
    parser.add_argument("--folder", default=os.environ.get("FUSIONINN_REALDATA"), help="of real patients")
    parser.add_argument("--learn", default="", help="real patients to learn from instead; kept nowhere")
    parser.add_argument("--try", dest="tried", default="", help="real patients to try; default: all")
    parser.add_argument("--slices", type=int, default=6, help="of each real patient")
    args = parser.parse_args()
    if args.learn and not args.folder:
        parser.error("--learn names patients of --folder; give it, or set FUSIONINN_REALDATA")
    trained = fusing.load(args.files)
    if args.write:
        known = pixels(trained, simulated(100, args.patients))
        fitted = calibration.fit(known.spread, known.error)
        print(calibration.save(args.files, fitted, pretrained.fingerprint(trained.variables, trained.config)))
        trained = trained._replace(calibration=fitted)
    if args.learn:
        known = pixels(trained, real(args.folder, args.learn, args.slices))
        trained = trained._replace(calibration=calibration.fit(known.spread, known.error))
    if trained.calibration is None:
        parser.error(f"{args.files}: has no error bars yet; give --write")
    tried = {} if args.learn else simulated(0, 4)
    if args.folder:
        tried |= real(args.folder, args.tried, args.slices)
    print(uncertainty.coverage_table(trained.calibration, pixels(trained, tried), MODALITIES))
    return 0


if __name__ == "__main__":
    errors.cli(main)
