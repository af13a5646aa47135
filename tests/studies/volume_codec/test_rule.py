"""The rule of a picture: what it says of the last source is worth its bits."""

import numpy as np

from fusioninn_jax.studies.volume_codec import codec, rule
from fusioninn_jax.studies.volume_codec.planes import Given
from tests.studies.volume_codec.planes_of_heads import head, plane


def test_a_picture_by_a_rule_is_worth_its_bits():
    """The last source must lie where the picture says: known bounds never exclude it, and make it cheaper."""
    sources = [plane(head(seed)) for seed in (1, 2, 3)]
    known = rule.mean_rule([s.levels for s in sources], [s.content for s in sources], 250)
    grey = plane(rule.picture(known, [s.levels for s in sources], [s.content for s in sources]).astype(np.int32))
    assert grey.top <= 250 and (grey.levels[sources[0].content > 0] > 0).all()
    sizes = []
    for chosen in (None, known):
        given = Given([grey, *sources[:-1]], chosen)
        data = codec.encode(sources[-1], given)
        np.testing.assert_array_equal(codec.decode(data, grey.levels.shape, given).levels, sources[-1].levels)
        sizes.append(len(data))
    assert sizes[1] < sizes[0]
