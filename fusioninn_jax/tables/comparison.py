"""Systems scored on the same images, beside the paper's numbers and one another: the tables of Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from fusioninn_jax.score_names import BRAIN, FAIRNESS, OVER_MEAN, of_fused, of_part
from fusioninn_jax.scoring.score_table import Further, Row, summarise
from fusioninn_jax.scoring.statistics import BOOTSTRAP_SEED, Comparison, paired_bootstrap
from fusioninn_jax.tables import published, render
from fusioninn_jax.tables.systems import System

Costs = dict[str, dict[str, float | None]]  # label of a system -> what it costs
REFERENCE = "fusioninn"  # the others are compared with it
LEVEL = 0.05
COLUMNS = {
    "q_ssim": "Q_SSIM",
    "q_fmi": "Q_FMI",
    "q_ncie": "Q_NCIE",
    "q_xy_fusioninn": "Q_XY, 3x3",
    "q_p_fusioninn": "Q_P, 11x11",
    "q_xy": "Q_XY",
    "q_p": "Q_P",
    of_fused(1): "SSIM with {0}",
    of_fused(2): "SSIM with {1}",
    FAIRNESS: "the worse SSIM",
}
OWN = (of_fused(1), of_fused(2), "q_xy", "q_p")
LESION = {"oedema": "oedema", "enhancing": "enhancing tumour", "core": "core"}
INSIDE = (of_fused(1), of_fused(2), FAIRNESS, "q_ssim", "q_fmi", "q_ncie", "q_xy", "q_p")
SIGNS = (
    f"* differs from {published.DISPLAY_NAMES[REFERENCE]} (p < {LEVEL}), whole patients resampled; † differs only "
    "if slices were independent, which those of one patient are not."
)


class Scored:
    """One system's scores: its summary and, per score, how it differs from the reference."""

    def __init__(self, system: System, rows: list[Row], further: Further) -> None:
        self.system, self.rows = system, {(row["subject"], row["slice_index"]): row for row in rows}
        self.overall: dict[str, dict[str, float]] = summarise(rows)["overall"]
        lesion = further.get("conspicuity") or {"overall": {}, "subjects": {}}
        self.lesion: dict[str, dict[str, Any]] = lesion["overall"]
        self.patients: dict[str, dict[str, float]] = lesion["subjects"]

    def compare(self, other: Scored, score: str) -> tuple[Comparison, Comparison]:
        """By `score`, this minus `other` on the same images: with patients, and with slices, as what is resampled."""
        images = list(self.rows)
        a, b = ([of.rows[image][score] for image in images] for of in (self, other))
        patients = [subject for subject, _ in images]
        return (
            paired_bootstrap(a, b, seed=BOOTSTRAP_SEED, clusters=patients),
            paired_bootstrap(a, b, seed=BOOTSTRAP_SEED),
        )

    def compare_lesion(self, other: Scored, score: str) -> Comparison:
        """By `score`, this minus `other` over the patients that have its part of the tumour."""
        patients = [subject for subject, values in self.patients.items() if score in values]
        a, b = ([of.patients[subject][score] for subject in patients] for of in (self, other))
        return paired_bootstrap(a, b, seed=BOOTSTRAP_SEED)


def _significant(comparison: Comparison) -> bool:
    return comparison.p_value < LEVEL and (comparison.low > 0 or comparison.high < 0)


def _cell(scored: Scored, reference: Scored | None, score: str) -> str:
    text = render.interval(scored.overall.get(score))
    if reference is None or scored is reference or score not in scored.overall:
        return text
    patients, slices = scored.compare(reference, score)
    return text + ("*" if _significant(patients) else "†" if _significant(slices) else "")


def _order(found: list[Scored]) -> list[tuple[str, list[Scored]]]:
    """The rows: the paper's systems in its order, run or not, then all others."""
    names = [
        *published.TABLE1,
        *dict.fromkeys(of.system.name for of in found if of.system.name not in published.TABLE1),
    ]
    return [(name, [of for of in found if of.system.name == name]) for name in names]


def _label(system: System) -> str:
    plain = published.DISPLAY_NAMES.get(system.name, system.name)
    return plain + system.label.removeprefix(system.name)


def _published_table(found: list[Scored], reference: Scored | None) -> render.Table:
    header = ["system"]
    for score in published.SCORES:
        header += [COLUMNS[score], "paper"]
    rows = []
    for name, of_name in _order(found):
        theirs = [f"{value:.3f}" for value in published.TABLE1[name].values()] if name in published.TABLE1 else [""] * 5
        lines = [
            (_label(scored.system), [_cell(scored, reference, score) for score in published.SCORES])
            for scored in of_name
        ] or [(published.DISPLAY_NAMES[name], ["not run"] * len(published.SCORES))]
        rows += [[label, *[cell for pair in zip(ours, theirs, strict=True) for cell in pair]] for label, ours in lines]
    return render.Table(
        "Fusion as the paper scores it, whole slices",
        header,
        rows,
        "Mean [bootstrap 95 % interval]; Q_XY and Q_P are of the image's centre, as published. " + SIGNS,
    )


def _score_table(
    title: str,
    found: list[Scored],
    reference: Scored | None,
    scores: tuple[str, ...],
    ending: str,
    modalities: list[str],
) -> render.Table:
    rows = [
        [_label(scored.system), *[_cell(scored, reference, score + ending) for score in scores]]
        for _, of_name in _order(found)
        for scored in of_name
    ]
    return render.Table(title, ["system", *[COLUMNS[score].format(*modalities) for score in scores]], rows, SIGNS)


