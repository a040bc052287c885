"""From linear light to the picture a small camera would take: exposure, motion blur, vignetting, tone curve, noise."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy import ndimage

from mapping.camera import Intrinsics
from pipelines.synth._shade import image_motion, tone_map
from pipelines.synth._threads import spread

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

KEY = 0.26
"""Exposed mean (geometric) of a picture's linear light."""
BRIGHTEST = 1.5
"""Linear light that counts at most in metering, so that a window does not darken its room."""
ADAPTION = 1.2
"""Seconds over which the exposure follows the scene."""
BLUR_SAMPLES = 5


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OpticsConfig:
    """What the camera adds to the picture; zeros make a perfect one."""

    noise: float = Field(default=2.0, ge=0)
    """Standard deviation of the noise in dark parts, in display levels of 255."""
    vignetting: float = Field(default=0.25, ge=0, le=1)
    """Share of the light that is lost in the corners."""
    shutter: float = Field(default=0.006, ge=0)
    """Seconds of exposure: how much the camera's own motion blurs."""
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


TONE_CURVE = _tone_curve()


def meter(linear: Floats) -> float:
    """The brightness of a picture of linear light: geometric mean over pixels, bright ones capped."""
    return float(np.exp(np.log(np.clip(linear.mean(axis=-1), 1e-3, BRIGHTEST)).mean()))


def plan_exposures(brightness: Sequence[float], times: Array) -> Array:
    """Exposure factors (N,) of frames from what `meter` says of each: half way to its own, slowly, from the sequence's."""
    level = np.log(np.asarray(brightness, dtype=np.float64))
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    smooth = ndimage.gaussian_filter1d(level, max(ADAPTION / max(interval, 1e-6), 1e-3), mode="nearest")
    return np.asarray(KEY / np.exp(0.65 * smooth + 0.35 * level.mean()))


def develop(linear: Floats, exposure: float, config: OpticsConfig, rng: Generator) -> NDArray[np.uint8]:
    """(H, W, 3) linear light to the picture."""
    height, width = linear.shape[:2]
    factor = exposure * (1.0 + config.wobble * float(rng.standard_normal()))
    u, v = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    fall = factor * (1.0 - config.vignetting * ((u**2 + v**2) / 2.0) ** 2)
    display = np.zeros((height * width, 3), np.float32)
    spread(tone_map, len(display), np.ascontiguousarray(linear).reshape(-1, 3), fall.ravel(), TONE_CURVE, display)
    display = display.reshape(height, width, 3)
    if config.noise > 0:
        grain = rng.standard_normal(display.shape, dtype=np.float32)
        display += np.float32(config.noise) * grain * (1.2 - display * np.float32(0.8 / 255))
    return np.clip(np.rint(display), 0, 255).astype(np.uint8)


def motion_blur(linear: Floats, depth: Floats, camera: Intrinsics, T_end_start: Array) -> Floats:
    """The mean of the picture over the shutter's time, in whose middle it was taken.

    `T_end_start` (4, 4) is the camera at the start seen from that at the end. Pixels are carried along by their exact depth,
    evenly in time; what moves by itself is blurred like its surroundings.
    """
    flow = np.zeros((depth.size, 2), np.float32)
    focal = np.array([camera.fx, camera.fy])
    directions = camera.rays().reshape(-1, 3)
    spread(image_motion, len(flow), directions, depth.ravel(), T_end_start[:3], focal, flow)
    flow = flow.reshape(*depth.shape, 2)
    u, v = np.meshgrid(np.arange(camera.width, dtype=np.float32), np.arange(camera.height, dtype=np.float32))
    total = np.zeros_like(linear)
    for share in np.linspace(-0.5, 0.5, BLUR_SAMPLES, dtype=np.float32):
        at = (u + share * flow[..., 0], v + share * flow[..., 1])
        total += cv2.remap(linear, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    total *= np.float32(1 / BLUR_SAMPLES)
    return total
