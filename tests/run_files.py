"""One small valid file of every kind of a run folder, and the reader of each."""

import json
import struct
from types import SimpleNamespace

import numpy as np
from helpers import box_mesh

from m2h.config import M2HConfig
from m2h.record import RECORD_KEY, CheckpointRecord
from mapping.camera import Intrinsics
from mapping.mesh.io import read_mesh, write_mesh
from mapping.tsdf.surface import SurfaceSums
from mapping.tsdf.tsdf_config import TSDFConfig
from mapping.tsdf.volume_io import VOXELS, VolumeSums, read_volume, write_volume
from pipelines.frame import FrameInfo
from pipelines.settings import PipelineConfig
from pipelines.sources.predictions import read_predictions
from pipelines.sources.source import DepthOrigin
from pipelines.sources.stored import index_of
from pipelines.stages import fuse as fusion
from pipelines.stages import refine_poses
from pipelines.stages.alignment_file import read_alignment
from pipelines.stages.context import RunContext
from pipelines.stages.motion_file import Motion, Runs, read_motion, write_motion
from pipelines.stages.planes_file import read_planes
from pipelines.workspace import Workspace, WorkspaceError
from scenegraph.corrections.entries import load_corrections
from scenegraph.files.ground_file import read_ground, write_ground
from scenegraph.files.json_io import load_scene_graph, save_scene_graph
from scenegraph.graph import SceneGraph
from scenegraph.ground import Ground
from scenegraph.labels import load_label_space, nyu40
from scenegraph.nodes import BuildingNode, StoreyNode
from scenegraph.tracks.detection import detections_from_json

MANIFEST = {
    "format": "m2h-run",
    "version": 1,
    "input": {"name": "s", "format": "tum", "path": "/s", "fingerprint": "f"},
    "stages": {
        "fuse": {
            "key": "k",
            "up_to_date": False,
            "seconds": 1.5,
            "peak_memory_mb": 90.0,
            "outputs": {"volume.npz": "00"},
            "warnings": ["thin"],
            "summary": {"frames": 3},
        }
    },
}
ALIGNMENT = {
    "format": "m2h-alignment",
    "version": 2,
    "pose_scale": 1.0,
    "depth_scale": 1.0,
    "frames": [
        {
            "index": 0,
            "scale": 1.1,
            "shift": 0.0,
            "residual": 0.1,
            "matches": 3,
            "outlier": False,
            "log_scale": [[0.1, 0.0]],
        }
    ],
}
DETECTIONS = [
    {
        "time": 0.5,
        "detections": [
            {
                **{"label_id": 31, "pixels": 40, "bearing": 0.1, "distance": 2.0, "low": [1, 0, 0], "high": [2, 1, 1]},
                **{"floor": 0.0, "cut": ["left"], "look": [None, [1, 2, 3]]},
            }
        ],
    }
]

CHECKPOINT = {
    "key": "k",
    "done": 1,
    "moving": DETECTIONS,
    "broken": [[0, "0.png: is truncated"]],
    "foreign_labels": [[0, [[255, 400]]]],
}
CORRECTIONS = """corrections:
  - rename: {object: chair, at: [1.2, 0.4, 0.5], to: sofa}
  - delete: {object: box, at: [0.1, 2.0, 0.2]}
"""
PLANES = {
    "cell": 0.2,
    "planes": [
        {
            "surface": "floor",
            "normal": [0.0, 0.0, 1.0],
            "offset": 0.5,
            "area": 2.0,
            "first_cell": [1, 2],
            "cells": ["01", "11"],
        }
    ],
}
POSES = {
    "refined": True,
    "camera": {"fx": 20.0, "fy": 20.0, "cx": 7.5, "cy": 5.5, "width": 16, "height": 12, "distortion": [0.5, 0, 0, 0]},
    "poses": {"0": np.eye(4).tolist()},
}


