"""The one place where data becomes text for a terminal, HTML, CSV, XML, or a name in a file of lines.

File names, class names and ids come from others and may contain anything; none of it is taken for a command of the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move the cursor, change the direction of writing or are no characters: terminals obey some of them."""
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow, not even as an entity (section 2.2)."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell begins with that spreadsheets calculate or run."""


def for_terminal(text: str) -> str:
    """One line in which control characters are visible, as in Python's strings: `\\x1b` is not obeyed but shown."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def for_html(text: str) -> str:
    """Text for the body or a quoted attribute of HTML or SVG."""
    return escape(for_xml(text))


def for_xml(text: str) -> str:
    """Text for a writer of XML that escapes it: what XML cannot contain becomes U+FFFD."""
    return NOT_IN_XML.sub("\ufffd", text)


def for_csv(text: str) -> str:
    """The cell of a table, behind an apostrophe where a spreadsheet would take it for a formula. Numbers need none of this."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def for_name(text: str) -> str:
    """A name in a format where a space or the end of the line ends it."""
    return re.sub(r"\s", "_", CONTROLS.sub("_", text))


def table_html(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """A titled table as a fragment of HTML, for notebooks; `note` is a line below it. All of it is taken for text."""
    cells = [f"<tr>{''.join(f'<td>{for_html(str(cell))}</td>' for cell in row)}</tr>" for row in rows]
    head = "".join(f"<th>{for_html(column)}</th>" for column in columns)
    below = f"<p>{for_html(note)}</p>" if note else ""
    return f"<div><b>{for_html(title)}</b><table><tr>{head}</tr>{''.join(cells)}</table>{below}</div>"
