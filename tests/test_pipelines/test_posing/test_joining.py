"""Joining of unconnected models: what is proved lies right, what is not proved is refused and says why."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from scipy.spatial.transform import Rotation

from mapping.camera import Intrinsics
from mapping.se3 import inverse, look_at, transform_points
from pipelines.posing.joining import SparseModel, agreement, best_attempt, join_models
from pipelines.posing.reconstruction import image_pairs, pairs_across
from pipelines.posing.scale_estimate import SparseView
from pipelines.posing.similarity import LEAST_POINTS, Similarity

CAMERA = Intrinsics(90.0, 90.0, 79.5, 59.5, 160, 120)
ROOM = np.array([2.5, 2.0, 1.3])
"""Half the sides of the room in which all cameras are."""
OTHER = Similarity(0.4, Rotation.from_rotvec([0.3, -1.1, 0.6]).as_matrix(), np.array([3.0, -2.0, 0.5]))
"""From the world of the first part to that of the second."""


def cameras(count, first, last):
    """Poses in metres that look outwards while they walk along a circle, between two angles in degrees."""
    angles = np.radians(np.linspace(first, last, count))
    eyes = np.stack([0.9 * np.cos(angles), 0.9 * np.sin(angles), 0.2 * np.sin(3 * angles)], axis=1)
    return [
        look_at(eye, eye + np.array([np.cos(a + 0.2), np.sin(a + 0.2), 0.0]))
        for eye, a in zip(eyes, angles, strict=True)
    ]


def depth_of_room(T):
    """Depth (H, W) of the walls in a camera."""
    directions = CAMERA.rays() @ T[:3, :3].T
    with np.errstate(divide="ignore"):
        return ((np.sign(directions) * ROOM - T[:3, 3]) / directions).min(axis=-1)


def points_on_walls(rng, count):
    points = rng.uniform(-ROOM, ROOM, (count, 3))
    wall = rng.integers(0, 3, count)
    points[np.arange(count), wall] = rng.choice([-1, 1], count) * ROOM[wall]
    return points


class Recording:
    """A walk in a room in parts, of which structure from motion made models in worlds of their own."""

    def __init__(self, *, first=(10, 0, 90), second=(8, 70, 150), points=1500, noise=0.3, seed=0):
        self.rng = np.random.default_rng(seed)
        self.points = points_on_walls(self.rng, points)
        poses = [*cameras(*first), *cameras(*second)]
        self.names = [f"{i:06d}.png" for i in range(len(poses))]
        self.true = dict(zip(self.names, poses, strict=True))
        self.ids, self.pixels = {}, {}
        for name, T in self.true.items():
            seen = transform_points(inverse(T), self.points)
            front = np.flatnonzero(seen[:, 2] > 0.1)
            pixels = np.asarray(CAMERA.project(seen[front]))
            inside = CAMERA.contains(pixels)
            self.ids[name] = front[inside]
            self.pixels[name] = pixels[inside] + noise * self.rng.normal(size=(inside.sum(), 2))
        self.parts = (self.names[: first[0]], self.names[first[0] :])
        self.predicted = []

    def model(self, names, world, *, known=None, camera=CAMERA, off=0.004):
        """The model of some images; of points those of `known`, all by default."""
        points = self.points + off * self.rng.normal(size=self.points.shape)
        points[[] if known is None else np.setdiff1d(np.arange(len(points)), known)] = np.nan
        shown = {name: points[self.ids[name]] for name in names}
        views = {}
        for name in names:
            seen = transform_points(inverse(self.true[name]), self.points[self.ids[name]])
            views[name] = SparseView(np.asarray(CAMERA.project(seen)), seen[:, 2])
        features = {name: self.pixels[name] for name in names}
        return SparseModel(camera, {name: self.true[name] for name in names}, features, shown, views).moved(world)

    def models(self, **options):
        one = Similarity(1.0, np.eye(3), np.zeros(3))
        return [self.model(self.parts[0], one), self.model(self.parts[1], OTHER, **options)]

    def links(self, a, b):
        _, i, j = np.intersect1d(self.ids[a], self.ids[b], return_indices=True)
        return np.stack([i, j], axis=1)

    def depth_of(self, name):
        self.predicted.append(name)
        return depth_of_room(self.true[name]).astype(np.float32)

    def join(self, models, *, links=None, depth_of=None):
        return join_models(models, self.names, links or self.links, depth_of or self.depth_of)


def worst(whole, recording, names):
    """Largest errors of positions in metres and of rotations in degrees."""
    moved = [whole.poses[name] @ inverse(recording.true[name]) for name in names]
    places = [np.linalg.norm(whole.poses[name][:3, 3] - recording.true[name][:3, 3]) for name in names]
    turns = [np.degrees(np.linalg.norm(Rotation.from_matrix(T[:3, :3]).as_rotvec())) for T in moved]
    return max(places), max(turns)


def test_parts_that_show_the_same_points_are_joined():
    recording = Recording()
    whole, parts = recording.join(recording.models())
    assert [(part.images, part.reason) for part in parts] == [(8, "")]
    assert list(whole.poses) == [*recording.parts[1], *recording.parts[0]]
    place, turn = worst(whole, recording, recording.names)
    assert place < 0.03
    assert turn < 0.5
    name = recording.parts[1][3]
    np.testing.assert_allclose(
        whole.views[name].depths,
        recording.model([name], Similarity(1, np.eye(3), np.zeros(3))).views[name].depths,
        rtol=0.03,
    )


def test_most_links_may_be_wrong():
    """All those between images that do not follow each other, and some between those that do."""
    recording = Recording(seed=1)
    rng = np.random.default_rng(5)

    def links(a, b):
        right = recording.links(a, b)
        if (a in recording.parts[0]) == (b in recording.parts[0]):
            return right
        wrong = np.stack([rng.integers(0, len(recording.ids[name]), 30) for name in (a, b)], axis=1)
        return np.concatenate([right, wrong[:10]]) if int(b[:-4]) - int(a[:-4]) <= 8 else wrong

    whole, parts = recording.join(recording.models(), links=links)
    assert not parts[0].reason
    place, turn = worst(whole, recording, recording.names)
    assert place < 0.06
    assert turn < 1.0


def test_wrong_links_alone_prove_nothing():
    recording = Recording()
    rng = np.random.default_rng(6)

    def links(a, b):
        if (a in recording.parts[0]) == (b in recording.parts[0]):
            return recording.links(a, b)
        return np.stack([rng.integers(0, len(recording.ids[name]), 40) for name in (a, b)], axis=1)

    whole, parts = recording.join(recording.models(), links=links)
    assert len(whole.poses) == 10
    assert parts[0].reason.endswith("common points agree")


def test_an_image_of_both_models_joins_them():
    recording = Recording(first=(10, 0, 90), second=(8, 86, 170))
    models = recording.models()
    models[1] = recording.model([recording.parts[0][-1], *recording.parts[1]], OTHER)
    whole, parts = recording.join(models, links=lambda a, b: np.zeros((0, 2), np.int64))
    assert [(part.images, part.reason) for part in parts] == [(8, "")]
    assert worst(whole, recording, recording.names)[0] < 0.08


def test_a_part_without_images_of_its_own_is_not_mentioned():
    recording = Recording()
    models = recording.models()
    twice = recording.model(recording.parts[0][:3], OTHER, camera=replace(CAMERA, fx=CAMERA.fx * 3, fy=CAMERA.fy * 3))
    _, parts = recording.join([*models, twice])
    assert [(part.images, part.reason) for part in parts] == [(8, "")]


def test_predicted_depth_joins_what_adjoins_in_time_only():
    """No point is in both models, but the images before and after the gap show the same features."""
    recording = Recording(first=(10, 0, 90), second=(8, 94, 170))
    half = np.arange(0, len(recording.points), 2)
    models = [recording.model(recording.parts[0], Similarity(1, np.eye(3), np.zeros(3)), known=half)]
    models.append(recording.model(recording.parts[1], OTHER, known=np.setdiff1d(np.arange(1500), half)))
    whole, parts = recording.join(models)
    assert not parts[0].reason
    place, turn = worst(whole, recording, recording.names)
    assert place < 0.1
    assert turn < 1.5
    far = SimpleNamespace(names=[*recording.parts[0], *(f"x{i}" for i in range(30)), *recording.parts[1]])
    whole, parts = join_models(models, far.names, recording.links, recording.depth_of)
    assert len(whole.poses) == 10
    assert "0 common points agree" in parts[0].reason


def test_too_few_common_points_are_refused_with_their_number():
    recording = Recording()
    few = np.unique(
        np.concatenate([recording.links(a, b)[:, 0] for a in recording.parts[0][-1:] for b in recording.parts[1][:1]])
    )
    shared = np.intersect1d(recording.ids[recording.parts[0][-1]][few], recording.ids[recording.parts[1][0]])[
        : LEAST_POINTS - 8
    ]

    def links(a, b):
        found = recording.links(a, b)
        return found[np.isin(recording.ids[a][found[:, 0]], shared)]

    whole, parts = recording.join(recording.models(), links=links)
    assert len(whole.poses) == 10
    number = int(parts[0].reason.removeprefix("only ").removesuffix(" common points agree"))
    assert len(shared) - 3 < number <= len(shared)


def test_two_places_that_look_alike_are_refused():
    """The images of the first part are in it twice, once turned by half a turn: the second part lies as well at either."""
    recording = Recording(first=(12, 0, 330), second=(8, 30, 120))
    model, part = recording.models()
    spun = model.moved(Similarity(1.0, np.diag([-1.0, -1.0, 1.0]), np.zeros(3)))

    def twin(entries):
        return {f"t{name}": value for name, value in entries.items()}

    twins = replace(
        spun, poses=twin(spun.poses), features=twin(spun.features), shown=twin(spun.shown), views=twin(spun.views)
    )
    gap = [f"gap{i}" for i in range(20)]
    names = [*model.poses, *gap, *twins.poses, *gap, *part.poses]
    whole, parts = join_models(
        [model.with_part(twins), part],
        names,
        lambda a, b: recording.links(a.removeprefix("t"), b.removeprefix("t")),
        lambda name: recording.depth_of(name.removeprefix("t")),
    )
    assert len(whole.poses) == 24
    assert parts[0].reason.startswith("two places look alike")


def test_sizes_in_metres_that_contradict_are_refused():
    recording = Recording()
    first = set(recording.parts[0])
    _, parts = recording.join(
        recording.models(), depth_of=lambda name: recording.depth_of(name) * (2 if name in first else 1)
    )
    assert parts[0].reason == "joined, their sizes in metres would differ by a factor of 2.0"


def test_points_that_would_float_in_the_air_are_refused():
    """The second part is of another, larger room, in which a piece at the left of each image looks as the first room."""
    recording = Recording()
    whole, part = recording.models()
    left = CAMERA.width // 3

    def depth_of(name):
        depth = recording.depth_of(name)
        if name in part.poses:
            depth[:, left:] *= 3
        return depth

    views, shown = {}, {}
    for name, view in part.views.items():
        known = view.pixels[:, 0] < left
        views[name] = SparseView(view.pixels[known], view.depths[known])
        shown[name] = np.where(known[:, None], part.shown[name], np.nan)
    part = replace(part, views=views, shown=shown)
    joined, parts = recording.join([whole, part], depth_of=depth_of)
    assert len(joined.poses) == 10
    assert "points would float in front of surfaces" in parts[0].reason
    _, parts = recording.join([whole, part])
    assert not parts[0].reason


def test_a_model_that_adjoining_images_contradict_is_cut_and_joined_as_these_say():
    """Structure from motion put the second part at a place that looks alike, far off."""
    recording = Recording()
    one, wrong = Similarity(1.0, np.eye(3), np.zeros(3)), Similarity(1.2, OTHER.R, np.array([4.0, 0.0, 1.0]))
    model = recording.model(recording.parts[0], one).with_part(recording.model(recording.parts[1], wrong))
    whole, parts = recording.join([model])
    assert [(part.images, part.reason) for part in parts] == [(8, "")]
    assert worst(whole, recording, recording.names)[0] < 0.03
    kept, parts = recording.join([recording.model(recording.names, one)])
    assert not parts
    assert worst(kept, recording, recording.names)[0] == 0


def bent(model, names, degrees):
    """A model whose later images turn more and more about an upright axis: neighbours still fit."""
    poses = dict(model.poses)
    for i, name in enumerate(names):
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("z", degrees * i / len(names), degrees=True).as_matrix()
        poses[name] = turn @ poses[name]
    return replace(model, poses=poses)


def test_of_several_starts_that_is_taken_which_matched_images_do_not_contradict():
    recording = Recording(first=(20, 0, 340), second=(2, 350, 355))
    right = recording.model(recording.names, Similarity(1.0, np.eye(3), np.zeros(3)))
    wrong = bent(right, recording.names, 50)
    loop = [(a, b) for i, a in enumerate(recording.names) for b in recording.names[i + 1 :]]
    asked = []

    def attempts(*models):
        for model in models:
            asked.append(model)
            yield [] if model is None else [model]

    assert agreement([wrong], loop, recording.links).is_contradicted
    assert agreement([right], loop, recording.links).wrong == 0
    assert best_attempt(attempts(wrong, right, None), loop, recording.links) == [right]
    assert len(asked) == 2  # the third is not asked for
    worse = bent(right, recording.names, 200)
    assert best_attempt(attempts(None, worse, wrong), loop, recording.links) == [wrong]
    assert best_attempt(attempts(None, None), loop, recording.links) == []


def test_what_adjoining_images_contradict_is_dropped():
    """All that far images of both parts have in common says that the second one is elsewhere."""
    recording = Recording(first=(12, 0, 40), second=(10, 20, 60))
    models = recording.models()
    rng = np.random.default_rng(7)

    def links(a, b):
        near = abs(int(a[:-4]) - int(b[:-4])) <= 8
        if near and (a in models[0].poses) != (b in models[0].poses):
            return np.stack([rng.integers(0, len(recording.ids[name]), 40) for name in (a, b)], axis=1)
        return recording.links(a, b)

    whole, parts = recording.join(models, links=links)
    assert len(whole.poses) == 12
    assert "contradicts" in parts[0].reason


def test_another_focal_length_is_refused():
    recording = Recording()
    other = replace(CAMERA, fx=CAMERA.fx * 1.2, fy=CAMERA.fy * 1.2)
    _, parts = recording.join(recording.models(camera=other))
    assert parts[0].reason == "its focal length is +20 % off"


def test_a_part_that_connects_to_another_one_only_is_joined_after_it():
    recording = Recording(first=(10, 0, 90), second=(16, 70, 230))
    second, third = recording.parts[1][:8], recording.parts[1][8:]
    one = Similarity(1.0, np.eye(3), np.zeros(3))
    models = [
        recording.model(recording.parts[0], one),
        recording.model(third, OTHER),
        recording.model(second, OTHER.inverse()),
    ]

    def links(a, b):
        none = {a, b} & set(recording.parts[0]) and {a, b} & set(third)
        return np.zeros((0, 2), np.int64) if none else recording.links(a, b)

    whole, parts = recording.join(models, links=links)
    assert [part.reason for part in parts] == ["", ""]
    assert len(whole.poses) == 26
    assert worst(whole, recording, recording.names)[0] < 0.1


def test_pairs_across_models_are_new_ones_near_in_the_order_and_some_of_all():
    first, second = list(range(150)), list(range(150, 180))
    pairs = pairs_across([first, second], 180)
    assert 390 < len(pairs) <= 400
    assert not set(pairs) & set(image_pairs(180))
    assert all(i < 150 <= j for i, j in pairs)
    assert {(149, 160), (0, 179)} <= set(pairs) | set(image_pairs(180))
    assert min(i for i, _ in pairs) == 0
    assert pairs_across([[0, 1], [2]], 3) == []
