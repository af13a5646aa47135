"""Conspicuity patient by patient: against SciPy on the pooled pixels, over batches and processes, and its table."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from fusioninn_jax.anatomy import regions
from fusioninn_jax.scoring import lesion_scores, score_table
from tests import tolerances

SUBJECTS = ("p1", "p1", "p2", "p2", "p3", "p1")
SHAPE = (len(SUBJECTS), 30, 32, 1)


@pytest.fixture(name="images")
def images_fixture():
    """Two sources, a fused image and labels: p2 has no enhancing part, p3 no annotation, p1's last slice neither."""
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint8)
    labels[:4, 10:20, 10:20], labels[:2, 12:16, 12:16], labels[:4, 18:20, 18:20] = 2, 4, 1
    labels[4:] = 0
    base = np.round(255 * rng.random((2, *SHAPE))) / 255 * 0.7
    sources = np.float32(base + [0.2 * (labels == 4), 0.3 * (labels == 2)])
    sources[:, :, :4] = 0  # background
    fused = np.float32(0.4 * sources[0] + 0.5 * sources[1])
    return [np.float32(np.round(255 * image) / 255) for image in (*sources, fused)] + [labels]


def summary(images, batches=(slice(None),)):
    levels = lesion_scores.PatientLevels()
    for part in batches:
        x1, x2, fused, labels = (jnp.asarray(image[part]) for image in images)
        levels.add(SUBJECTS[part], np.asarray(lesion_scores.count_levels((x1, x2), fused, labels)))
    return levels.summary(regions.SCORED)


def pooled(image, labels, subject, label):
    """(values of the part, values of the other brain) in the subject's annotated slices."""
    own = np.array([s == subject for s in SUBJECTS]) & (labels > 0).any((1, 2, 3))
    inside = np.zeros(SHAPE, bool)
    inside[own] = True
    brain = np.zeros(SHAPE, bool)
    brain[:, 4:] = True
    return image[inside & (labels == label)].astype(float), image[inside & brain & (labels == 0)].astype(float)


@pytest.mark.parametrize("part, subject", [("oedema", "p1"), ("oedema", "p2"), ("enhancing", "p1"), ("core", "p2")])
def test_scores_are_of_the_pixels_of_all_annotated_slices_together(images, part, subject):
    x1, x2, fused, labels = images
    found = summary(images)["subjects"][subject]
    mean = np.round(255 * (x1 + x2) / 2) / 255
    for ending, image in (("", fused), ("_1", x1), ("_2", x2), ("_mean", mean)):
        a, b = pooled(image, labels, subject, regions.SCORED[part])
        expected = scipy.stats.mannwhitneyu(a, b).statistic / (a.size * b.size)
        atol = tolerances.HALVES_8BIT if ending == "_mean" else tolerances.METRIC_F32
        assert found[f"auc_{part}{ending}"] == pytest.approx(expected, abs=atol), ending
        assert found[f"cnr_{part}{ending}"] == pytest.approx((a.mean() - b.mean()) / b.std(), abs=10 * atol), ending
    best = max(abs(found[f"auc_{part}_{i}"] - 0.5) for i in (1, 2))
    assert found[f"auc_{part}_over_best"] == pytest.approx(
        abs(found[f"auc_{part}"] - 0.5) - best, abs=tolerances.ROUNDING_F32
    )
    assert found[f"cnr_{part}_over_mean"] == pytest.approx(
        abs(found[f"cnr_{part}"]) - abs(found[f"cnr_{part}_mean"]), abs=tolerances.SUM_F32
    )


def test_what_a_patient_lacks_is_missing_not_invented(images):
    found = summary(images)
    assert set(found["subjects"]) == {"p1", "p2"}
    assert "auc_oedema" in found["subjects"]["p2"] and "auc_enhancing" not in found["subjects"]["p2"]
    assert found["overall"]["auc_enhancing"]["mean"] == pytest.approx(found["subjects"]["p1"]["auc_enhancing"])
    json.dumps(found, allow_nan=False)
    nothing = [*images[:3], np.zeros(SHAPE, np.uint8)]
    assert summary(nothing) == {}


def test_only_the_parts_that_the_labels_stand_for_are_scored(images):
    levels = lesion_scores.PatientLevels()
    x1, x2, fused, labels = (jnp.asarray(image) for image in images)
    levels.add(SUBJECTS, np.asarray(lesion_scores.count_levels((x1, x2), fused, labels)))
    assert {name.split("_")[1] for name in levels.summary(["oedema"])["overall"]} == {"oedema"}
    assert levels.summary([]) == {}


def test_batches_and_processes_add_up_to_the_same(images):
    whole, parts = summary(images), summary(images, (slice(0, 3), slice(3, 4), slice(4, 6)))
    assert whole == parts
    total = lesion_scores.PatientLevels()
    for part in (slice(0, 3), slice(3, 6)):
        own = lesion_scores.PatientLevels()
        x1, x2, fused, labels = (jnp.asarray(image[part]) for image in images)
        own.add(SUBJECTS[part], np.asarray(lesion_scores.count_levels((x1, x2), fused, labels)))
        total.add_sums(json.loads(json.dumps(own.sums())))
    assert total.summary(regions.SCORED) == whole


def test_the_worst_patient_is_the_one_in_whom_the_part_shows_least(images):
    x1, x2, fused, labels = images
    hidden = fused.copy()
    hidden[2:4] = np.where(labels[2:4] == 2, 0.4, fused[2:4])  # p2's oedema becomes grey as the rest
    found = summary([x1, x2, hidden, labels])
    assert found["overall"]["auc_oedema"]["worst_subject"] == "p2"
    assert found["overall"]["auc_oedema"]["worst"] == found["subjects"]["p2"]["auc_oedema"]
    dark = summary([x1, x2, np.float32(1 - fused), labels])  # as conspicuous, but darker
    assert dark["subjects"]["p1"]["auc_oedema"] < 0.3
    assert dark["subjects"]["p1"]["auc_oedema_over_mean"] == pytest.approx(
        summary(images)["subjects"]["p1"]["auc_oedema_over_mean"], abs=tolerances.COARSE
    )


def test_table_and_csv_name_the_worst_patient(images, tmp_path):
    rows = [
        {
            "system": "ours",
            "subject": subject,
            "slice_index": i,
            "ssim_fused_1": 0.9 - 0.1 * (subject == "p2"),
            "fairness_brain": 0.5 + 0.1 * i,
        }
        for i, subject in enumerate(SUBJECTS)
    ]
    systems = {"ours": score_table.summarise(rows) | {"conspicuity": summary(images), "latent": {}}}
    report = {"dataset": "a/b", "split": "test", "modalities": ["t1gd", "flair"], "systems": systems}
    text = score_table.markdown(report)
    overall = systems["ours"]["conspicuity"]["overall"]
    assert f"{overall['auc_oedema']['worst']:.4f} {overall['auc_oedema']['worst_subject']}" in text
    worst = next(line for line in text.splitlines() if line.startswith("| **worst** |"))
    assert "0.8000 p2" in worst
    score_table.write_patients(tmp_path / "patients.csv", systems)
    header, *lines = (tmp_path / "patients.csv").read_text().splitlines()
    assert "auc_oedema_over_mean" in header and len(lines) == 3 and lines[2].startswith("ours,p3")
    bare = {"ours": systems["ours"] | {"conspicuity": {}}}
    assert "not measured" in score_table.markdown(report | {"systems": bare})
