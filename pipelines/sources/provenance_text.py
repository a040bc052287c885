"""Where depth, labels and sizes of a map come from and how good they are known to be, in sentences for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.sources.source import FOUND_BY_POSES, DepthOrigin, Source

SIZES = "Sizes"
"""With which sentences on the sizes of a map begin."""
UNMEASURED = "how good it is on such images has not been measured"


def trust_lines(source: Source, stages: Mapping[str, Any]) -> list[str]:
    """Sentences on the depth, the labels and the sizes of a map by a source, given the records of its stages so far."""
    if source.trust and source.predicts_labels and not (source.about_depth or source.about_labels):
        lines = [f"Depth and labels are predicted by {source.name}. {_sentence(source.trust)}"]
    else:
        lines = [depth_sentence(source), labels_sentence(source)]
    summary = stages.get("align", {}).get("summary", {})
    if summary.get("applied") and summary.get("residual") is not None:
        lines[0] += f" After alignment the depths of frames differ by {summary['residual']:.1%}."
    note = stages.get("sequence", {}).get("summary", {}).get("scale_note", "")
    return [*lines, *_on_sizes(source, summary, stages.get("check", {}).get("summary", {}), note)]


def about_sizes(lines: Sequence[str]) -> list[str]:
    """Of such sentences those on sizes."""
    return [line for line in lines if line.startswith(SIZES)]


def depth_sentence(source: Source) -> str:
    """Where the depth comes from, and how good it is."""
    if source.about_depth:
        return source.about_depth
    if source.depth_from is DepthOrigin.SENSOR:
        measured = f"Depth is that of {_named(source)}, taken as measured"
        return (
            f"{measured}. {_sentence(source.trust)}" if source.trust else f"{measured}; how exact it is is not stated."
        )
    origin = {
        DepthOrigin.POSES: f"Depth is found from neighbouring images by {source.name}, and unknown where they have no texture",
        DepthOrigin.NETWORK: f"Depth is predicted from single images by {source.name}",
        DepthOrigin.FITTED: f"Depth is predicted from single images by {source.name} and fitted to what images prove",
    }[source.depth_from]
    if source.depth_from is DepthOrigin.POSES and source.predict_hinted is not None:
        origin = f"Depth is predicted from neighbouring images by {source.name}"
    return _with_trust(origin, source.trust)


def labels_sentence(source: Source) -> str:
    """Where the labels come from, and how good they are; what to do where there are none."""
    if source.about_labels:
        return source.about_labels
    if source.label_space is None:
        return (
            "There are no labels, so objects have no names: add them with --source mixed:depth=SOURCE,semantics=m2h, "
            "or semantics of another source (docs/sources.md)."
        )
    if not source.predicts_labels:
        return f"Labels are those of {_named(source)}, taken as exact."
    return _with_trust(f"Labels are predicted by {source.name}", source.trust)


def _named(source: Source) -> str:
    return "the recording" if source.name == "recorded" else source.name


def _with_trust(origin: str, trust: str) -> str:
    return f"{origin}. {_sentence(trust)}" if trust else f"{origin}; {UNMEASURED}."


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _on_sizes(source: Source, summary: Mapping[str, Any], check: Mapping[str, Any], note: str) -> list[str]:
    """What is doubtful about the sizes of a map, by the records of its alignment and of the check of its input, and by how the
    metres of its poses were estimated, if they were."""
    state = summary.get("scale_state")
    if state in ("metres", "estimated") and note:
        return [f"Sizes are {note}: measure one length in the map; its true one over that is --scale."]
    if state == "unknown":
        return ["Sizes are in the unit of the poses, which is unknown: give it with --scale."]
    if state == "metres" and source.depth_from in FOUND_BY_POSES and check.get("depth_scale") is None:
        found = check.get("unit")
        proved = (
            "nothing in the images proves that."
            if found is None
            else f"predicted depth says {found['metres']:.2g} m for one unit (± {found['deviation']:.0%})."
        )
        return [f"Sizes take the poses for metres, as their format says; {proved}"]
    if state != "estimated":
        return []
    spread, deviation = summary.get("pose_scale_spread"), summary.get("pose_scale_deviation")
    differ = "" if spread is None else f", by which frames differ by {spread:.0%}"
    off = "" if deviation is None else f" ± {deviation:.0%} (two standard deviations)"
    evidence = summary.get("pose_scale_evidence")
    by = f" ({', '.join(evidence)})" if evidence else ""
    return [f"Sizes are estimates{by}: one unit of the poses is taken for {summary['pose_scale']:.3g} m{off}{differ}."]
