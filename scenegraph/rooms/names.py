"""Names for rooms from the objects in them: a vote by class, without any model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

VOTES: dict[str, dict[str, float]] = {
    "bathroom": {
        "toilet": 6,
        "bathtub": 6,
        "shower_curtain": 5,
        "sink": 2,
        "towel": 1.5,
        "mirror": 0.6,
        "cabinet": 0.1,
    },
    "bedroom": {"bed": 7, "night_stand": 3, "dresser": 1.5, "pillow": 1, "clothes": 0.4, "lamp": 0.3, "mirror": 0.2},
    "kitchen": {"refrigerator": 6, "counter": 3, "sink": 2, "cabinet": 1, "table": 0.3, "chair": 0.1},
    "living_room": {
        **{"sofa": 5, "television": 1.5, "bookshelf": 0.5, "table": 0.4, "lamp": 0.4},
        **{"pillow": 0.3, "picture": 0.3, "cabinet": 0.3, "books": 0.2},
    },
    "dining_room": {"table": 1.4, "chair": 0.6, "cabinet": 0.3, "lamp": 0.1, "picture": 0.1},
    "office": {
        "desk": 4.5,
        "whiteboard": 4,
        "television": 0.7,
        "bookshelf": 0.7,
        "paper": 0.7,
        "chair": 0.5,
        "books": 0.2,
    },
    "storage": {"shelves": 1.8, "box": 1.0, "bag": 0.3, "otherprop": 0.1, "clothes": 0.2},
    "hallway": {"clothes": 0.6, "bag": 0.4, "mirror": 0.3, "picture": 0.1},
}
"""Votes of one object of a class for each kind of room. Class names are NYU40's; other label spaces vote where they share those
names."""

MOST_COUNTED = 3
"""Objects of one class that vote; a fourth chair adds no information."""
PLAIN = "room"
HALLWAY_ELONGATION, HALLWAY_DOORS = 2.5, 4
DOOR_VOTE, ELONGATION_VOTE = 0.9, 1.0
LARGE_ROOM, LARGE_ROOM_VOTE = 15.0, 0.7
STORAGE_AREA = 8.0
MIN_VOTE = 0.8
AGREEING = 0.5  # votes from which on a class speaks for a kind of room


def name_room(
    objects: Iterable[str], *, doors: int, elongation: float, area: float, predicted: bool = False
) -> tuple[str, dict[str, float]]:
    """The name of a room and the scores (summing to 1) of all names with votes.

    `objects` are the class names of the objects in it; `doors` the openings to other rooms; `elongation` the long over the
    short side of the box around its floor; `area` in square metres. Shape votes too: a hallway has many doors or is
    long, a store room is small, a living room large. Rooms without votes are named `room`, and so are those of objects
    whose names are `predicted`, unless several classes agree and have most of the votes: one wrong bed makes no bedroom. Where
    names are predicted, that there is no furniture is no evidence: a hallway must be long or have many doors.
    """
    counts: dict[str, int] = {}
    for name in objects:
        counts[name] = counts.get(name, 0) + 1
    scores = {room: _votes(counts, weights) for room, weights in VOTES.items()}
    is_long = elongation >= HALLWAY_ELONGATION
    scores["hallway"] += DOOR_VOTE * min(max(doors - 1, 0), 4) + ELONGATION_VOTE * is_long
    scores["storage"] *= min(max((STORAGE_AREA - area) / (0.5 * STORAGE_AREA), 0.0), 1.0)
    if area >= LARGE_ROOM and doors < 3:
        scores["living_room"] += LARGE_ROOM_VOTE
    scores = {room: score for room, score in scores.items() if score > 0}
    best = max(scores, key=lambda room: (scores[room], room), default=PLAIN)
    agreeing = sum(weight >= AGREEING for name, weight in VOTES.get(best, {}).items() if name in counts)
    total = sum(scores.values())
    certain = doors >= (2 if is_long else HALLWAY_DOORS) if best == "hallway" else agreeing >= 2
    doubtful = predicted and (not certain or scores.get(best, 0.0) < 0.5 * total)
    if doubtful or scores.get(best, 0.0) < MIN_VOTE:
        return PLAIN, _normalised({**scores, PLAIN: total + MIN_VOTE if doubtful else MIN_VOTE})
    return best, _normalised(scores)


def _votes(counts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    # The second and third object of a class count half and a third.
    return sum(
        weight * sum(1 / k for k in range(1, min(counts.get(name, 0), MOST_COUNTED) + 1))
        for name, weight in weights.items()
    )


def _normalised(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores summing to 1, highest first."""
    total = sum(scores.values())
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return {name: round(score / total, 4) for name, score in ordered}
