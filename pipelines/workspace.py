"""The run folder: paths, manifest, which stage is up to date, and a lock against two runs at once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mapping.files import (
    is_temporary,
    locked_file,
    make_folder,
    remove_abandoned,
    remove_file,
    write_text_atomic,
)
from mapping.reading.documents import read_json
from mapping.reading.files import file_sha256, read_head, shown
from pipelines.peak_memory import PeakMemory

if TYPE_CHECKING:
    from mapping.mesh.mesh import Mesh
    from pipelines.frame import FrameSequence
    from scenegraph.graph import SceneGraph
    from scenegraph.ground import Ground

RUN_FORMAT, MANIFEST_VERSION = "m2h-run", 1
LOCK = ".lock"
VOLUME_FILE = "volume.npz"
STAGE_FIELDS: dict[str, type | tuple[type, ...]] = {
    "key": str,
    "seconds": (int, float),
    "peak_memory_mb": (int, float),
    "outputs": dict,
    "warnings": list,
    "summary": dict,
}
"""What the record of a stage must contain, and of which type."""
RECORDING = "recording"
"""The manifest's entry for the path of a plain recording, whose posed frames are the input."""
INPUT_FIELDS = ("name", "format", "path", "fingerprint")
LONGEST_STAGE = 1e9
"""Seconds of a stage, or MiB of its memory: larger numbers are damage."""


class WorkspaceError(ValueError):
    """A run folder that cannot be used; the message names it and says why."""


class WorkspaceBusyError(WorkspaceError):
    """A run folder in which another process is at work."""


def digest(*parts: Any) -> str:
    """A short hash of JSON-able values that is the same in every process."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder_fingerprint(path: Path) -> str:
    """A hash of the names, sizes and times of all files under `path` (or of one file): changes when the input does.

    Run folders below `path` are results, not input, and do not count.
    """
    if path.is_file():
        stat = path.stat()
        return digest(path.name, stat.st_size, stat.st_mtime_ns)
    return digest(sorted(_files_below(path, "", set())))


class InputWatch:
    """Notices that files are changed or removed while a run reads them: its results would be of neither state."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._before = {path: self._state(path) for path in dict.fromkeys(paths)}

    def check(self) -> None:
        """Raises WorkspaceError that names the first file that is no longer as it was; new ones do not matter."""
        for path, before in self._before.items():
            now = self._state(path)
            for name, state in before.items():
                if now.get(name) != state:
                    raise WorkspaceError(
                        f"{path / name}: was changed or removed while the run read it; run it again when it stays as it is"
                    )

    @staticmethod
    def _state(path: Path) -> dict[str, tuple[int, int]]:
        """Size and time of every file by its name below the path; the name of a single file is empty."""
        if path.is_dir():
            return {name: (size, time) for name, size, time in _files_below(path, "", set())}
        return {"": (path.stat().st_size, path.stat().st_mtime_ns)} if path.is_file() else {}


def input_fingerprint(sequence: FrameSequence) -> str:
    """What the manifest calls the input's fingerprint: the sequence's files and how they are read."""
    return digest(folder_fingerprint(sequence.path), sequence.format)


def _files_below(folder: Path, prefix: str, seen: set[Path]) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of every file; links to folders are followed, each folder once."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                if not is_run_folder(Path(entry.path)) and not is_temporary(entry.name):
                    yield from _files_below(Path(entry.path), f"{prefix}{entry.name}/", seen)
            elif entry.is_file() and not is_temporary(entry.name):
                stat = entry.stat()
                yield prefix + entry.name, stat.st_size, stat.st_mtime_ns


def is_run_folder(path: Path) -> bool:
    """Whether a folder contains the manifest of a run."""
    try:
        return f'"format": "{RUN_FORMAT}"'.encode() in read_head(path / "manifest.json", WorkspaceError, 200)
    except WorkspaceError:
        return False


def read_record(path: Path) -> dict[str, Any]:
    """A JSON object that a stage wrote; raises WorkspaceError naming the file."""
    data = read_json(path, WorkspaceError)
    if not isinstance(data, dict):
        raise WorkspaceError(f"{path}: expected an object, found {type(data).__name__}")
    return data


def manifest_problem(manifest: Mapping[str, Any]) -> str:
    """What is wrong with the records of the stages or of the input, empty when nothing is."""
    given = manifest.get("input", {})
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        return "input: expected names, format, path and fingerprint as text"
    if given and set(INPUT_FIELDS) - set(given):
        return f"input: expected {', '.join(INPUT_FIELDS)}"
    stages = manifest.get("stages")
    if not isinstance(stages, dict):
        return "stages: expected an object {...}"
    return next(
        (f"stages.{name}: {problem}" for name, record in stages.items() if (problem := _stage_problem(record))), ""
    )


