"""The labels of the parts of a tumour: one meaning whatever the collection, none where the labels are others."""

import pytest

from fusioninn_jax import phantom
from fusioninn_jax.anatomy import regions


def test_every_collection_s_labels_are_ours():
    for table in regions.COLLECTIONS.values():
        assert table[0] == 0 and set(table.values()) - {0} <= set(regions.LABEL_NAMES)
        assert len(set(table.values())) == len(table)
        assert set(regions.SCORED.values()) <= set(table.values())


@pytest.mark.parametrize(
    "file_name, labels, expected",
    [
        ("p_seg.nii.gz", (1, 2, 4), "brats2018"),
        ("p_seg.nii.gz", (1, 2), "brats2018"),
        ("p_seg.nii.gz", (2, 4), "brats2018"),
        ("p-seg.nii.gz", (1, 2, 3), "brats2023"),
        ("p-seg.nii.gz", (1, 2, 3, 4), "brats2023"),
        ("p-seg.nii.gz", (2, 4), "brats2023"),  # oedema and the cavity of 2024
        ("tumour.nii.gz", (1, 2, 3), "brats2023"),
        ("BRATS_001.nii.gz", (1, 2), "msd"),
        ("BRATS_001.nii.gz", (1, 2, 3), "msd"),
        ("p_seg.nii.gz", (1,), None),
        ("p_seg.nii.gz", (255,), None),
        ("p_seg.nii.gz", (1, 2, 7), None),
        ("p_seg.nii.gz", (), None),
    ],
)
def test_whose_labels_an_annotation_has(file_name, labels, expected):
    assert regions.collection_of(file_name, labels) == expected


def test_a_dataset_s_own_names_must_confirm_the_parts():
    names = {str(label): name for label, name in regions.LABEL_NAMES.items()}
    assert regions.named(names) == regions.named(phantom.LABELS) == regions.SCORED
    assert regions.named({"2": "oedema"}) == {"oedema": regions.OEDEMA}
    assert regions.named({}) == regions.named({"1": "infarct", "2": "penumbra", "4": "oedema"}) == {}
