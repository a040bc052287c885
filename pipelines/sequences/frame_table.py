"""frames.csv: one line per image of a sequence: used, or the reason why not."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Mapping
from pathlib import Path

from mapping.files import write_text_atomic
from mapping.text import for_csv
from pipelines.frame import FrameSequence

COLUMNS = ("index", "timestamp", "image", "used", "reason")


def write_frame_table(
    path: Path, sequence: FrameSequence, chosen: Container[int], broken: Mapping[int, str] | None = None
) -> None:
    """Write `COLUMNS` for all frames; `chosen` are the positions selected by range, stride and spacing, `broken` those found
    unreadable."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for position, info in enumerate(sequence.infos):
        reason = info.reason
        if info.used and position not in chosen:
            reason = "excluded by range or stride or spacing"
        elif info.used and broken:
            reason = broken.get(info.index, "")
        table.writerow([info.index, f"{info.timestamp:.6f}", for_csv(info.image), int(not reason), for_csv(reason)])
    write_text_atomic(path, text.getvalue())
