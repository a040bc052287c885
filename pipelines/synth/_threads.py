"""Kernels on several cores: the range of a loop is split, each piece is one call that holds no lock.

Pieces write to places of their own, so the result does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mapping._threads import run_parts, split, thread_count

GRAIN = 4096
"""Least length of a piece: below it a thread costs more than it saves."""


def spread(kernel: Callable[..., None], count: int, *args: Any, grain: int = GRAIN) -> None:
    """Call `kernel(first, last, *args)` over pieces of range(count), in parallel where that pays."""
    pieces = split(count, max(1, min(thread_count(None), count // grain)))
    run_parts(lambda part: kernel(*pieces[part], *args), len(pieces))
