"""Keys of a recording's JSON and YAML files that would change what it means and that its format does not read: errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

from pipelines.frame import SequenceError

LENS = re.compile(
    r"[kp]\d+|s[1-4x]\d?|b[12]|xi|.*(lens|fisheye|ftheta|distort|equirect|latlong|omni|shutter|radial|tangential).*|crop.*"
)
"""Names of keys that change which ray a pixel is."""
CRITICAL = re.compile(
    rf"{LENS.pattern}|.*(depth|mask).*|.*_scale|.*convention|.*_axes|axes|.*coordinate.*|.*time_?(offset|shift).*|max_gap|"
    r".*handed(ness)?|(.*_)?units?|up"
)
"""Names of keys that change what pixels, depths, poses or times mean."""
HARMLESS = (0, False, None, "", "none", "global")
"""Values by which a key changes nothing; a shutter is global."""
HARMLESS_UNITS = ("m", "meter", "meters", "metre", "metres")
NOT_SUPPORTED = "is not supported; remove it if it changes nothing"


def ignored_key(keys: Mapping[str, Any], known: Set[str], names: re.Pattern[str] = CRITICAL) -> str | None:
    """The first key with such a name and an effect that is not known, None where there is none."""
    for key, value in keys.items():
        is_critical = key not in known and names.fullmatch(key.lower()) is not None
        if is_critical and _has_effect(key.lower(), value):
            return key
    return None


def check_ignored_keys(keys: Mapping[str, Any], known: Set[str], where: str, names: re.Pattern[str] = CRITICAL) -> None:
    """Raises SequenceError that begins with `where` for a key with such a name that is not known, and so would have no effect."""
    key = ignored_key(keys, known, names)
    if key is not None:
        raise SequenceError(f"{where}: {key} {NOT_SUPPORTED}")


def _has_effect(key: str, value: object) -> bool:
    if isinstance(value, str):
        value = value.strip().lower()
    if re.fullmatch(r"(.*_)?units?", key) and (value in HARMLESS_UNITS or value == 1):
        return False
    parts = value if isinstance(value, list) else [value]
    return any(part not in HARMLESS for part in parts)
