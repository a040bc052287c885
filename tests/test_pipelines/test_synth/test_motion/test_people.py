"""People: their bodies, paths and clearances."""

import numpy as np
import pytest
from synth_worlds import at, box_world, cube

from mapping.camera import Intrinsics
from pipelines.synth.motion.camera_path import CameraPath
from pipelines.synth.motion.figure import LIMBS, PERSON_LABEL, make_figure, pose_figure
from pipelines.synth.motion.people import LEAST_DISTANCE, PeopleError, person_boxes, plan_people
from pipelines.synth.rendering.people_light import Moving
from pipelines.synth.rendering.render import Renderer
from pipelines.synth.rendering.surfaces import local_surfaces

TABLE = (np.array([2.6, 1.8, 0.0]), np.array([3.4, 2.6, 0.8]))
CAMERA = Intrinsics(65.0, 65.0, 39.5, 29.5, 80, 60)


def still_camera(duration=40.0, eye=(0.6, 0.6, 1.5)):
    """A camera in a corner that looks left and right."""
    times = np.arange(0.0, duration, 0.04)
    zero = np.zeros(len(times))
    eyes = np.tile(np.array(eye), (len(times), 1))
    return CameraPath(times, eyes, 0.7 + 0.4 * np.sin(times / 4), zero - 0.1, zero, np.zeros(len(times), np.int64))


def walking_camera():
    """A camera that walks along the room and back, right through where people may be."""
    path = still_camera()
    x = 2.5 + 1.6 * np.sin(path.times / 4)
    eyes = np.column_stack([x, np.full(len(x), 1.0), np.full(len(x), 1.5)])
    return CameraPath(path.times, eyes, path.yaw, path.pitch, path.roll, path.storeys)


@pytest.fixture(scope="module")
def world():
    return box_world((5.0, 4.0, 2.5), [cube(7, 0.8, at(3.0, 2.2))])


@pytest.fixture(scope="module")
def people(world):
    return plan_people(world, 0, 3, walking_camera(), 8, np.random.default_rng(4))


def boxes_over_time(people, times):
    return np.stack([person_boxes(people.surfaces(t)) for t in times], axis=1)


def test_figures_are_people():
    rng = np.random.default_rng(0)
    for number in range(8):
        figure = make_figure(rng, number + 1)
        surfaces = local_surfaces(figure.bodies).posed(
            pose_figure(figure, np.array([1.0, 2.0, 3.0]), 0.3, 1.0, 0.0, 0.0)
        )
        low, high = surfaces.vertices.min(axis=0), surfaces.vertices.max(axis=0)
        assert low[2] == pytest.approx(3.0, abs=1e-6)  # the feet on the floor
        assert high[2] - low[2] == pytest.approx(figure.height, abs=0.08)
        assert ((high - low)[:2] < 0.75).all()
        assert set(surfaces.labels) == {PERSON_LABEL}
        assert set(surfaces.numbers) == {number + 1}
        assert len(figure.bodies) == len(LIMBS)


def test_limbs_hang_together_through_a_step():
    figure = make_figure(np.random.default_rng(1), 1)
    shin, thigh = LIMBS.index("shin_l"), LIMBS.index("thigh_l")
    arm, hand = LIMBS.index("arm_r"), LIMBS.index("hand_r")
    lowest = []
    for phase in np.linspace(0, 2 * np.pi, 17):
        poses = pose_figure(figure, np.zeros(3), 0.0, phase, 1.0, 0.0)
        np.testing.assert_allclose(poses[thigh] @ [0, 0, -figure.thigh, 1], poses[shin] @ [0, 0, 0, 1], atol=1e-9)
        np.testing.assert_allclose(poses[arm] @ [0, 0, -figure.arm, 1], poses[hand] @ [0, 0, 0, 1], atol=1e-9)
        lowest.append(local_surfaces(figure.bodies).posed(poses).vertices[:, 2].min())
    np.testing.assert_allclose(lowest, 0.0, atol=1e-9)


