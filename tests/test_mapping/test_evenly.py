"""Some of many, evenly spread."""

import pytest

from mapping.evenly import evenly


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10))), (99, list(range(10)))],
)
def test_first_and_last_and_even_steps_between(count, expected):
    assert evenly(range(10), count) == expected
    assert evenly([], count) == []
