"""Reading and writing of configurations: typed defaults in code, YAML and `--set a.b=c` on top, unknown keys rejected."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from mapping.reading.documents import parse_yaml, read_yaml
from mapping.reading.files import shown

LARGEST = 1e12
"""Of numbers with a fraction in settings."""
PRESETS = Path(__file__).parent / "configs"
"""Presets in the package, one file each."""


class ConfigError(ValueError):
    """Raised for an unusable configuration; the message names the file or option, the key and what was expected."""


def merge_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`a.b=c` assignments on top of a mapping; values are read as YAML. Raises ConfigError for an invalid assignment."""
    result = copy.deepcopy(data)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--set {override}: expected key.key=value")
        target = result
        *parents, last = key.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {override}: {parent} is a value, not a group of settings")
        target[last] = parse_yaml(text, f"--set {shown(override)[1:-1]}", ConfigError)
    return result


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """A YAML file with a mapping (or nothing); raises ConfigError with the file's name."""
    data = read_yaml(path, ConfigError)
    if data is None:
        return {}
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"{path}: expected settings by name (a YAML mapping), got {type(data).__name__}")
    return dict(data)


def config_path(given: Path | None) -> Path | None:
    """The file that `--config` means: a path, or the name of a preset, such as `fast`. Raises ConfigError when it is neither."""
    if given is None or (given.exists() and not given.is_dir()):
        return given
    presets = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    name = given.name.removesuffix(".yaml")
    if str(given) == name and name in presets:
        return presets[name]
    near = difflib.get_close_matches(name, presets, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"--config {given}: neither a file nor a preset ({', '.join(presets)}){hint}")


def config_from_mapping(
    cls: type[Any], data: Mapping[str, Any], where: str, *, origins: Mapping[str, str] | None = None
) -> Any:
    """Build a config dataclass from nested mappings. `origins` gives the origin of single settings (`a.b`).

    Raises ConfigError in one line: the place, the key, what was expected, and the nearest known name for an unknown key.
    """
    try:
        config = TypeAdapter(cls).validate_python(dict(data))
        unusable = _unusable_number(config)
        if unusable is not None:
            name, value = unusable
            at = _origin(name.split("."), origins or {}) or where
            raise ConfigError(f"{at}: {name}: expected a number up to {LARGEST:g}, got {shown(value)}")
        return config
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        where = _origin(path, origins or {}) or where
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = _field_names(cls, path[:-1])
            near = difflib.get_close_matches(path[-1], known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown setting {'.'.join(path)}; {hint}") from error
        message = first["msg"].removeprefix("Value error, ")
        if path:
            got = "" if first["type"] == "missing" else f", got {shown(first['input'])}"
            message = f"{'.'.join(path)}: {message}{got}"
        raise ConfigError(f"{where}: {message}"[:400]) from error


def _unusable_number(config: Any, path: str = "") -> tuple[str, float] | None:
    """The first setting below `path` that is infinite, no number, or too large for any computation, and its value."""
    if is_dataclass(config):
        parts = [(f"{path}.{field.name}".lstrip("."), getattr(config, field.name)) for field in fields(config)]
    else:
        parts = [(path, value) for value in config] if isinstance(config, tuple) else []
        if isinstance(config, float) and not abs(config) <= LARGEST:
            return path, config
    return next((found for name, value in parts if (found := _unusable_number(value, name)) is not None), None)


def _origin(path: list[str], origins: Mapping[str, str]) -> str:
    """The origin of the setting at `path`, or of its group or part; of several the last. Empty when there is none."""
    dotted = ".".join(path) + "."
    hits = [
        text for key, text in origins.items() if dotted.startswith(f"{key}.") or (path and f"{key}.".startswith(dotted))
    ]
    return hits[-1] if hits else ""


def _field_names(cls: Any, path: list[str]) -> list[str]:
    """Known settings of the group at `path` below the config class."""
    for name in path:
        cls = get_type_hints(cls).get(name) if is_dataclass(cls) else None
    return sorted(field.name for field in fields(cls)) if is_dataclass(cls) else []


def config_to_mapping(config: Any) -> dict[str, Any]:
    """A config dataclass as nested plain values."""
    return cast("dict[str, Any]", TypeAdapter(type(config)).dump_python(config, mode="json"))


def load_config(
    cls: type[Any], path: Path | None, overrides: Sequence[str] = (), *, options: Mapping[str, str] | None = None
) -> Any:
    """Defaults of `cls`, then the YAML file, then `options`, then the overrides.

    `options` maps assignments (`tsdf.voxel_size=0.02`) to the short command-line options that they come from (`--voxel 0.02`).
    Raises ConfigError that names the file, the option or the `--set` with the error.
    """
    data = read_yaml_mapping(path) if path else {}
    given = [(f"--set {text}", text) for text in overrides]
    given = [(option, text) for text, option in (options or {}).items()] + given
    origins = {text.partition("=")[0]: origin for origin, text in given}
    merged = merge_overrides(data, [text for _, text in given])
    return config_from_mapping(cls, merged, str(path) if path else "config", origins=origins)


def dump_config(config: Any) -> str:
    """The whole tree as YAML that `load_config` reads back."""
    return yaml.safe_dump(config_to_mapping(config), sort_keys=False)
