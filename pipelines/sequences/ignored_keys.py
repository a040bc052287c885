"""Keys of a recording's JSON and YAML files that would change what it means and that its format does not read: errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

from mapping.reading.files import shown
from pipelines.frame import SequenceError
from pipelines.sequences.cameras import LARGEST_SKEW

LENS = (
    r"[kp]\d+|s[1-4x]\d?|b[12]|xi|.*(lens|fisheye|ftheta|distort|equirect|latlong|omni|shutter|radial|tangential|skew).*|crop.*|"
    r"d|dist(_?(coeffs?|coefficients?|params?))?|camera_?model|camera_type|(camera_)?projection(_?(type|model))?"
)
"""Names of keys that change which ray a pixel is."""
DIRECTION = r"(is_)?(.*world_?(to|2)_?cam(era)?|w2c|invert(ed)?)"
"""Names of flags that turn poses around; as names of matrices they state the poses once more."""
CRITICAL = re.compile(
    rf"{LENS}|{DIRECTION}|.*(depth|mask).*|.*_scale|.*convention|.*_axes|axes|.*coordinate.*|.*time_?(offset|shift).*|max_gap|"
    r".*handed(ness)?|(.*_)?units?|up|pose_?(direction|type|format)|from_na|normal_mts_args"
)
"""Names of keys that change what pixels, depths, poses or times mean."""
CRITICAL_VALUES = re.compile(
    r"(opencv_)?fisheye|equidistant|equirectangular|omnidirectional|panoram(a|ic)|spherical|orthographic|"
    r"w2c|world_?(to|2)_?cam(era)?|left_handed"
)
"""Values that change the same, under whatever name."""
HARMLESS = (
    *(0, False, None, "", "none", "global", "pinhole", "simple_pinhole", "perspective"),
    *("c2w", "cam2world", "cam_to_world", "camera_to_world", "camera2world"),
)
"""Values by which a key changes nothing; a shutter is global."""
HARMLESS_UNITS = ("m", "meter", "meters", "metre", "metres")


def ignored_key(keys: Mapping[str, Any], known: Set[str]) -> str | None:
    """The first key with such a name or value and an effect that is not known, None where there is none."""
    for key, value in keys.items():
        name = key.lower()
        if key not in known and (_is_critical(value) or (CRITICAL.fullmatch(name) and _has_effect(name, value))):
            return key
    return None


def check_ignored_keys(keys: Mapping[str, Any], known: Set[str], where: str) -> None:
    """Raises SequenceError that begins with `where` for a key with such a name or value that is not known, and so would have no
    effect."""
    key = ignored_key(keys, known)
    if key is not None:
        raise SequenceError(f"{where}: {key} {not_supported(keys[key])}")


def not_supported(value: object) -> str:
    """What to say of a key of this value that is not read; numbers and words are shown."""
    found = "" if isinstance(value, (dict, bool)) else f" (found {shown(value)})"
    return f"is not supported{found}; remove it if it changes nothing"


def _is_critical(value: object) -> bool:
    return isinstance(value, str) and CRITICAL_VALUES.fullmatch(value.strip().lower().replace("-", "_")) is not None


def _has_effect(key: str, value: object) -> bool:
    if isinstance(value, str):
        value = value.strip().lower()
    if re.fullmatch(r"(.*_)?units?", key) and (value in HARMLESS_UNITS or value == 1):
        return False
    if re.fullmatch(DIRECTION, key) and isinstance(value, (list, dict)):
        return False
    parts = value if isinstance(value, list) else [value]
    if "skew" in key:
        parts = [part for part in parts if not (isinstance(part, (int, float)) and abs(part) <= LARGEST_SKEW)]
    return any(part not in HARMLESS for part in parts)