def _stage_problem(record: object) -> str:
    if not isinstance(record, dict) or any(not isinstance(record.get(key), kind) for key, kind in STAGE_FIELDS.items()):
        return f"expected {', '.join(STAGE_FIELDS)}"
    for key in ("seconds", "peak_memory_mb"):
        if not 0 <= record[key] < LONGEST_STAGE:
            return f"{key}: expected a number from 0 to {LONGEST_STAGE:g}, got {shown(record[key])}"
    if not all(isinstance(text, str) for text in (*record["outputs"].values(), *record["warnings"])):
        return "outputs and warnings: expected text"
    return ""


@dataclass
class StageRecord:
    """What a stage says of its work: a summary for people and machines, and warnings."""

    summary: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Workspace:
    """One run folder and its manifest.

    A stage is up to date when its key (code version, config, input and the keys of the stages before it) is the recorded one and
    all its files have the recorded hashes.
    """

    def __init__(self, root: Path) -> None:
        """Opens or creates the folder; raises WorkspaceError when it cannot be written, contains something else or a link,
        by which files outside would be written."""
        self.root = root
        try:
            make_folder(root)
        except OSError as error:
            raise WorkspaceError(f"{root}: cannot be made a run folder ({error.strerror})") from error
        if not os.access(root, os.W_OK | os.X_OK):
            raise WorkspaceError(f"{root}: cannot be written; choose another --out")
        refuse_links(root)
        is_ours = all(path.name == LOCK or is_temporary(path.name) for path in root.iterdir())
        if not is_ours and not (root / "manifest.json").exists():
            raise WorkspaceError(
                f"{root}: is not empty and no run folder (it has no manifest.json); choose another --out"
            )
        self.manifest: dict[str, Any] = self._load()
        if not self.path("manifest.json").exists():
            self.save()

    @staticmethod
    def open(root: Path) -> Workspace:
        """An existing run folder to read from, left as it is; raises WorkspaceError when there is none."""
        if not (root / "manifest.json").is_file():
            raise WorkspaceError(f"{root}: is no run folder (it has no manifest.json)")
        workspace = Workspace.__new__(Workspace)
        workspace.root = root
        workspace.manifest = workspace._load()
        return workspace

    def _load(self) -> dict[str, Any]:
        path = self.root / "manifest.json"
        if not path.exists():
            return {"format": RUN_FORMAT, "version": MANIFEST_VERSION, "stages": {}}
        try:
            data = read_record(path)
        except WorkspaceError as error:
            raise WorkspaceError(f"{error}; remove it to start again") from error
        if data.get("format") != RUN_FORMAT or data.get("version") != MANIFEST_VERSION:
            raise WorkspaceError(f"{path}: expected format {RUN_FORMAT} version {MANIFEST_VERSION}")
        problem = manifest_problem(data)
        if problem:
            raise WorkspaceError(f"{path}: {problem}; remove the file to start again")
        return data

    def path(self, name: str) -> Path:
        """Where a file of the run lies."""
        return self.root / name

    def _sha256(self, name: str) -> str:
        return file_sha256(self.path(name), WorkspaceError)

    def check_input(self, sequence: FrameSequence, fingerprint: str) -> None:
        """Raises WorkspaceError when the folder contains results of another sequence, by its path and its contents."""
        known = self.manifest.get("input", {})
        if not self.manifest["stages"] or known.get("fingerprint") == fingerprint:
            return
        if Path(known.get("path", sequence.path)).resolve() != sequence.path.resolve():
            raise self._other_map(known.get("name"), known["path"], sequence.name)

    def check_recording(self, path: Path, posed: Path) -> None:
        """Raises WorkspaceError when the folder has a map of something else than the plain recording `path`, posed in `posed`."""
        known = self.manifest.get(RECORDING)
        if known is None and self.manifest["stages"]:
            known = self.manifest.get("input", {}).get("path")  # of a version that noted no recording
            known = None if known == str(posed.resolve()) else known
        if known not in (None, str(path.resolve())):
            raise self._other_map(Path(str(known)).stem, known, path.resolve().stem)

    def _other_map(self, name: object, path: object, wanted: str) -> WorkspaceError:
        return WorkspaceError(
            f"{self.root}: contains a map of {name} ({path}), not of {wanted}; choose another --out, or give --overwrite"
        )

    def note_recording(self, path: Path) -> None:
        """Say in the manifest of which plain recording the posed frames are."""
        self.manifest[RECORDING] = str(path.resolve())
        self.save()

    def forget(self) -> None:
        """Count all stages as not run, forget the input, and remove what stages made of it."""
        made = {name for record in self.manifest["stages"].values() for name in record["outputs"]}
        kept = {key: value for key, value in self.manifest.items() if key not in ("input", RECORDING)}
        self.manifest = kept | {"stages": {}}
        self.save()
        for name in made:
            if not Path(name).is_absolute() and ".." not in Path(name).parts:  # the manifest may be anyone's
                remove_file(self.path(name))

    def save(self) -> None:
        """Write the manifest."""
        try:
            write_text_atomic(self.path("manifest.json"), json.dumps(self.manifest, indent=2, allow_nan=False) + "\n")
        except OSError as error:
            raise WorkspaceError(str(error)) from error

    def is_current(self, stage: str, key: str) -> bool:
        """Whether the stage ran with this key and its files are still what it wrote."""
        record = self.manifest["stages"].get(stage)
        if not record or record["key"] != key:
            return False
        return all(self.path(name).is_file() and self._sha256(name) == sha for name, sha in record["outputs"].items())

    def hashes_of(self, names: Iterable[str]) -> list[str]:
        """SHA-256 of each of the files that is there."""
        return [self._sha256(name) for name in names if self.path(name).is_file()]

    def keep_only(self, stages: Collection[str]) -> None:
        """Forget stages that a run with the present settings does not have."""
        others = set(self.manifest["stages"]) - set(stages)
        for name in others:
            del self.manifest["stages"][name]
        if others:
            self.save()

    def note_current(self, stage: str) -> None:
        """Say in the manifest that the latest run found the stage up to date."""
        if not self.manifest["stages"][stage].get("up_to_date"):
            self.manifest["stages"][stage]["up_to_date"] = True
            self.save()

    def summary(self, stage: str) -> dict[str, Any]:
        """What the stage noted when it last ran."""
        return dict(self.manifest["stages"][stage]["summary"])

    def record(
        self, name: str, key: str, config: Mapping[str, Any], outputs: Sequence[str], run: Callable[[], StageRecord]
    ) -> None:
        """Run a stage and keep what it returns when it ends well; `outputs` are the files that it writes, relative to the run."""
        if self.manifest["stages"].pop(name, None) is not None:
            self.save()  # its files are about to change: until it is done it counts as not run
        start = time.perf_counter()
        with PeakMemory() as memory:
            record = run()
        self.manifest["stages"][name] = {
            "key": key,
            "up_to_date": False,
            "config_hash": digest(config),
            "seconds": round(time.perf_counter() - start, 3),
            "peak_memory_mb": round(memory.mib, 1),
            "peak_memory_method": memory.method,
            "outputs": {output: self._sha256(output) for output in outputs if self.path(output).exists()},
            "warnings": record.warnings,
            "summary": record.summary,
        }
        self.save()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; raises WorkspaceBusyError while another process holds it.

        The kernel gives the lock back when its holder ends, however it ends, so a killed run never blocks the next one. What
        that run left of unfinished files is removed, and the manifest is read again, since the last holder may have changed it.
        """
        path = self.path(LOCK)
        try:
            file = locked_file(path)
        except BlockingIOError:
            raise WorkspaceBusyError(f"{self.root}: another run is at work in it (it holds {path.name})") from None
        except OSError as error:
            raise WorkspaceError(f"{self.root}: cannot be locked ({error.strerror})") from error
        with file:
            try:
                remove_abandoned(self.root, below=True)
                self.manifest = self._load()
                yield
            finally:
                remove_file(path)


def refuse_links(folder: Path) -> None:
    """Raise WorkspaceError where there is a link in a run folder: what is written to it would be written elsewhere."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                raise WorkspaceError(f"{entry.path}: is a link, and a run folder has none; remove it")
            if entry.is_dir():
                refuse_links(Path(entry.path))


