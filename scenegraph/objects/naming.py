"""Names of objects by the mean probabilities of all labels on their surface and by their boxes.

A network that names a class only where that is right more often than not says nothing of most pixels of what it hardly knows.
Its probabilities, averaged over the frames that see an object, still say more of it than chance (McCormac et al., SemanticFusion,
ICRA 2017), and what it confuses differs in size: a chair is no bed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenegraph.labels import LabelSpace
from scenegraph.nodes import OrientedBox
from scenegraph.objects.evidence import MORE_OFTEN_THAN_NOT
from scenegraph.objects.sizes import ON_LEGS, is_whole, plausible
from scenegraph.objects.typical_boxes import box_ratios

Array = NDArray[np.float64]

LEAST_SEEN = 0.003
"""Probability of a class that the network finds nowhere on an object: it may be one that it never learnt."""
NO_OBJECT = 0.6
"""Share of the probability of walls, floors and no label that counts against there being an object at all: geometry says that it
stands out from them."""

LIKELY, LEAST_SHARE = 0.5, 0.2
"""Probability from which on the likeliest class is the name, and mean probability that the network must give it.

In three rendered worlds the class is right for 17 of 26 objects that are named by this, and not by half of the frames (script not
kept)."""
IMPROBABLE = 0.1
"""Mean probability below which even what frames name more often than not is no name: few near frames have outvoted all others."""
LEAST_EXTENT = 0.3
"""Metres; of smaller objects the box says next to nothing, and what frames name is all that is known."""
VAGUE = frozenset({"otherfurniture", "otherprop"})
"""Classes that say next to nothing of an object; they are named only where frames do."""


class LikelyName(NamedTuple):
    """The id of a label, and the probability that it is right."""

    label: int
    probability: float


def is_named(name: str, size: Array, confidence: float) -> bool:
    """Whether a name is right more often than not: of at least half of the evidence, and with a box that a whole object of the
    class fills."""
    return confidence >= MORE_OFTEN_THAN_NOT and plausible(name, size) and is_whole(name, size)


def likely_name(shares: Array, box: OrientedBox, floor: float, label_space: LabelSpace) -> LikelyName:
    """The likeliest class of an object.

    shares (number of label ids,) are the mean probabilities of all labels on its surface, id 0 for none; `floor` is the height
    of the floor that it stands on or hangs above. Classes are weighted by how well the box fits them (Bayes' rule, with both
    taken to be independent); those of which the box is too large, or too small to be whole, are not considered.
    """
    ids = np.array([each.id for each in label_space.classes if each.kind == "object"])
    names = [label_space.name_of(int(label)) for label in ids]
    base = float(box.center[2] - box.size[2] / 2 - floor)
    standing = box.size + np.array([0.0, 0.0, max(base, 0.0)])
    sizes = [standing if name in ON_LEGS else box.size for name in names]  # the lower part is often not mapped
    ratios = box_ratios(box.size, base, names)
    possible = np.array(
        [plausible(name, size) and is_whole(name, size) for name, size in zip(names, sizes, strict=True)]
    )
    weights = np.where(possible, (shares[ids] + LEAST_SEEN) * ratios, 0.0)
    against = NO_OBJECT * max(1.0 - float(shares[ids].sum()), 0.0)
    best = int(np.argmax(weights))
    return LikelyName(int(ids[best]), float(weights[best] / max(weights.sum() + against, 1e-12)))


def found_name(shares: Array, box: OrientedBox, floor: float, label_space: LabelSpace) -> LikelyName | None:
    """The likeliest class, where labels and box agree on it and it is right more often than not.

    A box alone makes no name: sofas and tables are about as large, and few rooms have furniture of the sizes in a table.
    """
    if box.size.max() < LEAST_EXTENT:
        return None
    found = likely_name(shares, box, floor, label_space)
    likeliest = max(shares[each.id] for each in label_space.classes if each.kind == "object")
    agreed = shares[found.label] == likeliest >= LEAST_SHARE and found.probability >= LIKELY
    return found if agreed and label_space.name_of(found.label) not in VAGUE else None
