"""Scalars for TensorBoard, and the same as JSON lines, without the tensorboard package.

An event file is a row of TFRecords (length, checksum, protocol buffer, checksum); `tensorboard --logdir RUN` reads it.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from pathlib import Path


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of the bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


class EventLog:
    """Appends scalars to `events.out.tfevents.*` and `log.jsonl` in a folder; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self._events = (folder / f"events.out.tfevents.{int(now)}.m2h").open("ab")
        self._lines = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._write(struct.pack("<Bd", 0x09, now) + _bytes(3, b"brain.Event:2"))

    def add(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write the values that are not None at a step."""
        known = {name: float(value) for name, value in values.items() if value is not None}
        summary = b"".join(
            _bytes(1, _bytes(1, name.encode()) + struct.pack("<Bf", 0x15, value)) for name, value in known.items()
        )
        self._write(struct.pack("<Bd", 0x09, time.time()) + b"\x10" + _varint(step) + _bytes(5, summary))
        self._lines.write(json.dumps({"step": step, **known}) + "\n")
        self._events.flush()
        self._lines.flush()

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._events.write(length + _checksum(length) + event + _checksum(event))

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *error: object) -> None:
        self._events.close()
        self._lines.close()


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])