def test_legs_and_arms_swing_in_opposition_along_the_heading():
    figure = make_figure(np.random.default_rng(2), 1)
    for heading in (0.0, 2.0):
        poses = pose_figure(figure, np.zeros(3), heading, np.pi / 2, 1.0, 0.0)
        forward = np.array([np.cos(heading), np.sin(heading), 0.0])
        tips = {name: poses[LIMBS.index(name)] @ [0, 0, -0.3, 1] for name in ("thigh_l", "thigh_r", "arm_l", "arm_r")}
        roots = {name: poses[LIMBS.index(name)][:, 3] for name in tips}
        reach = {name: float((tips[name] - roots[name])[:3] @ forward) for name in tips}
        assert reach["thigh_l"] > 0.05 > -0.05 > reach["thigh_r"]
        assert reach["arm_r"] > 0.05 > -0.05 > reach["arm_l"]


def test_people_stay_out_of_furniture_and_walls(people):
    times = np.arange(0.0, 40.0, 0.5)
    low, high = TABLE
    for time in times:
        vertices = people.surfaces(time).vertices
        assert not ((vertices > low) & (vertices < high)).all(axis=1).any()
        assert (vertices > [0, 0, -1e-6]).all()
        assert (vertices < [5.0, 4.0, 2.5]).all()


def test_people_keep_their_distance(people):
    times = people.walkers[0].times
    eyes = walking_camera().eyes_at(times)
    for k, walker in enumerate(people.walkers):
        assert np.linalg.norm(walker.feet[:, :2] - eyes[:, :2], axis=1).min() >= LEAST_DISTANCE - 1e-9
        for other in people.walkers[:k]:
            assert np.linalg.norm(walker.feet - other.feet, axis=1).min() >= LEAST_DISTANCE - 1e-9


def test_people_walk_and_stand(people):
    for walker in people.walkers:
        speed = np.linalg.norm(np.diff(walker.feet, axis=0), axis=1) / np.diff(walker.times)
        assert speed.max() < 1.2
        assert (speed > 0.4).mean() > 0.1
        assert (speed < 0.05).mean() > 0.05
        assert np.linalg.norm(np.ptp(walker.feet[:, :2], axis=0)) > 1.0
        moving = speed > 0.5
        direction = np.arctan2(*np.diff(walker.feet[:, :2], axis=0)[:, ::-1].T)
        off = np.abs((walker.heading[:-1] - direction + np.pi) % (2 * np.pi) - np.pi)[moving]
        assert np.median(off) < 0.35  # they face their direction of motion
        assert walker.stride[:-1][moving].min() > 0.2


def test_people_are_seen(world):
    path = still_camera()
    people = plan_people(world, 0, 2, path, 8, np.random.default_rng(1))
    renderer, seen = Renderer(world, 0), {8: 0, 9: 0}
    times = path.frame_times(40)
    for time, pose in zip(times, path.poses(times), strict=True):
        surfaces = people.surfaces(time)
        cubes = np.zeros((len(surfaces.numbers), 6, 3), np.float32)
        view = renderer.view(CAMERA, pose, Moving(surfaces, cubes, people.balls(time), people.centers(time)))
        for number in seen:
            seen[number] += int((view.instances == number).sum() >= 10)
        assert (view.labels[view.instances >= 8] == PERSON_LABEL).all()
    assert min(seen.values()) >= 8


def test_boxes_and_centres_belong_to_each_person(people):
    boxes = boxes_over_time(people, [0.0, 7.0])
    assert boxes.shape == (3, 2, 2, 3)
    for k, time in enumerate((0.0, 7.0)):
        centers = people.centers(time)
        np.testing.assert_allclose(boxes[:, k].mean(axis=1), centers, atol=0.25)
        balls = people.balls(time).reshape(3, 3, 4)
        np.testing.assert_allclose(balls[:, :, :2], centers[:, None, :2].repeat(3, axis=1))
    assert [walker.figure.bodies[0].number for walker in people.walkers] == [8, 9, 10]


def test_the_same_seed_plans_the_same_people(world, people):
    again = plan_people(world, 0, 3, walking_camera(), 8, np.random.default_rng(4))
    np.testing.assert_array_equal(people.surfaces(12.3).vertices, again.surfaces(12.3).vertices)
    other = plan_people(world, 0, 3, walking_camera(), 8, np.random.default_rng(5))
    assert np.abs(people.walkers[0].feet - other.walkers[0].feet).max() > 0.5


def test_too_many_people_are_rejected():
    small = box_world((2.2, 2.0, 2.5))
    with pytest.raises(PeopleError, match=r"no room for person \d+ of 9"):
        plan_people(small, 0, 9, still_camera(5.0), 7, np.random.default_rng(0))
