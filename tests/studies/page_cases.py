"""Volumes with a brain in them, and what a page of a study holds, for the tests of pages."""

import base64
import json
import re
import zlib

import numpy as np

from tests.studies import cases

SIZE = (80, 72, 6)


def big(seed):
    """Voxels with much background around the brain."""
    content = np.zeros(SIZE, np.int16)
    content[12:44, 10:38] = np.maximum(cases.voxels(seed, (32, 28, 6)), 0)
    return content


def unpacked(page, key, shape, reference=None):
    """The bytes of a volume of the page, read independently of the page's own code."""
    residuals = np.frombuffer(
        zlib.decompress(base64.b64decode(re.search(rf'id="voxels-{key}">([^<]*)<', page)[1])), np.uint8
    ).reshape(shape)
    if reference is not None:
        return residuals + reference
    result = np.zeros((shape[0], shape[1] + 1, shape[2] + 1), int)
    for z, y, x in np.ndindex(*shape):
        left, above, corner = result[z, y + 1, x], result[z, y, x + 1], result[z, y, x]
        guess = (
            min(left, above)
            if corner >= max(left, above)
            else max(left, above)
            if corner <= min(left, above)
            else left + above - corner
        )
        result[z, y + 1, x + 1] = (residuals[z, y, x] + guess) % 256
    return result[:, 1:, 1:].astype(np.uint8)


def data_of(page):
    return json.loads(re.search(r'id="study">(.*?)</script>', page)[1])


def without_voxels(page):
    return re.sub(r'(id="voxels-[\w-]+">)[^<]*<', r"\1<", page)
