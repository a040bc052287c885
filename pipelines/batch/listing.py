"""The list of a batch: a YAML file that names sequences and settings, as units of which each becomes a run folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from mapping.reading.files import shown
from pipelines.config import config_from_mapping, config_path, config_to_mapping, load_config, read_yaml_mapping
from pipelines.plugins import SEQUENCES
from pipelines.settings import PipelineConfig

STRICT = ConfigDict(extra="forbid")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""Of a run's folder; without dots, which separate it from the names of steps."""
MOST_PIECES = 4096
WILD = "*?["
"""Characters of a path that stands for several."""


class BatchError(ValueError):
    """An unusable list, plan or request; the message names the file, the field and what was expected."""


@dataclass(frozen=True, config=STRICT)
class ListedSequence:
    """One entry of the list; what is None is as for all."""

    path: str
    """A path or FORMAT:PATH, relative to the list; with `*` all that match."""
    name: str | None = None
    """Of its run folder; None is the name of the recording."""
    source: str | None = None
    refine: Literal["auto", "multiview", "none"] | None = None
    config: str | None = None
    set: tuple[str, ...] = ()
    """Settings besides those for all, `a.b=c`."""
    pieces: int | None = Field(default=None, ge=1, le=MOST_PIECES)
    building: str | None = None
    """The building that it is part of, for `m2h batch merge`."""


@dataclass(frozen=True, config=STRICT)
class BatchList:
    """The rest of the list file: what is for all sequences."""

    source: str = "auto"
    """As `m2h run --source`."""
    refine: Literal["auto", "multiview", "none"] = "auto"
    """As `m2h run --refine`."""
    config: str | None = None
    """A settings file relative to the list, or a preset."""
    set: tuple[str, ...] = ()
    """Settings, `a.b=c`."""
    pieces: int = Field(default=1, ge=1, le=MOST_PIECES)
    """In how many pieces each sequence is fused."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Unit:
    """A sequence to be mapped, in one run folder; `settings` are the name of the whole settings in the plan."""

    name: str = Field(pattern=f"^{NAME.pattern}$")
    sequence: str
    source: str
    refine: Literal["auto", "multiview", "none"]
    settings: str
    pieces: int = Field(ge=1, le=MOST_PIECES)
    building: str | None = Field(default=None, pattern=f"^{NAME.pattern}$")


def read_list(
    path: Path, config: Path | None = None, overrides: Sequence[str] = ()
) -> tuple[list[Unit], dict[str, dict[str, Any]]]:
    """The units of a list in its order, and whole settings by name; `config` and `overrides` are for all, as those of the list.

    Raises BatchError and ConfigError that name the list, the entry and what was expected.
    """
    data = read_yaml_mapping(path)
    listed = data.pop("sequences", None)
    if not isinstance(listed, list) or not listed:
        raise BatchError(f"{path}: sequences: expected a list of at least one path")
    wanted: BatchList = config_from_mapping(BatchList, data, str(path))
    if config is not None or overrides:
        found = config_path(config)
        file = wanted.config if found is None else str(found.absolute())
        wanted = replace(wanted, config=file, set=(*wanted.set, *overrides))
    units: list[Unit] = []
    settings: dict[str, dict[str, Any]] = {}
    known: dict[tuple[str | None, tuple[str, ...]], str] = {}
    for number, given in enumerate(listed):
        where = f"{path}: sequences[{number}]"
        entry = _entry(given, where)
        chosen = (entry.config or wanted.config, (*wanted.set, *entry.set))
        if chosen not in known:
            known[chosen] = f"s{len(known)}"
            settings[known[chosen]] = _whole_settings(path, where, *chosen)
        units += _units_of(entry, wanted, path.parent, where, known[chosen])
    repeated = [name for name, count in Counter(unit.name for unit in units).items() if count > 1]
    if repeated:
        both = " and ".join([unit.sequence for unit in units if unit.name == repeated[0]][:2])
        raise BatchError(f"{path}: sequences: {both} would both be called {repeated[0]}; give one a `name:`")
    return units, settings


def _entry(given: object, where: str) -> ListedSequence:
    """An entry of the list: a path, or settings with one."""
    if isinstance(given, str):
        given = {"path": given}
    if not isinstance(given, Mapping):
        raise BatchError(f"{where}: expected a path, or settings by name, got {shown(given)}")
    entry: ListedSequence = config_from_mapping(ListedSequence, given, where)
    return entry


def _whole_settings(path: Path, where: str, config: str | None, overrides: tuple[str, ...]) -> dict[str, Any]:
    """All settings, so that later changes of a file do not change the plan."""
    file = None if config is None else path.parent / config
    found = file if file is not None and file.is_file() else config_path(None if config is None else Path(config))
    loaded = load_config(PipelineConfig, found, options={text: f"{where}: set: {text}" for text in overrides})
    return config_to_mapping(loaded)


def _units_of(entry: ListedSequence, wanted: BatchList, folder: Path, where: str, settings: str) -> Iterator[Unit]:
    specs = list(_specs(entry.path, folder, where))
    if entry.name is not None and len(specs) > 1:
        raise BatchError(
            f"{where}: name: {len(specs)} sequences match {entry.path}, so they cannot all be {entry.name}"
        )
    for spec in specs:
        name = entry.name or re.sub(r"[^A-Za-z0-9_-]+", "_", _stem(spec)).strip("_-")
        for field, value in (("name", name), ("building", entry.building)):
            if value is not None and not NAME.fullmatch(value):
                raise BatchError(f"{where}: {field}: expected letters, digits, _ and - (at most 100), got {value!r}")
        yield Unit(
            name=name,
            sequence=spec,
            source=entry.source or wanted.source,
            refine=entry.refine or wanted.refine,
            settings=settings,
            pieces=entry.pieces or wanted.pieces,
            building=entry.building,
        )


def _specs(text: str, folder: Path, where: str) -> Iterator[str]:
    """The sequences that a path of the list stands for, with absolute paths."""
    form, path = _split_format(text, folder)
    whole = folder / Path(path).expanduser()
    if not any(char in str(path) for char in WILD) or whole.exists():
        yield f"{form}{whole.absolute()}"
        return
    anchor = Path(whole.absolute().anchor)
    found = sorted(anchor.glob(str(whole.absolute().relative_to(anchor))))
    if not found:
        raise BatchError(f"{where}: path: nothing matches {text}")
    yield from (f"{form}{match}" for match in found)


def _split_format(text: str, folder: Path) -> tuple[str, str]:
    """`FORMAT:` and the path of a sequence; the first is empty where the format is to be detected."""
    if ":" not in text or (folder / text).exists():
        return "", text
    name, _, path = text.partition(":")
    if name not in SEQUENCES and ":" in path:  # module:function:PATH
        function, _, path = path.partition(":")
        name = f"{name}:{function}"
    return f"{name}:", path


def _stem(spec: str) -> str:
    path = Path(spec.rpartition(":")[2])
    return path.stem if path.is_file() else path.name


def unit_to_data(unit: Unit) -> dict[str, Any]:
    """A unit as an object of JSON, without what is None."""
    data = {field.name: getattr(unit, field.name) for field in fields(unit)}  # type: ignore[arg-type]
    return {name: value for name, value in data.items() if value is not None}


def unit_from_data(data: object, where: str) -> Unit:
    """A unit out of JSON; raises ConfigError that begins with `where`."""
    if not isinstance(data, Mapping):
        raise BatchError(f"{where}: expected an object")
    unit: Unit = config_from_mapping(Unit, data, where)
    return unit
