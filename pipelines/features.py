"""Features of the frames of a sequence, each found once however many ask for them."""

from __future__ import annotations

from mapping.multiview.features import Features, find_features
from pipelines.frame import Frame

MOST_FEATURES = 800
"""Features of a frame."""


class FrameFeatures:
    """Features by the position of their frame in a sequence. For one thread at a time."""

    def __init__(self) -> None:
        self._found: dict[int, Features] = {}

    def __contains__(self, position: int) -> bool:
        return position in self._found

    def __getitem__(self, position: int) -> Features:
        """Those that were found; raises KeyError for a frame of which none have been looked for."""
        return self._found[position]

    def find(self, position: int, frame: Frame) -> Features:
        """The features of the frame at a position."""
        if position not in self._found:
            self._found[position] = find_features(frame.rgb, MOST_FEATURES)
        return self._found[position]
