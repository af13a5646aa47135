"""What each number that is folded into a random key is for; two uses of one key never share a number.

| key | folded with | gives the key of |
|---|---|---|
| of the seed | a step's number, 0, 1, 2, … | that training step |
| | `INITIALISATION` | the first weights |
| | `VALIDATION` | evaluation while training |
| | `SCORING` | evaluation of a trained model |
| of a step | an example's place in the global batch, 0, 1, … | that example |
| | `STATISTICS` | what all devices draw alike: directions of the latent loss |
| of `VALIDATION`, `SCORING` | a slice's number in its split | that slice |
| of an example or slice | `STORAGE` | what storing its fused image draws; 0 and 1 are its two latents |
| of an example's change of intensity | `TONE` | its curves |
"""

import numpy as np

INITIALISATION = np.uint32(2**32 - 1)
VALIDATION = np.uint32(2**32 - 2)
SCORING = np.uint32(2**32 - 3)
STATISTICS = np.uint32(2**32 - 1)
STORAGE = np.uint32(2)
TONE = np.uint32(3)
