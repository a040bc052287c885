"""Which depth, label or mask image belongs to which image, by their names: never that of another frame."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from itertools import combinations, product
from pathlib import Path

import numpy as np

from pipelines.frame import SequenceError
from pipelines.sequences.association import MAX_TIME_DIFFERENCE, nearest_pairs
from pipelines.sequences.text import natural_key
from pipelines.sequences.times import last_decimals, stamps_in_names

Pairs = list[Path | None]
Keys = Sequence[Hashable | None]
DENSE = 0.8
"""Share of the numbers from its first to its last that a list has which is counted without gaps."""
MOST_MISSING = 0.1
"""Share of the images, at the end, that may be without depth and no note."""
LEAST_SHARE = 0.5
"""Share of the shorter list that must find a partner for a rule to count as the one by which files were named."""


def files_by_name(files: Sequence[Path], others: Sequence[Path], what: str) -> Pairs:
    """The one of `others` that belongs to each file, None where there is none.

    The rules, of which the first that fits decides: the same stem (or the file's whole name as the stem); the nearest time
    within 0.02 s where both are named by time; the same numbers; the one number that changes from file to file in both. A rule
    fits when no two files have the same key, and at least half of the shorter list finds a partner.

    Raises SequenceError that begins with `what` when no rule fits, or two of them contradict each other.
    """
    if not files or not others:
        return [None] * len(files)
    by_stem: dict[str, Path] = {}
    for other in others:
        if (same := by_stem.setdefault(other.stem, other)) != other:
            raise SequenceError(
                f"{what}: {same.name} and {other.name} have the same name; remove the one that is not meant"
            )
    stems = [by_stem.get(file.stem, by_stem.get(file.name)) for file in files]
    if _count(stems) == min(len(files), len(others)):
        return stems
    timed = _by_time(files, others)
    if timed is not None:
        if not _count(timed):
            raise SequenceError(
                f"{what}: no time is within {MAX_TIME_DIFFERENCE:g} s of an image's: {_example(files, others)}"
            )
        return timed
    file_numbers, other_numbers = _numbers(files), _numbers(others)
    if shift := _shift(file_numbers, other_numbers):
        raise SequenceError(
            f"{what}: is numbered {shift:+d} against the images, or some images are missing: {_example(files, others)}; "
            "name them as the images, and remove those of no image"
        )
    whole = _joined(file_numbers, other_numbers, others)
    if whole is not None and _count(whole) == min(len(files), len(others)):
        return whole
    columns = product(_changing(file_numbers), _changing(other_numbers))
    by_column = (_joined(_column(file_numbers, i), _column(other_numbers, j), others) for i, j in columns)
    candidates = [pairs for pairs in (whole, *by_column) if pairs is not None]
    if candidates and not any(_contradict(a, b) for a, b in combinations(candidates, 2)):
        return max(candidates, key=_count)
    if not candidates and _count(stems) >= LEAST_SHARE * min(len(files), len(others)):
        return stems
    problem = (
        "more than one number in the names could join them" if candidates else "the names do not show which belong"
    )
    raise SequenceError(f"{what}: {problem} to which image: {_example(files, others)}; name them as the images")


def changing_numbers(files: Sequence[Path]) -> list[int] | None:
    """The one number in the files' names that changes from file to file; None when there is none or more than one."""
    numbers = _numbers(files)
    columns = [column for i in _changing(numbers) if len(set(column := _column(numbers, i))) == len(files)]
    if len(columns) != 1 or any(value is None for value in columns[0]):
        return None
    return [int(value) for value in columns[0] if isinstance(value, int)]


def depth_by_name(files: Sequence[Path], others: Sequence[Path], what: str) -> tuple[Pairs, list[str]]:
    """The depth file of each image as by `files_by_name`, and a note where only the first images have one by their numbers: depth
    that was recorded at a lower rate and counted on its own looks the same."""
    pairs = files_by_name(files, others, what)
    count = _count(pairs)
    numbers = changing_numbers(files) if count else None
    if numbers is None or len(files) - count <= MOST_MISSING * len(files) or stamps_in_names(files) is not None:
        return pairs, []
    first = sorted((number, pair is not None) for number, pair in zip(numbers, pairs, strict=True))[:count]
    is_dense = first[-1][0] - first[0][0] == count - 1
    if count < len(others) or not is_dense or not all(has_depth for _, has_depth in first):
        return pairs, []
    note = (
        f"{what}: only the first {count} of {len(files)} images have depth, by equal numbers: this is wrong if depth was "
        "recorded at a lower rate and counted on its own"
    )
    return pairs, [note]


def in_order(files: Sequence[Path]) -> list[Path]:
    """Files of a folder by the time in their names, else as by `by_name`."""
    times = stamps_in_names(files)
    return by_name(files) if times is None else [files[i] for i in np.argsort(times, kind="stable")]


def by_name(files: Sequence[Path]) -> list[Path]:
    """Files in the order of `name_order`."""
    return [files[i] for i in name_order(files)]


def name_order(files: Sequence[Path]) -> list[int]:
    """The places of files in the order of their names, with numbers by value: those of one folder by the decimal numbers at their
    ends where they have some, of which `1.5` is before `1.25` in the order of whole numbers."""
    decimals = last_decimals(files) if len({file.parent for file in files}) == 1 else None
    if decimals is not None:
        return [int(i) for i in np.argsort(decimals, kind="stable")]
    return sorted(range(len(files)), key=lambda i: natural_key(files[i].as_posix()))


def images_in_pose_order(pose_file: Path, files: Sequence[Path], poses: int) -> list[Path]:
    """The image of each line of a pose file without time stamps, existing or not.

    Line i belongs to the i-th image, in the order of `in_order`. With fewer images than lines the numbers in the names decide, as
    by `first_number`; raises SequenceError when they are ambiguous.
    """
    files = in_order(files)
    if len(files) == poses:
        return files
    is_counted = bool(files) and last_decimals(files) is None
    known = (changing_numbers(files) if is_counted else None) or []
    first = first_number(known, poses)
    if first is None or not 0 < len(files) == len(set(known)) < poses or max(known) - first >= poses:
        raise undetermined(pose_file, known or len(files), poses)
    by_number = {number - first: file for number, file in zip(known, files, strict=True)}
    return [by_number.get(i, _renumbered(files[0], known[0], i + first)) for i in range(poses)]


def first_number(numbers: Sequence[int], poses: int) -> int | None:
    """The number of the image of the first pose in a list without numbers; None where the images' numbers leave it open.

    It is 0 unless images are counted from another number: as many as there are poses follow each other, or there are those of 1
    and of the number of poses. Fewer images from 1 may as well be those from 0 without the first one.
    """
    low, high = min(numbers, default=0), max(numbers, default=0)
    spans_all = high - low == poses - 1
    if low == 0 or (low > 1 and high != poses and not (spans_all and len(numbers) == poses)):
        return 0
    return low if spans_all else None


def undetermined(pose_file: Path, images: Sequence[int] | int, poses: int) -> SequenceError:
    """The error for images, by their numbers or their count, whose poses in a file are not known."""
    count, numbers = (images, "") if isinstance(images, int) else (len(images), f" ({min(images)} to {max(images)})")
    return SequenceError(
        f"{pose_file}: has {poses} poses for {count} images, and the images' numbers{numbers} do not determine the assignment; "
        "give one pose per image"
    )


def numbering_note(pose_file: Path, first: int) -> list[str]:
    """What to note of images that are not counted from 0, as `first_number` found."""
    return (
        [f"images are numbered from {first}: the first pose of {pose_file.name} is that of image {first}"]
        if first
        else []
    )


def _renumbered(file: Path, number: int, other: int) -> Path:
    """The file of another number, which need not exist."""
    last = [found for found in re.finditer(r"\d+", file.stem) if int(found[0]) == number][-1]
    stem = f"{file.stem[: last.start()]}{other:0{len(last[0])}d}{file.stem[last.end() :]}"
    return file.with_name(stem + file.suffix)


def _by_time(files: Sequence[Path], others: Sequence[Path]) -> Pairs | None:
    times, other_times = stamps_in_names(files), stamps_in_names(others)
    if times is None or other_times is None:
        return None
    order = np.argsort(other_times, kind="stable")
    partners = nearest_pairs(times, other_times[order], MAX_TIME_DIFFERENCE)
    return [None if partner is None else others[order[partner]] for partner in partners]


def _numbers(files: Sequence[Path]) -> list[tuple[int, ...]]:
    return [tuple(map(int, re.findall(r"\d+", file.stem))) for file in files]


def _changing(numbers: Sequence[tuple[int, ...]]) -> list[int]:
    """Positions of numbers that are not the same in all names; all of a single name."""
    shortest = min(map(len, numbers))
    return [i for i in range(shortest) if len(numbers) == 1 or len({entry[i] for entry in numbers}) > 1]


def _column(numbers: Sequence[tuple[int, ...]], position: int) -> Keys:
    return [entry[position] for entry in numbers]


def _joined(keys: Keys, other_keys: Keys, others: Sequence[Path]) -> Pairs | None:
    """Pairs of equal keys; None when a key is not unique or too few are equal."""
    if () in keys or () in other_keys or len(set(keys)) < len(keys) or len(set(other_keys)) < len(other_keys):
        return None
    by_key = dict(zip(other_keys, others, strict=True))
    pairs = [by_key.get(key) for key in keys]
    return pairs if _count(pairs) >= max(1, LEAST_SHARE * min(len(keys), len(others))) else None


def _contradict(pairs: Pairs, others: Pairs) -> bool:
    return any(a is not None and b is not None and a != b for a, b in zip(pairs, others, strict=True))


def _shift(numbers: Sequence[tuple[int, ...]], others: Sequence[tuple[int, ...]]) -> int:
    """The difference by which one of two lists of numbered names counts from another number than the other; 0 for none.

    It is one that joins more of the names than equal numbers do, and the first or the last ones, or all of the shorter list. A
    few numbers here and there, as of masks, say nothing: any difference joins them to some of the others.
    """
    columns = [[_column(part, i) for i in _changing(part)] for part in (numbers, others)]
    for a, b in product(*columns):
        first, second = ({number for number in part if isinstance(number, int)} for part in (a, b))
        shorter, longer = sorted((first, second), key=len)
        least, joined = len(shorter), len(first & second)
        if least < 2 or len(first) < len(a) or len(second) < len(b) or joined == least:
            continue
        is_dense = least >= DENSE * (max(shorter) - min(shorter) + 1)
        is_only = {len(entry) for entry in [*numbers, *others]} == {1}
        if not (is_dense or least >= LEAST_SHARE * len(longer)) or not (is_only or joined >= LEAST_SHARE * least):
            continue
        ends = (min(second) - min(first), max(second) - max(first))
        for shift in dict.fromkeys((*ends, 1, -1)):
            shifted = len({number + shift for number in first} & second)
            if shift and shifted > max(joined, LEAST_SHARE * least) and (shift in ends or shifted == least):
                return shift
    return 0


def _count(pairs: Pairs) -> int:
    return sum(pair is not None for pair in pairs)


def _example(files: Sequence[Path], others: Sequence[Path]) -> str:
    return f"images are named as {files[0].name}, these as {others[0].name}"
