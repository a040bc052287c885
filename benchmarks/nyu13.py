"""The NYU13 class of each NYU40 label, for training and measurements, and the label that stands for its class."""

from __future__ import annotations

from scenegraph.labels import load_label_space, nyu40

NYU13_OF_NYU40 = (
    0,
    *(
        int(n)
        for n in "12 5 6 1 4 9 10 12 13 6 8 6 13 10 6 13 6 7 7 5 7 3 2 6 11 7 7 7 7 7 7 6 7 7 7 7 7 7 6 7".split()
    ),
)
"""The NYU13 class of each NYU40 label (Couprie et al., ICLR 2013), 0 for unknown."""
_NEVER_BROADER = ("person", "otherstructure")
"""A person moves, and stairs (otherstructure) are part of the building, unlike what they share a class with."""


def broader_labels() -> tuple[int, ...]:
    """The NYU40 label by which each label is named where only its NYU13 class is sure; the label space `nyu13` names it."""
    space = nyu40()
    standing = {each.id: space.id_of(each.nyu40 or "unknown") for each in load_label_space("nyu13").classes}
    return tuple(
        label if space.name_of(label) in _NEVER_BROADER else standing[group]
        for label, group in enumerate(NYU13_OF_NYU40)
    )


NYU40_BROADER = broader_labels()
