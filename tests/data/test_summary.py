"""data.summary: what was left out, changed or joined is told; nothing else is."""

from data import summary


def test_of_what_is_as_expected_nothing_is_said():
    patients = {"patients": {"a": "a", "b": "b"}, "counts": {"slices": {"train": 3}}, "copies": []}
    assert list(summary.lines({})) == list(summary.lines(patients)) == []


def test_each_kind_of_thing_has_its_line():
    told = list(
        summary.lines(
            {
                "counts": {
                    "subjects_without_slices": 1,
                    "negative_voxels": {"a": 2, "b": 3},
                    "backgrounds": {"a": {"t1": -0.25, "t2": 7.0}},
                    "skipped": {"z": "no t1"},
                },
                "passed_over": {"x.mha": "not read here"},
                "without_slices": ["c"],
                "not_annotated": ["b"],
                "has_mask": True,
                "patients": {"a": "p", "b": "p", "c": "q"},
                "copies": ["a, b: identical images"],
            }
        )
    )
    assert told == [
        "image files passed over: 1",
        "  x.mha: not read here",
        "subjects of which no slice is kept: 1",
        "  c",
        "subjects without an annotation, whose slices are kept by their brain alone: 1",
        "  b",
        "3 subjects are scans of 2 patients; a patient's scans stay on one side of a split by patient",
        "  a, b: identical images",
        "negative voxels clipped to 0: 5 in 2 subjects: a 2, b 3",
        "background that is not 0, or not the smallest value, made 0 in 1 subjects: a t1 -0.25 t2 7",
        "skipped z: no t1",
    ]


def test_subjects_of_a_set_without_annotations_are_not_listed():
    assert list(summary.lines({"not_annotated": ["a", "b"], "has_mask": False})) == []


def test_long_lists_are_cut():
    names = [f"p{i}" for i in range(summary.SHOWN + 3)]
    assert list(summary.listed(names[:-3])) == [f"  {name}" for name in names[:-3]]
    assert list(summary.listed(names))[summary.SHOWN :] == ["  ... and 3 more, see metadata.json"]
    assert summary.inline(names) == ", ".join(names[:-3]) + ", ..."
    assert summary.inline(names[:2]) == "p0, p1"
