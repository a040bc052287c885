"""The focal length and the radial distortion that a sequence's own images, or its depth, and its poses say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mapping.camera import Intrinsics
from pipelines.checks.matches import ComparedPair, Kind, Lens, errors_shown, is_clear_gain, with_focal_factor

LEAST_PAIRS = 3
LEAST_MATCHES = 60
FACTORS = np.exp(np.linspace(np.log(0.6), np.log(1.6), 41))
"""Factors of the given focal length that are tried."""
LEAST_WARNED = 0.03
"""Relative deviation from which the given focal length is called wrong."""
GAIN: dict[Kind, float] = {"images": 0.03, "depth": 0.2}
"""Share by which the error must fall at least for another focal length or distortion to be reported."""
DRAWS = 100


@dataclass(frozen=True)
class FocalLength:
    """What the images say of the focal length, or the depth of frames.

    given and found are in pixels, along the width (of the median frame, where frames have cameras of their own), spread is the
    standard deviation of the second; error_given and error_found
    are the mean errors with each: epipolar ones in pixels, or relative ones of depth. k1 is the radial distortion that the images
    still have, 0 where none is proved. is_wrong is whether the given one is clearly off by more than 3 %.
    """

    given: float
    found: float
    spread: float
    error_given: float
    error_found: float
    k1: float
    pairs: int
    is_wrong: bool
    by: Kind = "images"

    def describe(self) -> str:
        """As a sentence for users."""
        lens = f", radial distortion k1 {self.k1:+.3f}" if self.k1 else ""
        what = (
            f"{self.found:.0f} pixels fit the {self.by} ({self.found - 2 * self.spread:.0f} to "
            f"{self.found + 2 * self.spread:.0f}{lens}; {errors_shown(self.by, self.error_found, self.error_given)})"
        )
        if self.is_wrong:
            return f"the focal length is given as {self.given:.0f} pixels, but {what}"
        return f"focal length {self.given:.0f} pixels as given; {what}"


def measure_focal_length(pairs: Sequence[ComparedPair]) -> FocalLength | None:
    """The focal length at which all pairs, of one kind, have the least error; None where there are too few, and of a camera that
    moves along without turning, where any focal length fits.

    The minimum over factors of the given one, its spread from draws of the pairs with repetition (the bootstrap).
    """
    if len(pairs) < LEAST_PAIRS or sum(pair.count for pair in pairs) < LEAST_MATCHES:
        return None
    kind, focal = pairs[0].kind, float(np.median([pair.a.intrinsics.fx for pair in pairs]))

    def times(factor: float) -> Lens:
        return partial(with_focal_factor, factor=factor)

    errors = np.array([[pair.error(lens=times(f)) for pair in pairs] for f in FACTORS])
    if not has_minimum(errors, GAIN[kind]):
        return None
    count = len(pairs)
    factor, spread = best_factor(FACTORS, errors)
    given = [pair.error() for pair in pairs]
    found = [pair.error(lens=times(factor)) for pair in pairs]
    k1 = 0.0
    if kind == "images":  # whose distortion the reader has removed; depth has none of its own
        factor, k1, found = _with_distortion(pairs, factor, found)
    return FocalLength(
        given=focal,
        found=focal * factor,
        spread=focal * spread,
        error_given=float(np.mean(given)),
        error_found=float(np.mean(found)),
        k1=k1,
        pairs=count,
        is_wrong=abs(factor - 1) > max(LEAST_WARNED, 3 * spread) and is_clear_gain(given, found, GAIN[kind]),
        by=kind,
    )


def has_minimum(errors: NDArray[np.float64], gain: float) -> bool:
    """Whether the errors (F, pairs) have a minimum: the least one is clearly below those of the factors at both ends."""
    best = int(errors.mean(axis=1).argmin())
    return all(is_clear_gain(errors[end], errors[best], gain) for end in (0, len(errors) - 1) if end != best)


def best_factor(factors: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float]:
    """Which of the factors (F,) has the least mean of errors (F, pairs), and its standard deviation over draws of the pairs."""
    count = errors.shape[1]
    rng = np.random.default_rng(0)
    shares = [rng.multinomial(count, np.full(count, 1 / count)) for _ in range(DRAWS)]
    drawn = [_least(factors, errors @ share) for share in shares]
    return _least(factors, errors.mean(axis=1)), float(np.std(drawn))


def _least(factors: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """The factor of least error (F,), between the tried ones by a parabola."""
    i = int(errors.argmin())
    if not 0 < i < len(errors) - 1:
        return float(factors[i])
    before, at, after = errors[i - 1 : i + 2]
    offset = 0.5 * (before - after) / max(before - 2 * at + after, 1e-12)
    return float(np.exp(np.interp(i + offset, np.arange(len(factors)), np.log(factors))))


def _with_distortion(
    pairs: Sequence[ComparedPair], factor: float, errors: list[float]
) -> tuple[float, float, list[float]]:
    """Factor, k1 and errors with the radial distortion that lowers them clearly; as they are where none does."""

    def of(values: NDArray[np.float64]) -> list[float]:
        def lens(camera: Intrinsics) -> Intrinsics:
            seen_through = with_focal_factor(camera, float(np.exp(values[0])))
            return replace(seen_through, distortion=(float(np.clip(values[1], -0.5, 0.5)), 0.0, 0.0, 0.0))

        return [pair.error(lens=lens) for pair in pairs]

    start = np.log(factor)
    simplex = np.array([[start, 0.0], [start + 0.01, 0.0], [start, 0.03]])
    best = minimize(
        lambda v: float(np.mean(of(v))),
        simplex[0],
        method="Nelder-Mead",
        options={"maxfev": 60, "initial_simplex": simplex},
    )
    after = of(best.x)
    if not is_clear_gain(errors, after, GAIN["images"]):
        return factor, 0.0, errors
    return float(np.exp(best.x[0])), float(np.clip(best.x[1], -0.5, 0.5)), after
