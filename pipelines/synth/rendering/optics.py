"""From linear light to the picture a small camera would take: exposure, motion blur, vignetting, tone curve, noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy import ndimage, special

from mapping.camera import Intrinsics
from pipelines.synth.rendering.kernels.film import Curves, FilmSettings, blur_along, expose, image_motion
from pipelines.synth.rendering.sight import camera_rays
from pipelines.synth.rendering.threads import spread

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

KEY = 0.26
"""Target geometric mean of a picture's linear light."""
BRIGHTEST = 1.5
"""Upper limit of linear light in metering, so that a window does not darken its room."""
ADAPTION = 1.2
"""Seconds over which the exposure adapts to the scene."""
ROWS = 32
"""Least number of rows per thread."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OpticsConfig:
    """Imperfections of the camera; zeros are a perfect one."""

    noise: float = Field(default=2.0, ge=0)
    """Standard deviation of the noise in dark parts, in display levels of 255."""
    vignetting: float = Field(default=0.25, ge=0, le=1)
    """Share of the light that is lost in the corners."""
    shutter: float = Field(default=0.006, ge=0)
    """Seconds of exposure: controls the blur from the camera's own motion."""
    wobble: float = Field(default=0.03, ge=0)
    """Standard deviation of the exposure from frame to frame, relative."""


def _tone_curve(entries: int = 4097) -> Floats:
    """Display value 0-255 of linear light, indexed by its square root from 0 to 4.

    Narkowicz's fit to the ACES filmic curve (2015), then sRGB.
    """
    light = np.linspace(0.0, 4.0, entries) ** 2
    filmic = np.clip(light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14), 0.0, 1.0)
    srgb = np.where(filmic < 0.0031308, 12.92 * filmic, 1.055 * np.maximum(filmic, 1e-9) ** (1 / 2.4) - 0.055)
    return np.asarray(255.0 * srgb, dtype=np.float32)


CURVES = Curves(_tone_curve(), special.ndtri((np.arange(4096) + 0.5) / 4096).astype(np.float32))


def meter(linear: Floats) -> float:
    """The brightness of a picture of linear light: geometric mean over pixels, bright ones capped."""
    return float(np.exp(np.log(np.clip(linear.mean(axis=-1), 1e-3, BRIGHTEST)).mean()))


def plan_exposures(brightness: Sequence[float], times: Array) -> Array:
    """Exposure factors (N,) of frames from what `meter` returns for each: slowly, half way from the sequence's to its own."""
    level = np.log(np.asarray(brightness, dtype=np.float64))
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    smooth = ndimage.gaussian_filter1d(level, max(ADAPTION / max(interval, 1e-6), 1e-3), mode="nearest")
    return np.asarray(KEY / np.exp(0.65 * smooth + 0.35 * level.mean()))


def develop(linear: Floats, exposure: float, config: OpticsConfig, rng: Generator) -> NDArray[np.uint8]:
    """(H, W, 3) linear light to the picture."""
    height, width = linear.shape[:2]
    factor = exposure * (1.0 + config.wobble * float(rng.standard_normal()))
    settings = FilmSettings(width, height, factor, config.vignetting, config.noise, int(rng.integers(1 << 62)))
    picture = np.zeros((height, width, 3), np.uint8)
    spread(expose, height, np.ascontiguousarray(linear), settings, CURVES, picture, grain=ROWS)
    return picture


def motion_blur(linear: Floats, depth: Floats, camera: Intrinsics, T_end_start: Array) -> Floats:
    """The mean of the picture over the shutter's time, with the pose at its middle.

    `T_end_start` (4, 4) is the camera at the start seen from that at the end. Pixels are carried along by their exact depth,
    evenly in time; moving bodies are blurred like their surroundings.
    """
    flow = np.zeros((depth.size, 2), np.float32)
    focal = np.array([camera.fx, camera.fy])
    directions = camera_rays(camera).reshape(-1, 3)
    spread(image_motion, len(flow), directions, depth.ravel(), T_end_start[:3], focal, flow)
    flow = flow.reshape(*depth.shape, 2)
    blurred = np.zeros_like(linear)
    spread(blur_along, len(linear), linear, flow, blurred, grain=ROWS)
    return blurred
