"""Furniture from OBJ catalogues: zip files with a `PluginFurnitureCatalog.properties` next to the models.

That is the format of Sweet Home 3D's furniture libraries (`*.sh3f`): numbered keys `name#3`, `category#3`, `model#3`
(member of the zip), `width#3`, `depth#3`, `height#3` (centimetres), `modelRotation#3` (nine numbers), `elevation#3`,
`dropOnTopElevation#3`, `creator#3`; `license` for the whole. Models are x right, y up, and face +z. Members are read
in memory; nothing is unpacked to disk.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from mapping.reading.archives import check_member, opened_archive
from mapping.reading.pictures import decode_image
from pipelines.synth.base.model import Model
from pipelines.synth.base.world import Material
from pipelines.synth.furniture.catalogue_names import ROLES, Role
from pipelines.synth.furniture.obj_model import ObjError, Target, parse_mtl, parse_obj, to_model

PROPERTIES = "PluginFurnitureCatalog.properties"
MAX_MEMBER_BYTES = 4 << 20
MOST_TRIANGLES_READ, MOST_TRIANGLES = 80000, 8000
INDOORS = frozenset({"living room", "bedroom", "bathroom", "kitchen", "office", "lights", "miscellaneous"})


class CatalogueError(ValueError):
    """Raised for a furniture catalogue that cannot be used; the message names the file, the entry and what was expected."""


@dataclass(frozen=True)
class Entry:
    """One model of a catalogue: its location, the role it can replace, true size in metres (width, depth, height), its credit."""

    archive: Path
    member: str
    name: str
    role: Role
    size: tuple[float, float, float]
    rotation: tuple[float, ...]
    top: float | None
    credit: str


def read_catalogues(folder: Path) -> tuple[Entry, ...]:
    """The usable entries of all `*.sh3f` and `*.zip` catalogues in a folder, by file name and number.

    Entries that have an unknown name, belong outdoors or hang at a height are ignored. Raises CatalogueError when the
    folder contains no catalogue, a file is not a zip, or an entry has invalid numbers.
    """
    files = sorted(path for pattern in ("*.sh3f", "*.zip") for path in folder.glob(pattern)) if folder.is_dir() else []
    if not files:
        raise CatalogueError(f"{folder}: expected a folder with furniture catalogues (*.sh3f or *.zip)")
    return tuple(entry for path in files for entry in _read_catalogue(path))


def _read_catalogue(path: Path) -> list[Entry]:
    with opened_archive(path, CatalogueError) as archive:
        text = _read_member(archive, PROPERTIES, path).decode("latin-1")
        members = set(archive.namelist())
    properties = parse_properties(text)
    licence = re.split(r"\s{2,}", properties.get("license", "unknown licence"))[0]
    numbers = sorted({int(key.partition("#")[2]) for key in properties if re.fullmatch(r"id#\d+", key)})
    entries = []
    for number in numbers:
        fields = {key: properties[f"{key}#{number}"] for key in _FIELDS if f"{key}#{number}" in properties}
        entry = _entry(path, number, fields, licence)
        if entry is not None and entry.member in members:
            entries.append(entry)
    return entries


_FIELDS = (
    "name",
    "category",
    "model",
    "width",
    "depth",
    "height",
    "elevation",
    "dropOnTopElevation",
    "modelRotation",
    "creator",
    "doorOrWindow",
)


def parse_properties(text: str) -> dict[str, str]:
    """Keys and values of a Java properties file: `#` and `!` comments, lines continued by a backslash, \\u escapes."""
    values: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n[ \t]*", "", text).splitlines():
        line = line.strip()
        if not line or line[0] in "#!":
            continue
        key, _, value = line.partition("=")
        values[key.strip()] = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m.group(1), 16)), value.strip())
    return values


def _entry(path: Path, number: int, fields: Mapping[str, str], licence: str) -> Entry | None:
    """An entry of known kind for indoors; None for all others."""

    def length(key: str) -> float:
        try:
            value = float(fields[key]) / 100
        except (KeyError, ValueError):
            value = -1.0
        if not 0 < value < 20:
            raise CatalogueError(f"{path}: {key}#{number}: expected centimetres, got {fields.get(key)!r}")
        return value

    name, category = fields.get("name", ""), fields.get("category", "").lower()
    if category not in INDOORS or fields.get("doorOrWindow") == "true":
        return None
    size = (length("width"), length("depth"), length("height"))
    role = role_of(name, size)
    if role is None or (_number(path, f"elevation#{number}", fields.get("elevation", "0")) > 1.0 and not role.hangs):
        return None
    drop = _number(path, f"dropOnTopElevation#{number}", fields.get("dropOnTopElevation", fields["height"])) / 100
    top = drop if role.carries and drop > 0 else None
    rotation = _rotation(path, number, fields.get("modelRotation", "1 0 0 0 1 0 0 0 1"))
    credit = f"{name} by {fields.get('creator', 'unknown')} ({licence})"
    return Entry(path, fields.get("model", "").lstrip("/"), name, role, size, rotation, top, credit)


def _number(path: Path, key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise CatalogueError(f"{path}: {key}: expected a number of centimetres, got {text!r}") from error


def _rotation(path: Path, number: int, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split())
    except ValueError:
        values = ()
    if len(values) != 9 or abs(np.linalg.det(np.reshape(values, (3, 3)))) < 0.5:
        raise CatalogueError(f"{path}: modelRotation#{number}: expected nine numbers of a rotation, got {text!r}")
    return values


def role_of(name: str, size: Sequence[float]) -> Role | None:
    """The role that a model of that name and size (metres) can replace, None when there is none."""
    for pattern, role in ROLES:
        fits = all(low <= value <= high for value, (low, high) in zip(size, role.limits, strict=True))
        if fits and re.fullmatch(pattern, name.lower().strip()):
            return role
    return None


def _read_member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """A member's bytes. Raises CatalogueError when it is missing or larger than any reasonable model."""
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise CatalogueError(f"{path}: expected a member {name}") from error
    if info.file_size > MAX_MEMBER_BYTES:
        raise CatalogueError(
            f"{path}: {name}: expected at most {MAX_MEMBER_BYTES >> 20} MB, got {info.file_size >> 20}"
        )
    check_member(info, str(path), CatalogueError)
    with archive.open(info) as stream:
        return stream.read(MAX_MEMBER_BYTES + 1)


