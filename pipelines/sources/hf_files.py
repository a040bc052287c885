"""Checkpoints in the layout of the Hugging Face hub: a folder of this machine, or a name that is downloaded once.

Nothing here imports transformers. Of a checkpoint only tensors (safetensors) and JSON are used, never its code or pickles.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapping.reading.documents import parse_yaml, read_json
from mapping.reading.files import read_text
from pipelines.sources.source import SourceError
from pipelines.workspace import folder_fingerprint

INSTALL = "pip install 'm2h-mapping[hf]'"
WANTED = ["*.json", "*.safetensors", "README.md", "LICENSE*"]
"""Files of a repository of the hub that are downloaded."""
COMMIT = re.compile(r"[0-9a-f]{40}")
FREE_LICENCES = ("apache-2.0", "mit", "bsd", "cc-by-4.0", "cc0-1.0")
"""How licences begin that allow every use."""


@dataclass(frozen=True)
class HubCheckpoint:
    """A checkpoint on this machine: its `name` as given, the `folder` with its files, its `revision` (the commit, or for a local
    folder a hash of its files' names, sizes and times), the `licence` of its README, empty without one, and its config.json."""

    name: str
    folder: Path
    revision: str
    licence: str
    config: dict[str, Any]

    @property
    def title(self) -> str:
        """The last part of the name."""
        return Path(self.name).name

    @property
    def model_type(self) -> str:
        """The architecture, as transformers calls it."""
        return str(self.config.get("model_type", ""))

    @property
    def class_names(self) -> list[str]:
        """Names of the outputs of a classifier, in order; empty where the configuration has none of its own."""
        named = self.config.get("id2label")
        if not isinstance(named, dict) or not named:
            return []
        try:
            by_number = {int(number): str(name) for number, name in named.items()}
        except ValueError:
            return []
        names = [by_number.get(number, "") for number in range(max(by_number) + 1)]
        return [] if all(re.fullmatch(r"LABEL_\d+|", name) for name in names) else names

    def notes(self) -> list[str]:
        """What a user should know of its licence."""
        if self.licence.startswith(FREE_LICENCES):
            return []
        stated = f"has the licence {self.licence}" if self.licence else "states no licence"
        return [f"{self.name} {stated}: see what it allows before the map is used commercially"]


def find_checkpoint(spec: str) -> HubCheckpoint:
    """A local folder, or NAME or NAME@REVISION of the hub, which is downloaded where it is not in the hub's cache yet.

    A full commit that is in the cache needs no connection. Raises SourceError in one line.
    """
    local = Path(spec).expanduser()
    if local.is_dir():
        return _checkpoint(spec, local, folder_fingerprint(local))
    name, _, revision = spec.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+|[\w.-]+", name) or local.is_absolute():
        raise SourceError(
            f"--source hf: {spec}: neither a folder nor a name of the hub (OWNER/NAME or OWNER/NAME@COMMIT)"
        )
    folder = _downloaded(name, revision)
    return _checkpoint(name, folder, folder.name)


def _downloaded(name: str, revision: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise SourceError(f"--source hf needs transformers: {INSTALL}") from error
    known = {"repo_id": name, "revision": revision or None, "allow_patterns": WANTED}
    try:
        if COMMIT.fullmatch(revision):
            try:
                return Path(snapshot_download(**known, local_files_only=True))
            except LocalEntryNotFoundError:
                pass
        return Path(snapshot_download(**known))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SourceError(
            f"--source hf: {name}: not in the cache of the hub and cannot be downloaded ({reason}). Without a connection: "
            f"`hf download {name}` on another machine, and give the folder here"
        ) from error


def _checkpoint(name: str, folder: Path, revision: str) -> HubCheckpoint:
    path = folder / "config.json"
    if not path.is_file():
        raise SourceError(f"--source hf: {folder}: has no config.json; expected a checkpoint in the layout of the hub")
    config = read_json(path, SourceError)
    if not isinstance(config, dict):
        raise SourceError(f"{path}: expected an object, found {type(config).__name__}")
    if not list(folder.glob("*.safetensors")):
        raise SourceError(f"--source hf: {folder}: has no weights as safetensors, and others are not read")
    return HubCheckpoint(name, folder, revision, _licence(folder / "README.md"), config)


def _licence(readme: Path) -> str:
    """The licence that a model card states in its header, empty without one."""
    if not readme.is_file():
        return ""
    text = read_text(readme, SourceError)
    header = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    try:
        card = parse_yaml(header[1], str(readme), SourceError) if header else None
    except SourceError:
        return ""
    if not isinstance(card, dict):
        return ""
    stated = card.get("license_name") or card.get("license") or ""
    return ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated)
