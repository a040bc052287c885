"""What a user can do about what the check of a sequence found: entries of its `m2h.yaml`, and other options of a run."""

from __future__ import annotations

from typing import Any

from pipelines.checks.sequence_check import SequenceCheck
from pipelines.sequences.conventions import OVERRIDE_FILE


def entries_that_fit(check: SequenceCheck) -> dict[str, Any]:
    """The entries of `m2h.yaml` with which conventions, depth scale and times are read as they fit best; empty where nothing is
    to be corrected."""
    entries: dict[str, Any] = {}
    best = check.conventions.best
    if check.conventions.verdict == "wrong" and best is not None and check.conventions.unit_ratio is None:
        kind = {"depth_kind": best.convention.depth_kind} if best.convention.depth_kind != "z" else {}
        entries |= {
            "pose_convention": best.convention.pose_direction,
            "camera_axes": best.convention.camera_axes,
            "depth_scale": best.convention.depth_scale,
            **kind,
        }
    scale = check.depth_scale
    if scale is not None and scale.is_wrong and "depth_scale" not in entries:
        entries["depth_scale"] = float(f"{check.conventions.assumed.depth_scale * scale.ratio:.5g}")
    if check.time_offset is not None:
        entries["time_offset"] = check.time_offset.seconds
    return entries


def advice(check: SequenceCheck) -> str:
    """What a user can do about contradictions."""
    if (ratio := check.conventions.unit_ratio) is not None:
        return (
            f"poses or depth are in a different unit: `--scale {ratio * check.pose_scale:.4g}` maps in that of depth, "
            f"`depth_scale` in {OVERRIDE_FILE} in that of the poses, `--trust` as it is read"
        )
    is_scaled = check.depth_scale is not None and check.depth_scale.is_beyond_doubt
    is_known = check.conventions.verdict == "wrong" or check.time_offset is not None or is_scaled
    entries = entries_that_fit(check) if is_known else {}
    if check.pose_scale != 1.0:
        fix = _with_given_scale(check, entries)
    else:
        fix = f"`m2h inspect --fix` writes the reading that fits to {OVERRIDE_FILE}, " if entries else ""
    return f"{fix}`--trust` maps it as it is read"


def _with_given_scale(check: SequenceCheck, entries: dict[str, Any]) -> str:
    """The same where a user gave the scale of the poses, of which `m2h inspect` does not know."""
    assumed = check.conventions.assumed
    as_read = {
        "pose_convention": assumed.pose_direction,
        "camera_axes": assumed.camera_axes,
        "depth_scale": assumed.depth_scale,
        "depth_kind": assumed.depth_kind,
    }
    changed = {key: value for key, value in entries.items() if as_read.get(key) != value}
    depth_scale, offset = changed.pop("depth_scale", None), changed.pop("time_offset", None)
    parts = [f"`{key}: {value}` in {OVERRIDE_FILE} reads it as it fits, " for key, value in changed.items()]
    if offset is not None:
        parts.append(f"{offset:+.2f} s to `time_offset` in {OVERRIDE_FILE} correct the times, ")
    if (
        depth_scale is not None and check.conventions.verdict == "wrong"
    ):  # else the contradiction itself names the scale
        other = depth_scale / assumed.depth_scale * check.pose_scale
        parts.append(f"`--scale {other:.4g}` maps in the unit of depth, ")
    if depth_scale is not None:
        parts.append(f"`depth_scale: {depth_scale:.5g}` in {OVERRIDE_FILE} in that of the given scale, ")
    return "".join(parts)
