"""`m2h merge`: the maps of several recordings of one building in one run folder.

Each run is placed in the levelled world of the first one, the volumes are brought to its lattice and summed, and the graph is
built again from the sum. What was there on some visits and not on others would be carved out of the sum by those that saw it
gone: its surface is taken from the visit that saw most of it, and it gets presence intervals.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import write_text_atomic
from mapping.reading.files import file_sha256
from pipelines.config import load_config
from pipelines.merged_graph import GraphMaking, MergedMap, build_merged_graph
from pipelines.merged_surface import ChangingSurface, changing_surfaces, summed_volume
from pipelines.sequences.conventions import matrices_from_quaternions
from pipelines.sequences.text import number_rows
from pipelines.settings import PipelineConfig
from pipelines.stages.context import Progress
from pipelines.stages.map_files import GRAPH_FILES, GRAPH_INPUTS
from pipelines.stages.report import REPORT_FILES
from pipelines.versions import command_line, package_versions
from pipelines.visits import Register, load_visit, place, place_by_poses
from pipelines.workspace import VOLUME_FILE, StageRecord, Workspace, WorkspaceError, digest
from scenegraph.build import CameraTrajectory
from scenegraph.files import json_values as values
from scenegraph.visits.joined_presence import PlacedVisit
from scenegraph.visits.space import VisitMap

VISITS_FILE = "visits.json"
FORMAT = "merge"
PAUSE = 1.0
"""Least seconds between two visits whose clocks do not show which came first."""
VERSIONS = {"register": 1, "fuse": 1, "graph": 1, "report": 1}
OLD_RUN = "was made by an earlier version; map it again, or run `m2h graph` on it"


class MergeError(ValueError):
    """Raised for runs that cannot be merged; the message names the run and what was expected."""


@dataclass(frozen=True, eq=False)
class MergedRun:
    """One of the runs: its folder, its map, its cameras in its own levelled world, how its graph was made, and of which input."""

    folder: Path
    visit: VisitMap
    trajectory: CameraTrajectory
    how: dict[str, Any]
    input: dict[str, Any]


def merge_runs(
    runs: Sequence[Path],
    out: Path,
    *,
    register: Register = "auto",
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Merge finished runs of one building into the run folder `out`, and return its manifest; what is up to date is not redone.

    The merged world is the levelled one of the first run. `register` as for `compare_runs`.

    Raises MergeError, RegistrationError and WorkspaceError in one line.
    """
    folders = [Path(folder) for folder in runs]
    _check_folders(folders, Path(out))
    workspace = Workspace(Path(out))
    with workspace.lock():
        key = _write_header(workspace, folders, register)
        merger = _Merger(workspace, folders, register, progress)
        stages = (
            ("register", (VISITS_FILE,), merger.register),
            ("fuse", (VOLUME_FILE,), merger.fuse),
            ("graph", GRAPH_FILES, merger.graph),
            ("report", REPORT_FILES, merger.report),
        )
        for name, outputs, work in stages:
            key = digest(key, name, VERSIONS[name], *workspace.hashes_of(GRAPH_INPUTS if name == "graph" else ()))
            if workspace.is_current(name, key):
                workspace.note_current(name)
                progress(name, 0, 0)
            else:
                workspace.record(name, key, {}, outputs, work)
    return workspace.manifest


def _check_folders(folders: Sequence[Path], out: Path) -> None:
    if len(folders) < 2:
        raise MergeError("merge: expected at least two runs")
    names = [folder.resolve() for folder in folders]
    if len(set(names)) < len(names):
        raise MergeError(
            f"merge: {next(f for f, n in zip(folders, names, strict=True) if names.count(n) > 1)} is given twice"
        )
    if out.resolve() in names:
        raise MergeError(f"--out {out}: is one of the runs to be merged; choose another folder")
    for folder in folders:
        for name in ("scene_graph.json", "mesh.ply", VOLUME_FILE, "trajectory.tum"):
            if not Workspace.open(folder).path(name).is_file():
                raise MergeError(f"{folder / name}: is missing; finish the run with `m2h run` first")


def _write_header(workspace: Workspace, folders: Sequence[Path], register: Register) -> str:
    """Note in the manifest of what the map is; returns the digest of it. Raises WorkspaceError in a folder with another map."""
    hashes = [[file_sha256(folder / name, WorkspaceError) for name in GRAPH_FILES[:3]] for folder in folders]
    key = digest(hashes, register)
    known = workspace.manifest.get("input", {})
    if workspace.manifest["stages"] and known.get("format") != FORMAT:
        raise WorkspaceError(f"{workspace.root}: contains a map of {known.get('name')}; choose another --out")
    name = " + ".join(str(Workspace.open(folder).manifest["input"]["name"]) for folder in folders)
    workspace.manifest |= {
        "versions": package_versions(),
        "command": command_line(),
        "input": {"name": name, "format": FORMAT, "path": str(folders[0].resolve()), "fingerprint": key},
        "source": "several runs",
    }
    lines = [line for folder in folders for line in Workspace.open(folder).manifest.get("trust", [])]
    workspace.manifest["trust"] = list(dict.fromkeys(lines))
    workspace.save()
    return key


