"""The numbers that the paper prints (arXiv 2403.15769): means over its own validation slices."""

from fusioninn_jax.score_names import of_decomposed, of_fused

SCORES = ("q_ssim", "q_fmi", "q_ncie", "q_xy_fusioninn", "q_p_fusioninn")  # the columns of Table 1

_TABLE1 = {
    "deepfuse": (0.927, 0.791, 0.806, 0.449, 0.766),
    "funfusean": (0.930, 0.845, 0.806, 0.481, 0.781),
    "half_unet": (0.933, 0.850, 0.805, 0.464, 0.774),
    "unet": (0.934, 0.835, 0.805, 0.420, 0.711),
    "unet_plus_plus": (0.937, 0.849, 0.805, 0.433, 0.739),
    "unet_3plus": (0.937, 0.849, 0.805, 0.434, 0.742),
    "ddfm": (0.921, 0.861, 0.806, 0.472, 0.702),
    "fusioninn": (0.927, 0.835, 0.806, 0.493, 0.783),
}
TABLE1 = {system: dict(zip(SCORES, values, strict=True)) for system, values in _TABLE1.items()}

MODALITIES = {"t1": "T1", "t1gd": "T1-Gd", "t2": "T2", "flair": "T2-FLAIR"}
DISPLAY_NAMES = {
    "deepfuse": "DeepFuse",
    "funfusean": "FunFuseAn",
    "half_unet": "Half-UNet",
    "unet": "UNet",
    "unet_plus_plus": "UNet++",
    "unet_3plus": "UNet3+",
    "ddfm": "DDFM",
    "fusioninn": "FusionINN",
    "mean": "mean of the sources",
    "max": "maximum",
    "laplacian_pyramid": "Laplacian pyramid",
    "wavelet": "wavelet",
    "guided_filter": "guided filter",
    "ssim_limit": "limit of SSIM",
}

# The columns of Table 2
SSIMS = (of_fused(1), of_fused(2), of_decomposed("ssim", 1, "float"), of_decomposed("ssim", 2, "float"))
_DEFAULT = (0.921, 0.933, 0.976, 0.972)
TABLE2 = {  # section -> row -> SSIMS
    "α (k = 3, λ = 0.8)": {
        "0.2": (0.903, 0.929, 0.930, 0.930),
        "0.5": _DEFAULT,
        "0.8": (0.926, 0.933, 0.927, 0.920),
        "1": (0.948, 0.898, 0.033, 0.004),
    },
    "λ (k = 3, α = 0.5)": {
        "0.8": _DEFAULT,
        "0.9": (0.925, 0.929, 0.974, 0.974),
        "0.99": (0.915, 0.928, 0.969, 0.974),
        "0.999": (0.935, 0.923, 0.937, 0.920),
    },
    "k (α = 0.5, λ = 0.8)": {
        "1": (0.914, 0.943, 0.151, 0.093),
        "2": (0.935, 0.923, 0.945, 0.928),
        "3": _DEFAULT,
        "4": (0.923, 0.936, 0.937, 0.939),
    },
    "z (α = 0.5, λ = 0.8)": {
        "0": (0.918, 0.930, 0.932, 0.928),
        "N(0, I)": _DEFAULT,
        "U[0, 1)": (0.924, 0.925, 0.958, 0.954),
        "1": (0.916, 0.929, 0.967, 0.969),
    },
}
