"""Damaged sequences are read, or refused in one line: no other error, no warning of a library, no hang, nothing empty."""

from pathlib import Path

import pytest
from attacks import LONG, SHORT, SPECIAL, counted, damage, fresh_copy, make_special, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from sequence_folders import WRITERS

from pipelines.sequences.detect import open_sequence

PLAIN = {
    "camera.yaml": b"fx: 20\nfy: 21\ncx: 7\ncy: 5\n",
    "m2h.yaml": b"depth_scale: 1000\nworld_up: [0, 0, 1]\ntime_offset: 0.0\n",
}


class Folders(dict):
    """By a name the format, the folder and its files; short in reports."""

    def __repr__(self):
        return "..."


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An undamaged sequence of every format, and by its name the files that can be damaged."""
    base = tmp_path_factory.mktemp("whole")
    found = Folders()
    for name, (format, write) in WRITERS.items():
        write(base / name)
        if format in ("nerfstudio", "tum"):
            (base / name / "m2h.yaml").write_bytes(PLAIN["m2h.yaml"])
        files = sorted(path.relative_to(base / name) for path in (base / name).rglob("*") if path.is_file())
        # Text as often as pixels, of which there are more files.
        texts = [file for file in files if file.suffix not in (".png", ".jpg", ".mp4")]
        found[name] = format, base / name, texts * max(1, len(files) // max(len(texts), 1)) + files
    return found


def read_all(format: str, path: Path) -> None:
    """What is accepted has frames, and these have pixels, and depth where there is any."""
    sequence = open_sequence(f"{format}:{path}")
    frames = []
    for i, info in enumerate(sequence.infos):
        if info.used:
            refused(lambda i=i: frames.append(sequence[i]))
    assert any(info.used for info in sequence.infos)
    for frame in frames:
        assert frame.rgb.size
        assert frame.recorded.depth is None or (frame.recorded.depth > 0).any()


def attack(data, folders, target):
    name = data.draw(st.sampled_from(sorted(folders)), label="format")
    format, source, files = folders[name]
    file = data.draw(st.sampled_from(files), label="file")
    path = fresh_copy(source, target)
    damage(data, path / file, source / file)
    counted(refused(lambda: read_all(format, path)))


def test_undamaged_sequences_are_read(folders):
    for format, path, _ in folders.values():
        assert refused(lambda format=format, path=path: read_all(format, path)) == ""


@pytest.mark.parametrize("kind", SPECIAL)
def test_any_file_of_a_sequence_that_is_none(folders, tmp_path, kind):
    """The first of every suffix of every format."""
    for format, source, files in folders.values():
        for file in {file.suffix: file for file in reversed(files)}.values():
            path = fresh_copy(source, tmp_path / "damaged")
            make_special(path / file, kind)
            refused(lambda format=format, path=path: read_all(format, path))


@settings(SHORT, max_examples=150)
@given(data=st.data())
def test_damaged_sequences(data, folders, tmp_path):
    attack(data, folders, tmp_path / "damaged")


@pytest.mark.full
@settings(LONG)
@given(data=st.data())
def test_many_damaged_sequences(data, folders, tmp_path):
    attack(data, folders, tmp_path / "damaged")