@dataclass
class _Merger:
    """The stages of a merge; the runs are loaded when the first stage that needs them is due."""

    workspace: Workspace
    folders: list[Path]
    how: Register
    progress: Progress
    _runs: list[MergedRun] | None = None
    _changing: list[ChangingSurface] | None = None

    @property
    def runs(self) -> list[MergedRun]:
        """All runs, loaded."""
        if self._runs is None:
            self._runs = [load_merged_run(folder) for folder in self.folders]
            _check_alike(self._runs)
        return self._runs

    def register(self) -> StageRecord:
        """Where each run lies in the first one's world and when, in visits.json."""
        placed = placed_runs(self.runs, self.how, partial(self.progress, "register"))
        text = json.dumps(placed, indent=2, allow_nan=False)
        write_text_atomic(self.workspace.path(VISITS_FILE), text + "\n")
        agreement = [f"{entry['agreement']:.0%}" for entry in placed[1:] if entry["agreement"] is not None]
        moved = [entry["run"] for entry in placed if entry["by"] == "geometry"]
        warnings = [f"{name}: placed by its surface, its poses do not fit" for name in moved]
        found = f", {', '.join(agreement)} of the common surface agrees" if agreement else ""
        text = f"{len(placed)} visits{found}"
        return StageRecord({"text": text, **_states(self.folders[0])}, warnings)

    def visits(self) -> list[PlacedVisit]:
        """The runs in the merged world and time."""
        path = self.workspace.path(VISITS_FILE)
        entries = values.sequence(_read_json(path), str(path))
        visits = []
        for run, entry in zip(self.runs, entries, strict=True):
            T = values.rigid(entry["T_world_visit"], f"{path}: T_world_visit")
            start, end = (float(time) for time in entry["times"])
            visits.append(PlacedVisit(run.visit, T, (start, end), float(entry["time_shift"])))
        return visits

    @property
    def changing(self) -> list[ChangingSurface]:
        """What some visits saw gone."""
        if self._changing is None:
            self._changing = changing_surfaces(self.visits())
        return self._changing

    def fuse(self) -> StageRecord:
        """The sum of all volumes, without what changes between the visits, in volume.npz."""
        volume = summed_volume(self.visits(), self.changing, partial(self.progress, "fuse"))
        volume.save(self.workspace.path(VOLUME_FILE))
        manifests = [Workspace.open(folder).manifest["stages"] for folder in self.folders]
        frames = sum(int(stages.get("fuse", {}).get("summary", {}).get("frames", 0)) for stages in manifests)
        text = f"{len(self.folders)} volumes, {frames} frames, {volume.memory_bytes / 2**20:.0f} MiB"
        return StageRecord({"frames": frames, "volume_bytes": volume.memory_bytes, "text": text})

    def graph(self) -> StageRecord:
        """Mesh and scene graph of the sum."""
        from mapping.tsdf.volume import TSDFVolume

        volume = TSDFVolume.load(self.workspace.path(VOLUME_FILE))
        visits, first = self.visits(), self.runs[0]
        how = GraphMaking.of(_settings_of(first.folder), first.how, first.visit.graph.label_space)
        merged = MergedMap(volume, visits, joined_trajectory(self.runs, visits), self.changing, how)
        entries = _read_json(self.workspace.path(VISITS_FILE))
        return build_merged_graph(self.workspace, merged, entries, partial(self.progress, "graph"))

    def report(self) -> StageRecord:
        """report.html and scene.html."""
        from pipelines.stages.report import write_run_report

        return write_run_report(self.workspace, str(self.workspace.manifest["input"]["name"]))


def _read_json(path: Path) -> Any:
    from mapping.reading.documents import read_json

    return read_json(path, WorkspaceError)


def _states(folder: Path) -> dict[str, Any]:
    """What is known of unit and up of the first run, whose world the merged one is."""
    stages = Workspace.open(folder).manifest["stages"]
    known = {"scale_state": "align", "up_state": "level"}
    return {key: stages.get(stage, {}).get("summary", {}).get(key) for key, stage in known.items()}


def _settings_of(folder: Path) -> PipelineConfig:
    return load_config(PipelineConfig, folder / "config.yaml", ())


