"""Joint augmentation that preserves geometry: whatever moves the pixels moves camera, normals and maps with them.

A point that a pixel shows before is shown by the matching pixel after, at the same camera coordinates (mirrored for a flip).
Pure functions on `Sample`; randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from m2h.data.sample import UNKNOWN_EDGE, Sample


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AugmentConfig:
    """Random changes of a training image; the defaults are those of the field on NYUDv2 (InvPT, MTMamba++)."""

    zoom: tuple[float, float] = (0.5, 2.0)
    """Range of the scale relative to the size that fills the crop; 1 is no zoom."""
    flip: float = 0.5
    """Probability of mirroring left to right."""
    brightness: float = 32.0
    """Largest change of brightness, of 255."""
    contrast: tuple[float, float] = (0.5, 1.5)
    """Range of the factor on the contrast."""
    saturation: tuple[float, float] = (0.5, 1.5)
    """Range of the factor on the saturation."""
    hue_deg: float = 18.0
    """Largest turn of the hue in degrees."""
    photometric: float = 0.5
    """Probability of each of the four changes of colour."""
    degrade: float = 0.0
    """Probability of each of the faults of small cameras: colour cast and gamma, blur, noise, JPEG blocks."""
    label_share: float = 0.75
    """Crops in which one class has a larger share of the known labels are drawn again, up to ten times."""

    def __post_init__(self) -> None:
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"AugmentConfig.zoom must be a range of positive factors, got {self.zoom}")
        for name in ("flip", "photometric", "degrade", "label_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"AugmentConfig.{name} must lie in 0-1, got {getattr(self, name)}")


def resized(sample: Sample, height: int, width: int) -> Sample:
    """The sample resampled to height x width pixels; depth stays metric, the camera's focal lengths change.

    Depth, labels and normals are taken from the nearest pixel, never mixed across edges; lines of edges survive shrinking.
    """
    rows, columns = sample.rgb.shape[:2]
    if (rows, columns) == (height, width):
        return sample
    sx, sy = width / columns, height / rows
    shrinking = sx < 1 or sy < 1

    def nearest(array: NDArray[Any] | None) -> Any:
        return None if array is None else cv2.resize(array, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    edges = sample.edges
    if edges is not None and shrinking:
        kernel = np.ones((max(1, round(1 / sy)), max(1, round(1 / sx))), np.uint8)
        edges = np.asarray(cv2.dilate(edges, kernel), dtype=np.float32)
    mode = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return replace(
        sample,
        rgb=np.asarray(cv2.resize(sample.rgb, (width, height), interpolation=mode), dtype=np.uint8),
        depth=nearest(sample.depth),
        labels=nearest(sample.labels),
        normals=nearest(sample.normals),
        edges=nearest(edges),
        hint=nearest(sample.hint),
        camera=None if sample.camera is None else sample.camera.resized(sx, sy),
    )


def cropped(sample: Sample, left: int, top: int, height: int, width: int) -> Sample:
    """The window of height x width pixels whose top-left pixel is (left, top); outside of the image all is unknown and grey."""
    rows, columns = sample.rgb.shape[:2]
    y0, y1 = max(top, 0), min(top + height, rows)
    x0, x1 = max(left, 0), min(left + width, columns)

    def window(array: NDArray[Any] | None, fill: float) -> Any:
        if array is None:
            return None
        out = np.full((height, width, *array.shape[2:]), fill, array.dtype)
        if y1 > y0 and x1 > x0:
            out[y0 - top : y1 - top, x0 - left : x1 - left] = array[y0:y1, x0:x1]
        return out

    return replace(
        sample,
        rgb=window(sample.rgb, 114),
        depth=window(sample.depth, 0),
        labels=window(sample.labels, 0),
        normals=window(sample.normals, 0),
        edges=window(sample.edges, UNKNOWN_EDGE),
        hint=window(sample.hint, 0),
        camera=None if sample.camera is None else sample.camera.cropped(left, top),
    )


def centre_crop(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample scaled until it fills `size` (H, W), and its middle."""
    rows, columns = sample.rgb.shape[:2]
    scale = max(size[0] / rows, size[1] / columns)
    height, width = (max(part, round(n * scale)) for n, part in zip((rows, columns), size, strict=True))
    return cropped(resized(sample, height, width), (width - size[1]) // 2, (height - size[0]) // 2, *size)


def flipped(sample: Sample) -> Sample:
    """The sample mirrored left to right; the x component of the normals changes its sign."""

    def mirror(array: NDArray[Any] | None) -> Any:
        return None if array is None else np.ascontiguousarray(array[:, ::-1])

    normals = mirror(sample.normals)
    return replace(
        sample,
        rgb=mirror(sample.rgb),
        depth=mirror(sample.depth),
        labels=mirror(sample.labels),
        normals=None if normals is None else normals * np.array([-1, 1, 1], np.float32),
        edges=mirror(sample.edges),
        hint=mirror(sample.hint),
        camera=None if sample.camera is None else sample.camera.flipped(sample.rgb.shape[1]),
    )


def recolored(rgb: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image (H, W, 3) with brightness, contrast, saturation and hue changed at random, in this order."""
    chosen = rng.random(4) < config.photometric
    amounts = rng.random(4)
    image = rgb.astype(np.float32)
    if chosen[0]:
        image += (2 * amounts[0] - 1) * config.brightness
    if chosen[1]:
        image *= _between(config.contrast, amounts[1])
    image = np.clip(image, 0, 255)
    if chosen[2] or chosen[3]:
        hsv = cv2.cvtColor(image / 255, cv2.COLOR_RGB2HSV)
        if chosen[2]:
            hsv[..., 1] = np.minimum(hsv[..., 1] * _between(config.saturation, amounts[2]), 1)
        if chosen[3]:
            hsv[..., 0] = (hsv[..., 0] + (2 * amounts[3] - 1) * config.hue_deg) % 360
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    return np.rint(image).astype(np.uint8)


CAST = 0.15
"""Largest relative change of a colour channel by a cast."""
GAMMA = 0.35
"""Largest change of the logarithm of gamma."""
NOISE = 8.0
"""Largest standard deviation of the noise, of 255."""
JPEG_QUALITY = (35, 90)


def degraded(rgb: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image (H, W, 3) with faults of small cameras, each with probability `share`."""
    chosen = rng.random(4) < share
    image = rgb
    if chosen[0]:
        values = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-GAMMA, GAMMA))
        gains = 1 + rng.uniform(-CAST, CAST, 3)
        table = np.clip(255 * values[:, None] * gains, 0, 255).astype(np.uint8)
        image = np.stack([table[:, c][image[..., c]] for c in range(3)], axis=-1)
    if chosen[1]:
        if rng.random() < 0.5:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2)), dtype=np.uint8)
        else:
            length = int(rng.integers(2, 5))
            shape = (length, 1) if rng.random() < 0.5 else (1, length)
            image = np.asarray(cv2.blur(image, shape), dtype=np.uint8)
    if chosen[2]:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(1, NOISE))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if chosen[3]:
        quality = int(rng.integers(*JPEG_QUALITY))
        _, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(buffer, cv2.IMREAD_COLOR), dtype=np.uint8)  # noqa: TID251 - of no file
    return image


