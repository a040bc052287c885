"""Markdown tables of the results of benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Result = dict[str, Any]


class Column(NamedTuple):
    """A column's title, the path of its value in a row, the format of numbers (text without), and their unit."""

    title: str
    path: str
    form: str = ""
    unit: float = 1.0


def table(columns: Sequence[Column], rows: Iterable[Result]) -> str:
    """A Markdown table; numbers to the right."""
    lines = [[column.title for column in columns], ["---:" if column.form else "---" for column in columns]]
    lines += [[cell(row, column) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(row: Result, column: Column) -> str:
    value: Any = row
    for key in column.path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if column.path == "noisy":
        return "noisy" if value else ""
    if value is None:
        return "-"
    return format(value / column.unit, column.form) if column.form else str(value)


def paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