def _lesion_table(found: list[Scored], reference: Scored | None, modalities: list[str]) -> render.Table | None:
    """How the parts of the tumour stand out in the sources and in each system's images; None without an annotation."""
    measured = [part for part in LESION if of_part("auc", part) in found[0].lesion]
    if not measured:
        return None
    header = ["system"]
    for part in measured:
        header += [f"{LESION[part]}: AUC", "over the plain mean", "worst patient", "contrast-to-noise"]
    rows = [
        [modality, *[cell for part in measured for cell in _lesion_in_source(found[0], i, part)]]
        for i, modality in enumerate(modalities, 1)
    ]
    rows += [
        [_label(scored.system), *[cell for part in measured for cell in _lesion_in_fused(scored, reference, part)]]
        for _, of_name in _order(found)
        for scored in of_name
    ]
    return render.Table(
        "Conspicuity of the tumour against other brain, by patient",
        header,
        rows,
        f"Mean over patients [bootstrap 95 % interval], at 8 bits. {SIGNS}",
    )


def _lesion_in_fused(scored: Scored, reference: Scored | None, part: str) -> list[str]:
    of, over_mean = (scored.lesion[of_part("auc", part, which)] for which in ("", OVER_MEAN))
    differs = (
        reference is not None
        and scored is not reference
        and _significant(scored.compare_lesion(reference, of_part("auc", part)))
    )
    return [
        render.interval(of, 3) + ("*" if differs else ""),
        f"{over_mean['mean']:+.3f}",
        f"{of['worst']:.3f} {of['worst_subject']}",
        render.interval(scored.lesion[of_part("cnr", part)], 2),
    ]


def _lesion_in_source(scored: Scored, source: int, part: str) -> list[str]:
    auc, cnr = (scored.lesion[of_part(measure, part, source)] for measure in ("auc", "cnr"))
    return [render.interval(auc, 3), "", f"{auc['worst']:.3f} {auc['worst_subject']}", render.interval(cnr, 2)]


def _cost_table(found: list[Scored], costs: Costs, size: tuple[int, int]) -> render.Table:
    def line(scored: Scored) -> list[str]:
        of = costs[scored.system.label]
        seconds, step = of["training_seconds"], scored.system.trained.step
        return [
            _label(scored.system),
            f"{of['parameters']:,}",
            f"{of['gflops']:.3g}",
            f"{of['milliseconds']:.3g}",
            "—" if step < 0 else f"{step}",
            "—" if seconds is None else f"{seconds / 60:.1f} min",
        ]

    rows = [line(scored) for _, of_name in _order(found) for scored in of_name]
    device = jax.devices()[0]
    return render.Table(
        f"Cost of fusing one pair of {size[0]}x{size[1]}",
        ["system", "parameters", "GFLOPs", "ms", "step", "training"],
        rows,
        f"On {jax.local_device_count()} {device.device_kind} device(s); GFLOPs as XLA counts them.",
    )


def tables(found: list[Scored], costs: Costs, modalities: Sequence[str], size: tuple[int, int]) -> list[render.Table]:
    """All tables of a comparison: the paper's, the metrics' own, the brain's, the tumour's and the costs.

    Args:
      found: the systems, scored on the same images.
      costs: of each, by its label, as `table1.measure_cost` gives them.
      modalities: names of the two sources.
      size: (H, W) of the pair that the costs are of.
    """
    reference, names = reference_of(found), list(modalities)
    made = [
        _published_table(found, reference),
        _score_table("The metrics of their own papers, whole slices", found, reference, OWN, "", names),
        _score_table("Inside the brain", found, reference, INSIDE, BRAIN, names),
        _lesion_table(found, reference, names),
        _cost_table(found, costs, size),
    ]
    return [table for table in made if table]


def reference_of(found: list[Scored]) -> Scored | None:
    """The system in `found` that the others are compared with; None where it is not among them."""
    return next((scored for scored in found if scored.system.name == REFERENCE), None)


def numbers(found: list[Scored], costs: Costs) -> list[dict[str, Any]]:
    """A record for each system and score: its mean and interval, the paper's value, how it differs, what it costs.

    Args:
      found: the systems, scored on the same images.
      costs: label of a system -> see `table1.measure_cost`.
    """
    reference = reference_of(found)
    records = []
    for scored in found:
        for score, value in (scored.overall | scored.lesion).items():
            record: dict[str, Any] = {
                "system": scored.system.label,
                "score": score,
                "worst": None,
                "worst_subject": None,
                **value,
                "paper": published.TABLE1.get(scored.system.name, {}).get(score),
            }
            records.append(record | _difference(scored, reference, score) | costs[scored.system.label])
    return records


def _difference(scored: Scored, reference: Scored | None, score: str) -> dict[str, float | None]:
    """How a system's score differs from the reference's; None where they cannot be compared."""
    names = ("difference", "difference_low", "difference_high", "p_patients", "p_slices")
    patients = slices = None
    if reference is not None and scored is not reference and score in reference.overall:
        patients, slices = scored.compare(reference, score)
    elif reference is not None and scored is not reference and score in reference.lesion:
        patients = scored.compare_lesion(reference, score)
    if patients is None:
        return dict.fromkeys(names)
    p_slices = None if slices is None else slices.p_value
    values = (patients.difference, patients.low, patients.high, patients.p_value, p_slices)
    return dict(zip(names, values, strict=True))
