"""Every tolerance of the suite, named once."""

GOLDEN_F64 = 1e-8  # our float64 against the authors' float64
TRAJECTORY_F64 = 1e-6  # 50 Adam steps accumulate rounding
LOSS_F32 = 1e-4  # relative
GRADIENT_F32 = 5e-3  # norm of the difference over the norm
ROUND_TRIP_F32 = 1e-5
ROUND_TRIP_WORST_F32 = 1e-4  # every block at the bound of its scale: exp(6) = 400 times the rounding
ROUND_TRIP_F64 = 1e-12
REBUILT_F64 = 1e-10  # gradients of the rebuilt pass against autodiff, norm of the difference over the norm
REBUILT_F32 = 1e-4
TRANSFORMED_F32 = 1e-4  # the same function, compiled in another way
ATAN_F32 = 2e-7  # relative: a unit and a half of the last bit
BFLOAT16 = 1e-2  # 8 bits of mantissa
DEVICES = 1e-5  # 1 device against 2, 4, 8
DEVICES_GRADIENT = 1e-4  # the same of a gradient's norm after a hundred steps
EM_FFT = 1e-7  # the authors transform in float32 within their float64 run
UNET_F32 = 1e-4
SAMPLE_F32 = 1e-3  # ten passes of the UNet
METRIC_F64 = 1e-6
METRIC_F32 = 1e-4
BASELINE = 1e-4  # the convolutional baselines, in either precision
# For what has no tolerance of its own: absolute in [0, 1], else relative.
ROUNDING_F32 = 1e-6  # some roundings of the last bit
SUM_F32 = 1e-5  # sums over an image
LONG_F32 = 1e-4  # many operations one after the other
GIVEN_F32 = 1e-7  # numbers given to so many digits
ROUNDING_F64 = 1e-12
SUM_F64 = 1e-10
LONG_F64 = 1e-9
DIFFERENCES_F64 = 1e-6  # relative: a derivative against central differences of step 1e-6
COARSE = 1e-3  # finite differences and approximations
CUT_TO_BRAIN = 1e-3  # a study cut to the box of its brain, 16 pixels wider, against whole slices: images and scores
HELP_SECONDS = 3.0  # of CPU time, until a command has printed its help
EVALUATOR = 2e-4  # of its value, a number of another program computed in float64
PLACE_MM = 1e-5  # of a place in millimetres, as a header holds it: float32, decimals
COLOUR_LEVELS = 1.0  # of 255: Pillow rounds its YCbCr to whole levels
JPEG_LEVELS = 2  # of 255, at its best quality
HUE_8BIT = 5e-3  # chroma in parts of white, of colours rounded to 8 bits
DRAWS = 0.02  # relative: statistics of 1e5 draws
GAP_BELOW_BRAIN = 0.025  # of the largest value: where a moved background lies, 2 % below the brain
# For what is estimated from random draws.
MONTE_CARLO = 0.05  # of an interval's width, at 10 000 resamples
ESTIMATED = 0.1  # relative: a spread, or an interval, of two samples
FITTED = 0.06  # relative: what is fitted to some hundred thousand errors
SHARE = 0.015  # absolute: a share of some ten thousand
SHARE_OF_PART = 0.03  # the same, among a part of them
# For what goes through a file of 8 bits.
LEVEL_8BIT = 0.5 / 255 + ROUNDING_F32  # half a grey level
SCORE_8BIT = 0.01  # a score of the image kept in 8 bits against that of the image in float
HALVES_8BIT = 2e-3  # AUC, where halves of a grey level round either way
