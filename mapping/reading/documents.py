"""JSON and YAML, with limits on size, nesting, digits and repetition, so that what is parsed can be checked and shown.

As in `mapping.reading.files`, every function takes the error to raise.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mapping.reading.files import MIB, MOST_TEXT_BYTES, is_readable_name, read_text, shown

if TYPE_CHECKING:
    import yaml

DEEPEST = 64
"""Lists and objects inside of each other."""
MOST_VALUES = 16 * MIB
"""Of a JSON text."""
LARGEST_WHOLE, MOST_DIGITS = (1 << 63) - 1, 20
"""Of a whole number: what fits into 64 bits."""
LONGEST_WHOLE = 80
"""Characters of a whole number in YAML, which may be binary and have underscores."""
MOST_YAML_BYTES, MOST_YAML_VALUES = MIB, 1 << 18
"""Of a YAML text; what an alias stands for is counted each time."""
_ESCAPE_OF_NO_NAME = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")

Pairs = list[tuple[str, Any]]


class _LimitError(Exception):
    """What is wrong with a text, without its name."""


def read_json(
    path: str | os.PathLike[str], error: type[ValueError], *, finite: bool = True, unique: bool = False
) -> Any:
    """A JSON file as `parse_json` reads its text; raises `error` naming the file and, for a syntax error, the line."""
    return parse_json(read_text(path, error), os.fspath(path), error, finite=finite, unique=unique)


def parse_json(text: str, where: str, error: type[ValueError], *, finite: bool = True, unique: bool = False) -> Any:
    """JSON text as Python values; whole numbers have at most 20 digits and text has no NUL and no unpaired surrogate.

    `finite` refuses NaN and Infinity; numbers that are too large for a float64 always are. `unique` refuses a name that appears
    twice in an object. Raises `error` in one line that begins with `where`.
    """
    try:
        _check_shape(text)
        data = json.loads(
            text,
            parse_int=_whole,
            parse_float=_float,
            parse_constant=_no_constant if finite else None,
            object_pairs_hook=_without_repeats if unique else None,
        )
        if _ESCAPE_OF_NO_NAME.search(text):
            _check_texts(data)
    except _LimitError as problem:
        raise error(f"{where}: not readable as JSON: {problem}") from problem
    except json.JSONDecodeError as problem:
        raise error(f"{where} line {problem.lineno}: not readable as JSON: {problem.msg}") from problem
    except RecursionError as problem:
        raise error(f"{where}: not readable as JSON: nested too deeply") from problem
    return data


def _check_shape(text: str) -> None:
    """The nesting and the number of values, from the brackets and commas outside of strings."""
    import numpy as np

    if len(text) > MOST_TEXT_BYTES:
        raise _LimitError(f"too large: {len(text)} characters, at most {MOST_TEXT_BYTES} are read")
    bare = re.sub(r"\\.", "", text, flags=re.DOTALL) if "\\" in text else text
    outside = "".join(bare.split('"')[::2]).encode("ascii", "replace")
    codes = np.frombuffer(outside, np.uint8)
    step = np.zeros(256, np.int8)
    step[list(b"[{")], step[list(b"]}")] = 1, -1
    steps = step[codes]
    brackets = steps[steps != 0]
    if int(np.cumsum(brackets, dtype=np.int32).max(initial=0)) > DEEPEST:
        raise _LimitError(f"nested too deeply: at most {DEEPEST} levels are read")
    values = len(brackets) + outside.count(b",")
    if values > MOST_VALUES:
        raise _LimitError(f"too large: {values} values, at most {MOST_VALUES} are read")


def _whole(literal: str) -> int:
    value = int(literal) if len(literal) <= MOST_DIGITS else LARGEST_WHOLE + 1
    if abs(value) > LARGEST_WHOLE:
        raise _LimitError(f"the whole number {literal[:MOST_DIGITS]}... does not fit into 64 bits")
    return value


def _float(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise _LimitError(f"{shown(literal)[1:-1]} is too large for a number")
    return value


def _no_constant(name: str) -> float:
    raise _LimitError(f"{name} is not a JSON number; unknown values are omitted")


def _without_repeats(pairs: Pairs) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _LimitError(f"the name {shown(repeated)} appears twice")
    return data


def _check_texts(data: Any) -> None:
    """Refuse text that no file name, file or terminal can have."""
    for text in _texts_of(data):
        _check_text(text)


def _check_text(text: str) -> None:
    if not is_readable_name(text):
        raise _LimitError(f"the text {shown(text)} has a NUL character or half of a surrogate pair")


def _texts_of(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for name, value in data.items():
            yield name
            yield from _texts_of(value)
    elif isinstance(data, list):
        for value in data:
            yield from _texts_of(value)


def read_yaml(path: str | os.PathLike[str], error: type[ValueError]) -> Any:
    """A YAML file as `parse_yaml` reads its text; raises `error` naming the file."""
    return parse_yaml(read_text(path, error, most=MOST_YAML_BYTES), os.fspath(path), error)


def parse_yaml(text: str, where: str, error: type[ValueError]) -> Any:
    """YAML text as plain Python values, without objects of other kinds, and without aliases that repeat too much or contain
    themselves, and without keys that appear twice. Raises `error` in one line that begins with `where`."""
    import yaml

    try:
        loader = _loader()(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except _LimitError as problem:
        raise error(f"{where}: not readable as YAML: {problem}") from problem
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as problem:
        reason = getattr(problem, "problem", None) or (str(problem).splitlines() or [type(problem).__name__])[0]
        if (mark := getattr(problem, "problem_mark", None)) is not None:
            reason = f"{reason} in line {mark.line + 1}"
        raise error(f"{where}: not readable as YAML ({reason[:200]})") from problem


def _loader() -> Callable[[str], yaml.SafeLoader]:
    """The class of the loader, made when it is needed: most commands read no YAML."""
    import yaml

    class Loader(yaml.SafeLoader):
        """`yaml.SafeLoader` that counts what it composes and refuses a key that a mapping has twice."""

        def __init__(self, text: str) -> None:
            super().__init__(text)
            self._depth = self._values = 0
            self._counts: dict[int, int] = {}

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.ScalarEvent):
                _check_text(event.value)
            before = self._values
            self._depth += 1
            if self._depth > DEEPEST:
                raise _LimitError(f"nested too deeply: at most {DEEPEST} levels are read")
            node = super().compose_node(parent, index)  # type: ignore[no-untyped-call]
            self._depth -= 1
            if isinstance(event, yaml.AliasEvent):
                if id(node) not in self._counts:
                    raise _LimitError(f"the alias {shown(event.anchor)[1:-1]} stands for what contains it")
                self._values += self._counts[id(node)]
            else:
                self._values += 1
                self._counts[id(node)] = self._values - before
            if self._values > MOST_YAML_VALUES:
                raise _LimitError(f"too large: more than {MOST_YAML_VALUES} values, repeated ones counted each time")
            return node

        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)  # type: ignore[no-untyped-call]
            names: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if (name := (key.tag, key.value)) in names:
                        raise _LimitError(f"{shown(key.value)} appears twice, again in line {key.start_mark.line + 1}")
                    names.add(name)
            return node

        def construct_yaml_int(self, node: Any) -> int:
            text = self.construct_scalar(node)  # type: ignore[no-untyped-call]
            value: int = super().construct_yaml_int(node) if len(text) <= LONGEST_WHOLE else LARGEST_WHOLE + 1  # type: ignore[no-untyped-call]
            if abs(value) > LARGEST_WHOLE:
                raise _LimitError(f"the whole number {text[:MOST_DIGITS]}... does not fit into 64 bits")
            return value

    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
    return Loader
