"""Event files: the checksum's test vector, and records read back by an independent reader."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from m2h.event_log import EventLog, crc32c


def test_crc32c_vector() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720
    assert crc32c(bytes(32)) == 0x8A9136AA


def fields(data: bytes) -> list[tuple[int, object]]:
    """A small reader of protocol buffers: doubles, floats, varints and bytes."""
    found: list[tuple[int, object]] = []
    while data:
        key, data = varint(data)
        if key & 7 == 0:
            value, data = varint(data)
            found.append((key >> 3, value))
        elif key & 7 == 2:
            length, data = varint(data)
            found.append((key >> 3, data[:length]))
            data = data[length:]
        else:
            form, size = ("<d", 8) if key & 7 == 1 else ("<f", 4)
            found.append((key >> 3, struct.unpack(form, data[:size])[0]))
            data = data[size:]
    return found


def varint(data: bytes) -> tuple[int, bytes]:
    value = 0
    for i, byte in enumerate(data):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, data[i + 1 :]
    raise AssertionError("cut off")


def test_scalars_read_back(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.add(300, {"train/loss": 2.5, "missing": None, "train/depth": 0.25})
    data = next(tmp_path.glob("events.out.tfevents.*")).read_bytes()
    events = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        events.append(dict(fields(data[12 : 12 + length])))
        data = data[12 + length + 4 :]
    assert events[0][3] == b"brain.Event:2"
    assert events[1][2] == 300
    values = [dict(fields(v)) for _, v in fields(events[1][5])]  # type: ignore[arg-type]
    assert [(v[1], v[2]) for v in values] == [(b"train/loss", 2.5), (b"train/depth", 0.25)]
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 300, "train/loss": 2.5, "train/depth": 0.25}


def test_tensorboard_reads_it(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with EventLog(tmp_path) as log:
        log.add(1, {"a": 1.0})
    accumulator = loader.EventAccumulator(str(tmp_path))
    accumulator.Reload()
    assert accumulator.Scalars("a")[0].value == 1.0
