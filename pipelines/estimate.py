"""What a run will do and about how long it takes, said before it begins.

The seconds are those of runs on two cores of a server (benchmarks/results/quality.json and from_images.json), in proportion to
the pixels. Another machine, or one that has other work, is faster or slower by a factor.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.frame import FrameSequence, has_depth
from pipelines.loading import chosen_positions
from pipelines.reduced import reduced_camera
from pipelines.settings import PipelineConfig
from pipelines.sources.cost import is_costly
from pipelines.spacing import with_frames_decided

COSTLY, QUICK = 4.2, 0.32
"""Seconds per frame and megapixel: with the network and neighbouring images, and with depth that is only read."""
FIXED = 18.0
"""Seconds of a run whatever its length: imports, the check, graph and report of a few rooms."""
UNCERTAINTY = 2.0
"""Factor by which recordings, and machines of the kind, differ."""


@dataclass(frozen=True)
class Expectation:
    """What a run is about to do: its frames of those in the sequence, where depth comes from, and the seconds it may take."""

    frames: int
    of: int
    depth_from: str
    voxel: float
    seconds: tuple[float, float]

    def text(self) -> str:
        """One sentence for the user."""
        least, most = (duration(seconds) for seconds in self.seconds)
        return (
            f"mapping {self.frames} of {self.of} frames with {self.depth_from}, in voxels of {100 * self.voxel:g} cm; "
            f"estimate for two cores: {least} to {most}"
        )


def expected(sequence: FrameSequence, source: str, config: PipelineConfig) -> Expectation:
    """What `run` with these arguments will do, by the sequence's list of frames; raises SequenceError and SourceError as it.

    Code of others is not opened for it, but taken for a source that has to work for each frame.
    """
    name = source if source != "auto" else "recorded" if has_depth(sequence) else "m2h"
    costly = is_costly(source, sequence, config) is not False
    decided = with_frames_decided(config, sequence, is_costly=costly)
    positions = chosen_positions(sequence, decided.frames)
    side = decided.frames.longest_side
    cameras = [sequence.infos[position].intrinsics for position in positions]
    if isinstance(side, int):
        cameras = [reduced_camera(camera, side) for camera in cameras]
    cost = COSTLY if costly else QUICK
    megapixels = sum(camera.width * camera.height for camera in cameras) / 1e6
    middle = FIXED + cost * megapixels
    depth_from = {
        "recorded": "recorded depth",
        "m2h": "the shipped network",
        "multiview": "depth from neighbouring images",
    }.get(name, f"--source {name}")
    seconds = (middle / UNCERTAINTY, middle * UNCERTAINTY)
    return Expectation(len(positions), len(sequence), depth_from, config.tsdf.voxel_size, seconds)


def duration(seconds: float) -> str:
    """Seconds as people say them: 40 seconds, 3 minutes, 1.5 hours."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
