"""What is said of poses that were found: in the header of the posed folder, and to the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.posing.joining import JoinedPart
from pipelines.posing.reconstruction import Reconstruction
from pipelines.posing.scale_estimate import CARRIED_HEIGHT, ScaleEstimate
from pipelines.sequences.evidence import WorldEvidence, read_evidence
from pipelines.sequences.text import read_json

HEADER = "transforms.json"
SHOWN_NAMES = 12


@dataclass(frozen=True)
class PosesReport:
    """What is in a posed folder: frames picked and posed, the names of those without a pose, what became of the models besides
    the largest one, the relative deviation of the metres per unit, the height at which the camera was carried and those of level
    surfaces, where they are evidence of the unit, and whether it was there already."""

    picked: int
    posed: int
    unregistered: tuple[str, ...]
    parts: tuple[JoinedPart, ...]
    scale_deviation: float
    carried_height: float | None
    surfaces: tuple[float, ...]
    up_to_date: bool


def report_of(found: Reconstruction, lost: tuple[str, ...], scale: ScaleEstimate) -> PosesReport:
    """The report of new poses; `lost` are the names of the picked images without one."""
    height = None if scale.carried_height is None else round(scale.carried_height, 3)
    surfaces = tuple(sorted(round(height, 3) for height in scale.surfaces))
    posed, deviation = len(found.poses), round(scale.deviation, 4)
    return PosesReport(posed + len(lost), posed, lost, found.parts, deviation, height, surfaces, up_to_date=False)


def finished_report(out: Path, key: str) -> PosesReport | None:
    """What is in `out` when it is the result with this key."""
    try:
        whole = read_json(out / HEADER)
        header = whole["posing"]
        if header["key"] != key:
            return None
        names = tuple(header["unregistered"])
        others = tuple(JoinedPart(int(part["images"]), str(part["reason"])) for part in header["parts"])
        deviation = read_evidence(whole, out / HEADER).scale_deviation
        if deviation is None:
            return None
        posed, height = int(header["posed"]), header["carried_height"]
        surfaces = tuple(float(height) for height in header["surfaces"])
    except (ValueError, KeyError, TypeError):
        return None
    carried = None if height is None else float(height)
    return PosesReport(posed + len(names), posed, names, others, deviation, carried, surfaces, up_to_date=True)


def header_of(report: PosesReport, scale: ScaleEstimate, key: str) -> dict[str, Any]:
    """What transforms.json says of the origin of its poses."""
    return {
        "posing": {
            "key": key,
            "posed": report.posed,
            "unregistered": list(report.unregistered),
            "parts": [asdict(part) for part in report.parts],
            "units_per_metre": round(1 / scale.scale, 6),
            "carried_height": report.carried_height,
            "surfaces": list(report.surfaces),
        },
    }


def evidence_for(report: PosesReport, scale: ScaleEstimate) -> WorldEvidence:
    """What the metres of the poses follow from; up is not known."""
    return WorldEvidence(", ".join(_evidence(report)), report.scale_deviation, round(scale.spread, 4))


def notes_of(report: PosesReport) -> list[str]:
    """What a user should know of posed frames."""
    evidence = ", ".join(["the network's depth", *_assumptions(report)])
    notes = [f"scale estimated from {evidence}, ± {report.scale_deviation:.0%} (two standard deviations)"]
    if report.unregistered:
        shown = ", ".join(report.unregistered[:SHOWN_NAMES]) + (
            ", ..." if len(report.unregistered) > SHOWN_NAMES else ""
        )
        notes.append(
            f"{len(report.unregistered)} of {report.picked} picked frames have no pose and are not mapped: {shown}"
        )
    if joined := [part.images for part in report.parts if not part.reason]:
        notes.append(
            f"parts that did not connect were joined to the largest one by what both show (frames: {_listed(joined)})"
        )
    if apart := [part for part in report.parts if part.reason]:
        shown = "; ".join(f"{part.images} frames: {part.reason}" for part in apart)
        notes.append(
            f"parts of the recording that cannot be proved to connect to the largest one were omitted ({shown})"
        )
    return notes


def _evidence(report: PosesReport) -> list[str]:
    """What the unit was estimated by, in a few words each."""
    carried = [] if report.carried_height is None else ["carried height"]
    return ["network", *carried, *(["furniture"] if report.surfaces else [])]


def _assumptions(report: PosesReport) -> list[str]:
    """What was assumed for it besides."""
    height, assumed = report.carried_height, []
    if height is not None:
        assumed.append(
            f"a camera that a person carried, assumed at {CARRIED_HEIGHT:g} m above the floor (here {height:.2f} m)"
        )
    if report.surfaces:
        heights = ", ".join(f"{height:.2f}" for height in report.surfaces)
        assumed.append(f"furniture of usual height (level surfaces {heights} m above the floor)")
    return assumed


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(sizes, reverse=True)))
