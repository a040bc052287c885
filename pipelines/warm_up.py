"""The kernels that a run needs, compiled or read from disk by a second thread while the first one reads and predicts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import scratch_folder


@contextmanager
def compiling_ahead() -> Iterator[None]:
    """Within, a thread uses each kernel once on an image of a few pixels, in the order of the stages.

    It shares nothing with the run but the kernels. An error there is left for the run to meet. At the end it stops after the
    kernels at hand, because a process must not end while it compiles.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="compiling") as pool:
        pool.submit(_take, use_kernels(), stop)
        try:
            yield
        finally:
            stop.set()


def _take(steps: Iterator[None], stop: threading.Event) -> None:
    for _ in steps:
        if stop.is_set():
            return


def use_kernels() -> Iterator[None]:
    """Do step by step what the stages do with volumes; labels are uint8, as most sequences and the network have them."""
    from mapping.depth.depth_weights import depth_weight
    from mapping.mesh.raycast import MeshCaster
    from mapping.tsdf.tsdf_config import TSDFConfig
    from mapping.tsdf.volume import TSDFVolume

    yield
    camera, pose = Intrinsics(8, 8, 3.5, 2.5, 8, 6), np.eye(4)
    depth, labels = np.ones((6, 8), np.float32), np.ones((6, 8), np.uint8)
    coarse = TSDFVolume(TSDFConfig(voxel_size=0.05, threads=1, carve=False))
    coarse.integrate(depth, camera, pose, labels=labels)
    yield
    coarse.extract_mesh()
    yield
    _compare_frames(depth, camera)
    yield
    weight = depth_weight(depth, camera)
    yield
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, threads=1))
    volume.integrate(depth, camera, pose, rgb=np.zeros((6, 8, 3), np.uint8), labels=labels, weight=weight)
    yield
    with scratch_folder() as folder:
        path = folder / "volume.npz"
        volume.save(path)
        mesh = TSDFVolume.load(path).extract_mesh()
    yield
    MeshCaster(mesh).cast(camera, pose)  # the report's pictures


def _compare_frames(depth: NDArray[np.float32], camera: Intrinsics) -> None:
    """What the motion stage compiles."""
    from scenegraph.motion.evidence import Comparison
    from scenegraph.motion.views import ViewsBuilder

    builder = ViewsBuilder(camera, 2, deepest=2.0)
    for frame in range(2):
        builder.add(frame, float(frame), depth, camera, np.eye(4))
    Comparison(builder.build()).freedom(0)
