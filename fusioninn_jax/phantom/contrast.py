"""MR contrast: relaxation parameters of the tissues, signal equations, bias field, point spread and noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from fusioninn_jax.phantom.fields import Grid, random_field

TISSUES = ("white", "grey", "fluid", "core", "oedema", "enhancing", "vessel")

# T1 at 1.5 T, T1 at 3 T, T2 (ms), relative proton density: representative values, not those of one paper.
# White and grey: T1 at 3 T from Wansapura et al. 1999 (JMRI 9:531); T1 at 1.5 T between Kwan, Evans and Pike 1999
# (BrainWeb, IEEE TMI 18:1085) and Stanisz et al. 2005 (MRM 54:507); T2 between Kwan and Wansapura; density as Kwan.
# Fluid: between Kwan's 1.5 T values and pure water. Tumour compartments: prolonged T1 and T2 of the order surveyed by
# Bottomley et al. 1987 (Med Phys 14:1) and Just and Thelen 1988 (Radiology 169:779); they vary most, see `_SPREAD`.
_RELAXATION = np.array(
    [
        [560.0, 832.0, 78.0, 0.77],  # white
        [920.0, 1331.0, 96.0, 0.86],  # grey
        [3200.0, 4000.0, 1200.0, 1.00],  # fluid
        [2000.0, 2500.0, 260.0, 0.97],  # core: necrosis
        [1200.0, 1600.0, 175.0, 0.90],  # oedema
        [1150.0, 1450.0, 125.0, 0.90],  # enhancing, before gadolinium
        [1450.0, 1650.0, 150.0, 0.90],  # blood in veins and choroid plexus, before gadolinium
    ]
)
_SOLID_CORE = np.array([1450.0, 1850.0, 200.0, 0.93])  # the core of a tumour that does not enhance
_SPREAD = np.array([0.05, 0.05, 0.03, 0.15, 0.12, 0.12, 0.08])  # relative standard deviation between subjects
_R1 = {1.5: 4.1, 3.0: 3.7}  # relaxivity of Gd-DTPA in plasma, 1/(s mM): Rohrer et al. 2005 (Invest Radiol 40:715)


class Scanner(NamedTuple):
    """One examination. Times in ms, flip angle in radians."""

    field: float  # tesla
    spin_echo: bool  # T1-Gd by spin echo, else by spoiled gradient echo
    t1_tr: float
    t1_te: float
    t1_flip: float
    flair_tr: float
    flair_te: float
    flair_ti: float
    flair_train: float  # length of the echo train
    snr: tuple[float, float]  # white-matter signal over noise, T1-Gd and FLAIR
    gain: tuple[float, float]  # white-matter signal in scanner units
    blur: tuple[float, float]  # point spread, mm
    bias: tuple[float, float]  # standard deviation of the log bias field


def random_scanner(rng: np.random.Generator) -> Scanner:
    """Sequence parameters in the ranges of clinical tumour protocols; TI nulls fluid of the tabulated T1.

    Args:
      rng: draws them.
    """
    field = float(rng.choice([1.5, 3.0]))
    spin_echo = field == 1.5 and bool(rng.random() < 0.6)
    tr, te, flip = (
        (rng.uniform(480, 650), rng.uniform(9, 14), np.pi / 2)
        if spin_echo
        else (rng.uniform(20, 30), rng.uniform(3, 5), np.deg2rad(rng.uniform(24, 32)))
    )
    flair_tr, train = rng.uniform(8500, 11000), rng.uniform(200, 320)
    fluid_t1 = _RELAXATION[2, 0 if field == 1.5 else 1]
    return Scanner(
        field,
        spin_echo,
        tr,
        te,
        flip,
        flair_tr,
        rng.uniform(85, 110),
        nulling_ti(fluid_t1, flair_tr, train),
        train,
        snr=_pair(rng, 25, 60, 20, 45),
        gain=_pair(rng, 350, 900, 200, 600),
        blur=_pair(rng, 0.35, 1.0, 0.5, 1.4),
        bias=_pair(rng, 0.02, 0.12, 0.02, 0.12),
    )


def _pair(rng: np.random.Generator, a0: float, a1: float, b0: float, b1: float) -> tuple[float, float]:
    return float(rng.uniform(a0, a1)), float(rng.uniform(b0, b1))


def random_relaxation(rng: np.random.Generator, field: float, necrosis: bool = True) -> np.ndarray:
    """T1 (ms), T2 (ms) and proton density of this subject's tissues: (tissues, 3), order as in `TISSUES`.

    Args:
      rng: draws the deviation from the table, log-normal and cut at two standard deviations.
      field: tesla, 1.5 or 3.
      necrosis: whether the tumour's core is necrotic, else solid without enhancement.
    """
    table = _RELAXATION.copy()
    if not necrosis:
        table[3] = _SOLID_CORE
    table = table[:, [0 if field == 1.5 else 1, 2, 3]]
    spread = _SPREAD[:, None] * np.array([1.0, 1.0, 0.2])
    return table * np.exp(spread * np.clip(rng.standard_normal(table.shape), -2, 2))


def nulling_ti(t1: float, tr: float, train: float) -> float:
    """Inversion time (ms) that nulls a tissue: the zero of `flair_signal`, T1 log(2 / (1 + exp(-(TR - train) / T1))).

    Args:
      t1: of the tissue, ms.
      tr: repetition time, ms.
      train: length of the echo train, ms.
    """
    return float(t1 * np.log(2 / (1 + np.exp(-(tr - train) / t1))))


def flair_signal(t1, t2, density, scanner: Scanner):
    """Inversion-recovery fast spin echo (De Coene et al. 1992; Hajnal et al. 1992), magnitude.

    density |1 - 2 exp(-TI/T1) + exp(-(TR - train)/T1)| exp(-TE/T2): the echo train leaves no longitudinal
    magnetisation, which then recovers for TR - TI - train, is inverted and recovers for TI.

    Args:
      t1: ms, number or array; likewise t2 (ms) and the relative proton density.
      t2: see t1.
      density: see t1.
      scanner: gives TR, TE, TI, train.
    """
    recovery = 1 - 2 * np.exp(-scanner.flair_ti / t1) + np.exp(-(scanner.flair_tr - scanner.flair_train) / t1)
    return density * np.abs(recovery) * np.exp(-scanner.flair_te / t2)


def t1_signal(t1, t2, density, scanner: Scanner):
    """T1-weighted spin echo or spoiled gradient echo (Haacke et al. 1999, "Magnetic Resonance Imaging", ch. 8 and 18).

    Spin echo: density (1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)) exp(-TE/T2). Gradient echo:
    density sin(a) (1 - E) / (1 - E cos(a)) with E = exp(-TR/T1); TE is far below T2*, whose decay is left out.

    Args:
      t1: ms, number or array; likewise t2 (ms) and the relative proton density.
      t2: see t1.
      density: see t1.
      scanner: says which of the two, and gives TR, TE and the flip angle a.
    """
    e1 = np.exp(-scanner.t1_tr / t1)
    if scanner.spin_echo:
        return density * (1 - 2 * np.exp(-(scanner.t1_tr - scanner.t1_te / 2) / t1) + e1) * np.exp(-scanner.t1_te / t2)
    return density * np.sin(scanner.t1_flip) * (1 - e1) / (1 - e1 * np.cos(scanner.t1_flip))


def with_gadolinium(t1, concentration, field: float):
    """T1 (ms) shortened by a contrast agent: 1/T1' = 1/T1 + r1 C (Rohrer et al. 2005).

    Args:
      t1: without it, ms.
      concentration: C, mM.
      field: tesla, 1.5 or 3.
    """
    return 1 / (1 / t1 + _R1[field] * concentration / 1000)


def rician(rng: np.random.Generator, signal: np.ndarray, sigma: float) -> np.ndarray:
    """Magnitude of a `signal` with complex Gaussian noise of `sigma` per channel (Gudbjartsson and Patz 1995).

    `rng` draws the noise.
    """
    real, imaginary = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(sigma)
    return np.hypot(signal + real, imaginary)


def acquire(
    rng: np.random.Generator,
    signal: np.ndarray,
    brain: np.ndarray,
    grid: Grid,
    scanner: Scanner,
    modality: int,
    unit: float,
) -> np.ndarray:
    """From ideal signal to what the scanner saves: point spread, bias field, noise, integers; then skull-stripped.

    Args:
      rng: noise and bias field.
      signal: (slices, rows, columns).
      brain: bool, same shape.
      grid: its pixels.
      scanner: see `Scanner`.
      modality: 0 for T1-Gd, 1 for FLAIR.
      unit: signal of white matter, set to the scanner's gain.

    Returns:
      float32 integers, at least 1 in the brain and exactly 0 outside.
    """
    blur = scanner.blur[modality] / float(grid.x[1] - grid.x[0])
    image = ndimage.gaussian_filter(signal * (scanner.gain[modality] / unit), (0, blur, blur), output=np.float32)
    # the brain's edge was blurred against the empty background: undo that
    coverage = ndimage.gaussian_filter(brain.astype(np.float32), (0, blur, blur))
    image = image / np.maximum(coverage, 0.2)
    image = image * np.exp(scanner.bias[modality] * random_field(rng, grid, 70.0))
    image = rician(rng, image, scanner.gain[modality] / scanner.snr[modality])
    return np.where(brain, np.clip(np.rint(image), 1, 32767), 0).astype(np.float32)
