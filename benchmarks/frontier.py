"""The frontier: how well a lesion is seen in the fused picture, against how well both sources come back from it.

    python benchmarks/conspicuity.py --folder=FOLDER --model=mean --pretrained --files=A --files=B --csv=frontier.csv
    python benchmarks/frontier.py docs/results/frontier.csv --out=docs/results/frontier.png

The CSV has a line a system and patient, as `conspicuity.py --csv` writes it; a point is a system, its patients'
means, with a line down to its worst patient in each direction. Dotted: the oedema in the best source, and in the mean.
"""

import argparse
import csv
import sys

import numpy as np
from matplotlib.figure import Figure

AUC, DECOMPOSED = "oedema AUC", "decomposed SSIM, brain"


def read(path):
    """{system: (patients, 2)}: oedema AUC, and decomposed SSIM, mean of both sources; and references."""
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    sources = sorted(name for name in lines[0] if name.startswith(DECOMPOSED))
    systems = {}
    for line in lines:
        back = [float(line[name]) for name in sources if line[name]]
        systems.setdefault(line["system"], []).append([float(line[f"{AUC}, fused"]), np.mean(back) if back else np.nan])
    references = {
        name.removeprefix(f"{AUC}, "): np.nanmean([float(line[name]) for line in lines])
        for name in lines[0]
        if name.startswith(AUC) and not name.endswith("fused")
    }
    return {name: np.array(rows) for name, rows in systems.items()}, references


def draw(systems, references):
    """The figure."""
    figure = Figure((6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    best = max((name for name in references if name != "mean"), key=references.get)
    for name in (best, "mean"):
        axes.axhline(references[name], color="grey", linestyle=":", linewidth=1)
        axes.annotate(
            f"oedema in {'the plain mean' if name == 'mean' else name}",
            (0.01, references[name]),
            xycoords=("axes fraction", "data"),
            va="bottom",
            fontsize=7,
            color="grey",
        )
    for name, rows in systems.items():
        if np.isnan(rows[:, 1]).all():  # it cannot decompose
            continue
        (auc, back), worst = np.nanmean(rows, 0), np.nanmin(rows, 0)
        (points,) = axes.plot(back, auc, "o", label=name)
        axes.plot([back, worst[1]], [auc, auc], color=points.get_color(), linewidth=1)
    axes.legend(fontsize=7, loc="lower left")
    axes.set_xlim(right=1)
    axes.set(
        xlabel="decomposed SSIM inside the brain, both sources, mean and worst patient",
        ylabel="oedema AUC in the fused picture",
    )
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv")
    parser.add_argument("--out", required=True, help="the picture, .png or .svg")
    args = parser.parse_args()
    draw(*read(args.csv)).savefig(args.out, dpi=150)
    return 0


if __name__ == "__main__":
    sys.exit(main())