def load_entry(entry: Entry) -> Model | None:
    """The entry's model, simplified beyond MOST_TRIANGLES; None when it is too large to be read.

    Raises CatalogueError that names file, member and line for a broken model.
    """
    with opened_archive(entry.archive, CatalogueError) as archive:
        if archive.getinfo(entry.member).file_size > MAX_MEMBER_BYTES:
            return None
        try:
            mesh = parse_obj(_read_member(archive, entry.member, entry.archive).decode("latin-1"))
            if mesh.triangles > MOST_TRIANGLES_READ:
                return None
            rotation = np.array(entry.rotation).reshape(3, 3)
            role, most = entry.role, MOST_TRIANGLES
            target = Target(role.name, role.label, entry.size, rotation, entry.top, most)
            return to_model(mesh, _materials(archive, entry, mesh.libraries), target)
        except ObjError as error:
            raise CatalogueError(f"{entry.archive}: {entry.member}: {error}") from error


def _materials(archive: zipfile.ZipFile, entry: Entry, libraries: Sequence[str]) -> dict[str, Material]:
    folder = posixpath.dirname(entry.member)
    members = set(archive.namelist())

    def texture_color(name: str) -> tuple[float, float, float] | None:
        member = posixpath.normpath(posixpath.join(folder, name))
        if member not in members or archive.getinfo(member).file_size > MAX_MEMBER_BYTES:
            return None
        data = _read_member(archive, member, entry.archive)
        try:
            image = decode_image(data, cv2.IMREAD_REDUCED_COLOR_8, f"{entry.archive}: {member}", CatalogueError)
        except CatalogueError:
            return None
        b, g, r = (image.reshape(-1, 3).mean(axis=0) / 255).tolist()
        return (r, g, b)

    found: dict[str, Material] = {}
    for library in libraries:
        member = posixpath.normpath(posixpath.join(folder, library))
        if member in members:
            found.update(parse_mtl(_read_member(archive, member, entry.archive).decode("latin-1"), texture_color))
    return found


@dataclass(eq=False)
class Library:
    """Models by role, loaded when first drawn; `used` collects the credits of the drawn ones."""

    entries: tuple[Entry, ...]
    used: dict[str, None] = field(default_factory=dict)
    _models: dict[int, Model | None] = field(default_factory=dict)

    @staticmethod
    def read(folder: Path) -> Library:
        """All catalogues of a folder (see `read_catalogues`)."""
        return Library(read_catalogues(folder))

    def draw(self, rng: Generator, role: str) -> Model | None:
        """A model that can replace a role, None when there is no usable one."""
        candidates = [i for i, entry in enumerate(self.entries) if entry.role.name == role]
        for k in rng.permutation(len(candidates)):
            index = candidates[int(k)]
            if index not in self._models:
                self._models[index] = load_entry(self.entries[index])
            model = self._models[index]
            if model is not None:
                self.used[self.entries[index].credit] = None
                return replace(model)
        return None
