"""The pinhole camera of training images and views, and what changes of an image do to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in pixels of its image; pixel (0, 0) is the centre of the top-left one."""

    fx: float
    fy: float
    cx: float
    cy: float

    def resized(self, sx: float, sy: float) -> Camera:
        """The camera of the image resampled by the factors: `u' = (u + 0.5) s - 0.5`."""
        return Camera(self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5)

    def cropped(self, left: int, top: int) -> Camera:
        """The camera of the window whose top-left pixel was (left, top); negative numbers add pixels."""
        return Camera(self.fx, self.fy, self.cx - left, self.cy - top)

    def flipped(self, width: int) -> Camera:
        """The camera of the image of this width mirrored left to right."""
        return Camera(self.fx, self.fy, width - 1 - self.cx, self.cy)
