"""How the metres and the up direction of a sequence's world came about, as the header of a canonical folder keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mapping.reading.files import shown
from pipelines.frame import FrameSequence, SequenceError

GIVEN = "given"
"""The source of a unit that a user gave."""


@dataclass(frozen=True)
class WorldEvidence:
    """What metres and up follow from where no recording states them.

    scale_source is empty where the recording is in metres by its format or its unit is not known, `given` where a user gave the
    unit, else what it was estimated by (`network, carried height`). scale_deviation is how far sizes may be off, relative (two
    standard deviations), scale_spread the relative standard deviation of single frames; None where not known. up_source is empty
    where the recording states up or it is not known, else what an earlier map found it by (`level surfaces`).
    """

    scale_source: str = ""
    scale_deviation: float | None = None
    scale_spread: float | None = None
    up_source: str = ""

    @property
    def is_estimate(self) -> bool:
        """Whether metres were estimated."""
        return self.scale_source not in ("", GIVEN)

    def scale_note(self) -> str:
        """How metres were estimated, in a few words; empty where they were not."""
        if not self.is_estimate:
            return ""
        off = "" if self.scale_deviation is None else f", ± {self.scale_deviation:.0%}"
        return f"estimated ({self.scale_source}){off}"

    def header(self) -> dict[str, Any]:
        """The keys of transforms.json; none for what is not known."""
        return {key: value for key, value in asdict(self).items() if value not in ("", None)}


def read_evidence(header: Mapping[str, Any], file: Path) -> WorldEvidence:
    """What the header of a canonical folder says; raises SequenceError naming the key.

    Folders of earlier versions have the deviation among what `m2h poses` reports.
    """
    if header.get("is_metric") is False and "scale_source" in header:
        raise SequenceError(f"{file}: scale_source has no effect, since is_metric is false")
    posing = header.get("posing")
    earlier = posing if isinstance(posing, Mapping) else {}
    return WorldEvidence(
        _text(header, "scale_source", file),
        _share(header if "scale_deviation" in header else earlier, "scale_deviation", file),
        _share(header, "scale_spread", file),
        _text(header, "up_source", file),
    )


def evidence_of(sequence: FrameSequence) -> WorldEvidence:
    """What is known of the world of a sequence; nothing for sequences that do not say."""
    found = getattr(sequence, "evidence", None)
    return found if isinstance(found, WorldEvidence) else WorldEvidence()


def _text(header: Mapping[str, Any], key: str, file: Path) -> str:
    value = header.get(key) or ""
    if not isinstance(value, str):
        raise SequenceError(f"{file}: {key} must be a text, got {shown(value)}")
    return value


def _share(header: Mapping[str, Any], key: str, file: Path) -> float | None:
    value = header.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value >= 0):
        raise SequenceError(f"{file}: {key} must be a number that is not negative, got {shown(value)}")
    return float(value)
