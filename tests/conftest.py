"""Fixtures that several test modules share."""

from pathlib import Path

import pytest
from box_room import write_box_room


@pytest.fixture(scope="session")
def box_room(tmp_path_factory) -> Path:
    """A canonical sequence of a furnished box of a room, thirty small frames; read-only for all tests."""
    folder = tmp_path_factory.mktemp("box_room") / "sequence"
    write_box_room(folder)
    return folder