def augmented(
    sample: Sample, size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator
) -> tuple[Sample, float]:
    """A random crop of `size` (H, W) from the sample at a random zoom, mirrored and recoloured at random; and that zoom.

    At zoom 1 the image just fills the crop, whatever its aspect ratio; below, the rest of the crop is unknown.
    """
    sample, zoom = zoomed(sample, size, config, rng)
    if rng.random() < config.flip:
        sample = flipped(sample)
    rgb = degraded(recolored(sample.rgb, config, rng), config.degrade, rng)
    return replace(sample, rgb=rgb), zoom


def zoomed(
    sample: Sample, size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator
) -> tuple[Sample, float]:
    """A random crop of `size` (H, W) from the sample at a random zoom, and that zoom."""
    zoom = float(np.exp(rng.uniform(*np.log(config.zoom))))
    rows, columns = sample.rgb.shape[:2]
    scale = zoom * max(size[0] / rows, size[1] / columns)
    sample = resized(sample, max(1, round(rows * scale)), max(1, round(columns * scale)))
    return _random_crop(sample, size, config, rng), zoom


def _random_crop(sample: Sample, size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> Sample:
    rows, columns = sample.rgb.shape[:2]
    for _ in range(10):
        top, left = (_offset(whole, part, rng) for whole, part in ((rows, size[0]), (columns, size[1])))
        crop = cropped(sample, left, top, *size)
        if crop.labels is None:
            return crop
        counts = np.bincount(crop.labels[crop.labels > 0], minlength=2)
        if counts.sum() and counts.max() <= config.label_share * counts.sum():
            return crop
    return crop


def _offset(whole: int, part: int, rng: np.random.Generator) -> int:
    low, high = sorted((0, whole - part))
    return int(rng.integers(low, high + 1))


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + share * (bounds[1] - bounds[0])