def write_checkpoint(path, **changes):
    record = json.loads(CheckpointRecord(M2HConfig.tiny(), metrics={"rmse": 0.5}).to_json()) | changes
    header = json.dumps({"__metadata__": {RECORD_KEY: json.dumps(record)}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def write_all(folder):
    """One small valid file of every kind."""
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (folder / "alignment.json").write_text(json.dumps(ALIGNMENT))
    (folder / "detections.json").write_text(json.dumps(DETECTIONS))
    (folder / "levelling.json").write_text(json.dumps({"T_input_world": np.eye(4).tolist()}))
    (folder / "planes.json").write_text(json.dumps(PLANES))
    write_motion(folder / "motion.json", Motion(2, {3: Runs((4, 6), np.array([[1, 3, 1], [9, 2, 2]]))}))
    (folder / "corrections.yaml").write_text(CORRECTIONS)
    (folder / "poses.json").write_text(json.dumps(POSES))
    (folder / "check.json").write_text(json.dumps({"epipolar_error": 0.5, "left_to_refinement": None}))
    (folder / "fusing.json").write_text(json.dumps(CHECKPOINT))
    (folder / "index.json").write_text(json.dumps({"source": "m2h", "fingerprint": "f", "notes": ["n"], "frames": [0]}))
    write_mesh(box_mesh(), folder / "mesh.ply")
    (folder / "ascii.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nproperty ushort label\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0 1\n1 0 0 1\n0 1 0 2\n3 0 1 2\n"
    )
    graph = SceneGraph(nyu40())
    building = graph.add(BuildingNode())
    storey = graph.add(StoreyNode((0.0, 2.5)))
    graph.connect(building, storey, kind="contains")
    save_scene_graph(graph, folder / "scene_graph.json")
    surface = SurfaceSums(
        row=np.zeros(1, np.int32),
        voxel=np.zeros(1, np.uint16),
        color=np.ones((1, 4), np.int32),
        lost=np.zeros(1, np.int32),
        label_voxel=np.zeros(1, np.int32),
        label=np.ones(1, np.uint16),
        evidence=np.ones(1, np.int32),
    )
    blocks = np.array([[0, 0, 0], [0, 0, 1]], np.int32)
    sums = VolumeSums(blocks, np.ones((2, 2, VOXELS), np.int32), surface, blocks, np.ones((2, VOXELS), np.int32))
    write_volume(folder / "volume.npz", TSDFConfig(), sums)
    np.savez_compressed(
        folder / "prediction.npz",
        depth=np.full((6, 8), 2, np.float32),
        labels=np.ones((6, 8), np.uint8),
        normals=np.full((6, 8, 3), [0, 0, -1], np.float16),
        confidence=np.full((6, 8), 0.5, np.float16),
    )
    bands = np.ones((1, 4, 5), np.uint32)
    write_ground(Ground(np.zeros(1), np.zeros(2), bands, 2 * bands), folder / "ground.npz")
    write_checkpoint(folder / "a.safetensors")
    classes = [
        {"id": 0, "name": "unknown", "kind": "unknown"},
        {"id": 1, "name": "bed", "kind": "object", "color": [1, 2, 3]},
    ]
    (folder / "labels.yaml").write_text(f"name: mine\nclasses: {classes}\n")


def read_levelling(path):
    """The transform of levelling.json as the stages ask for it."""
    workspace = SimpleNamespace(path=path.parent.joinpath)
    return RunContext(workspace, None, None, PipelineConfig(), print).T_input_world


def read_poses(path):
    """The sequence with the poses of poses.json."""
    camera = Intrinsics(20.0, 20.0, 7.5, 5.5, 16, 12)
    infos = (FrameInfo(0, 0.0, "0.png", True, "", np.eye(4), camera),)
    known = {"name": "s", "path": path.parent, "format": "tum", "world_up": None, "is_metric": True}
    return refine_poses.with_refined_poses(SimpleNamespace(**known, label_space=None, infos=infos), path)


def context_of(path):
    """Of a run of one frame whose depth comes from its poses."""
    infos = (FrameInfo(0, 0.0, "0.png", True, "", np.eye(4), Intrinsics(20.0, 20.0, 7.5, 5.5, 16, 12)),)
    workspace, source = SimpleNamespace(path=path.parent.joinpath), SimpleNamespace(depth_from=DepthOrigin.POSES)
    return RunContext(workspace, SimpleNamespace(infos=infos), source, PipelineConfig(), print, key="k")


def read_check(path):
    """What check.json says of the poses."""
    return [refine_poses._postponed(context_of(path)), refine_poses._reason_against(context_of(path))]


def read_record_of(path):
    from m2h.checkpoint import read_record as read

    return read(path)


READERS = {
    "manifest.json": lambda path: Workspace.open(path.parent),
    "alignment.json": read_alignment,
    "detections.json": lambda path: detections_from_json(json_of(path), str(path)),
    "index.json": index_of,
    "levelling.json": read_levelling,
    "check.json": read_check,
    "fusing.json": lambda path: fusion._load_checkpoint(context_of(path)),
    "motion.json": read_motion,
    "corrections.yaml": load_corrections,
    "planes.json": read_planes,
    "poses.json": read_poses,
    "mesh.ply": read_mesh,
    "ascii.ply": read_mesh,
    "scene_graph.json": load_scene_graph,
    "volume.npz": read_volume,
    "ground.npz": read_ground,
    "prediction.npz": read_predictions,
    "a.safetensors": read_record_of,
    "labels.yaml": lambda path: load_label_space(str(path)),
}


def json_of(path):
    from mapping.reading.documents import read_json

    return read_json(path, WorkspaceError)