def load_merged_run(folder: Path) -> MergedRun:
    """A finished run with its cameras; raises MergeError for one of an earlier version."""
    manifest = Workspace.open(folder).manifest
    how = manifest["stages"].get("graph", {}).get("summary", {}).get("how")
    if not isinstance(how, dict):
        raise MergeError(f"{folder}: {OLD_RUN}")
    path = folder / "trajectory.tum"
    rows = number_rows(path, (8,), "a pose `stamp tx ty tz qx qy qz qw`")
    poses = matrices_from_quaternions(rows[:, 1:4], rows[:, 4:], str(path))
    trajectory = CameraTrajectory(rows[:, 0], poses, Intrinsics(**how["camera"]))
    return MergedRun(folder, load_visit(folder), trajectory, how, manifest["input"])


def _check_alike(runs: Sequence[MergedRun]) -> None:
    """Raise MergeError for runs whose labels or voxels mean different things."""
    first = runs[0]
    for run in runs[1:]:
        mine, theirs = first.visit.graph.label_space, run.visit.graph.label_space
        if mine != theirs:
            raise MergeError(
                f"{run.folder}: uses label space {theirs.name}, {first.folder} {mine.name}; expected the same"
            )
        assert first.visit.volume is not None
        assert run.visit.volume is not None
        for name in ("voxel_size", "truncation_distance"):
            sizes = [getattr(one.visit.volume.config, name) for one in (first, run)]  # type: ignore[union-attr]
            if sizes[0] != sizes[1]:
                found = f"has a {name} of {sizes[1]:g} m, {first.folder} of {sizes[0]:g} m"
                raise MergeError(f"{run.folder}: {found}; map them with the same --voxel")


def placed_runs(runs: Sequence[MergedRun], register: Register, progress: Any) -> list[dict[str, Any]]:
    """For each run an entry of visits.json. Runs are placed by what they have in common with those that are placed already, the
    surest first, so that a chain of parts is joined part by part."""
    from mapping.mesh.mesh import concatenate

    placed: dict[int, tuple[NDArray[np.float64], float | None, str]] = {0: (np.eye(4), None, "first")}
    whole = runs[0].visit
    while len(placed) < len(runs):
        open_runs = [i for i in range(len(runs)) if i not in placed]
        if register == "poses":
            placed |= {i: (place_by_poses(runs[0].visit, runs[i].visit), None, "poses") for i in open_runs}
            break
        best, found = _surest(runs, whole, open_runs)
        placed[best] = (found.T_a_b, found.agreement, found.source)
        part, mesh = runs[best].visit.mesh, whole.mesh
        assert part is not None
        assert mesh is not None
        whole = replace(whole, mesh=concatenate([mesh, part.transformed(found.T_a_b)]))
        progress(len(placed), len(runs))
    times = _visit_times(runs)
    return [
        {
            "run": runs[i].folder.name,
            "T_world_visit": placed[i][0].tolist(),
            "by": placed[i][2],
            "agreement": placed[i][1],
            "time_shift": times[i][0],
            "times": [times[i][1], times[i][2]],
        }
        for i in range(len(runs))
    ]


def _surest(runs: Sequence[MergedRun], whole: VisitMap, numbers: Sequence[int]) -> tuple[int, Any]:
    """Number and registration of the run that has most in common with the map so far; raises the RegistrationError of the first
    when none fits."""
    from mapping.registration import RegistrationError

    found, errors = [], []
    for i in numbers:
        try:
            found.append((i, place(whole, runs[i].visit)))
        except RegistrationError as error:
            errors.append(
                RegistrationError(f"{runs[i].folder}: {error}; or place it by its poses with --register poses")
            )
    if not found:
        raise errors[0]
    return max(found, key=lambda entry: (entry[1].source == "poses", entry[1].overlap))


def _visit_times(runs: Sequence[MergedRun]) -> list[tuple[float, float, float]]:
    """Shift, start and end of each visit in merged time: recordings of one input share its clock, others that would overlap
    follow each other in the order given."""
    result: list[tuple[float, float, float]] = []
    for run in runs:
        start, end = float(run.trajectory.times[0]), float(run.trajectory.times[-1])
        twin = next(
            (k for k, other in enumerate(runs[: len(result)]) if other.input["path"] == run.input["path"]), None
        )
        shift = 0.0 if twin is None else result[twin][0]
        if twin is None and any(start <= other[2] and end >= other[1] for other in result):
            shift = max(other[2] for other in result) + PAUSE - start
        result.append((shift, start + shift, end + shift))
    return result


def joined_trajectory(runs: Sequence[MergedRun], visits: Sequence[PlacedVisit]) -> CameraTrajectory:
    """All cameras in the merged world and time, in the order of time."""
    parts = list(zip(runs, visits, strict=True))
    times = np.concatenate([run.trajectory.times + visit.shift for run, visit in parts])
    poses = np.concatenate([visit.T_world_visit @ run.trajectory.T_world_camera for run, visit in parts])
    order = np.argsort(times, kind="stable")
    return CameraTrajectory(times[order], poses[order], runs[0].trajectory.intrinsics)