def load_run(run_folder: Path) -> tuple[Mesh, SceneGraph]:
    """Mesh and scene graph of a run; raises WorkspaceError when it has not come that far."""
    from mapping.mesh.io import read_mesh

    return read_mesh(_finished(run_folder, "mesh.ply")), load_graph(run_folder)


def load_graph(run_folder: Path) -> SceneGraph:
    """The scene graph of a run alone; raises WorkspaceError when it has not come that far."""
    from scenegraph.files.json_io import load_scene_graph

    return load_scene_graph(_finished(run_folder, "scene_graph.json"))


def load_ground(run_folder: Path) -> Ground:
    """What stands on the floors of a run's map; raises WorkspaceError when it has not come that far or is older."""
    from scenegraph.files.ground_file import read_ground

    return read_ground(_finished(run_folder, "ground.npz"))


def run_name(run_folder: Path) -> str:
    """What the input of a run is called; the folder's name where it does not say."""
    name = Workspace.open(run_folder).manifest.get("input", {}).get("name")
    return name or run_folder.resolve().name


def _finished(run_folder: Path, name: str) -> Path:
    """The path of a file that a finished run has."""
    path = Workspace.open(run_folder).path(name)
    if not path.is_file():
        raise WorkspaceError(f"{path}: is missing; finish the run first (m2h run ... --out {run_folder})")
    return path
