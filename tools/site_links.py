"""For the documentation's site: links of pages to files outside of docs/ become text, since the site does not have them."""

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)+(?!tutorials/|reference/)(?:configs|benchmarks|examples|SECURITY|CONTRIBUTING|README)[^)]*\)"
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page without such links."""
    return OUTSIDE.sub(r"\1", markdown)
