"""The list and the plan: what is read, what is refused and in which words, which steps there are."""

import json

import pytest
from batch_worlds import plan_of

from pipelines.batch.listing import BatchError, read_list
from pipelines.batch.plan import make_plan, read_plan
from pipelines.config import ConfigError


def write_list(folder, text):
    (folder / "list.yaml").write_text(text)
    return folder / "list.yaml"


def test_paths_are_relative_to_the_list_and_may_have_a_format(tmp_path):
    for name in ("b", "a"):
        (tmp_path / "recordings" / name).mkdir(parents=True)
    path = write_list(
        tmp_path,
        "sequences:\n  - recordings/*\n  - {path: tum:desk 1, pieces: 4, building: house}\n"
        "  - {path: /elsewhere/x.mp4, name: walk}\nset: [tsdf.voxel_size=0.1]\npieces: 2\n",
    )
    units, settings = read_list(path)
    assert [(unit.name, unit.sequence, unit.pieces, unit.building) for unit in units] == [
        ("a", f"{tmp_path}/recordings/a", 2, None),
        ("b", f"{tmp_path}/recordings/b", 2, None),
        ("desk_1", f"tum:{tmp_path}/desk 1", 4, "house"),
        ("walk", "/elsewhere/x.mp4", 2, None),
    ]
    assert {unit.settings for unit in units} == set(settings)
    assert all(entry["tsdf"]["voxel_size"] == 0.1 for entry in settings.values())


def test_settings_are_those_of_the_plan_and_of_the_entry(tmp_path):
    write_list(tmp_path, "tsdf: {voxel_size: 0.07}\n").rename(tmp_path / "coarse.yaml")
    path = write_list(
        tmp_path, "sequences: [a, {path: b, set: [frames.stride=3]}, {path: c, config: fast}]\nconfig: coarse.yaml\n"
    )
    plan = make_plan(path, tmp_path / "plan", None, ["tsdf.max_depth=3"])
    a, b, c = (plan.config(unit) for unit in plan.units)
    assert (a.tsdf.voxel_size, a.frames.stride, a.tsdf.max_depth) == (0.07, 1, 3)
    assert (b.tsdf.voxel_size, b.frames.stride) == (0.07, 3)
    assert c.tsdf.voxel_size != 0.07


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sequences: []", "sequences: expected a list of at least one path"),
        ("sequences: [{path: a, nam: b}]", r"sequences\[0\]: unknown setting nam; did you mean name?"),
        ("sequences: [{name: a}]", r"sequences\[0\]: path: Field required"),
        ("sequences: [7]", r"sequences\[0\]: expected a path, or settings by name, got 7"),
        ("sequences: [a]\npiece: 3", "unknown setting piece; did you mean pieces?"),
        (
            "sequences: [{path: a, pieces: 0}]",
            r"sequences\[0\]: pieces: Input should be greater than or equal to 1, got 0",
        ),
        ("sequences: [{path: a, name: ../b}]", r"sequences\[0\]: name: expected letters, digits, _ and -"),
        ("sequences: [x/a, y/a]", r"x/a and .*y/a would both be called a; give one a `name:`"),
        ("sequences: [none/*]", r"sequences\[0\]: path: nothing matches none/\*"),
        ("sequences: [a, {path: b, set: [tsdf.voxel=1]}]", r"sequences\[1\]: set: tsdf.voxel=1: unknown setting"),
        ("sequences: [{path: a, config: none.yaml}]", "none.yaml: neither a file nor a preset"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(tmp_path, text, message):
    with pytest.raises((BatchError, ConfigError), match=message) as caught:
        make_plan(write_list(tmp_path, text), tmp_path / "plan")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "plan").exists()


def test_a_folder_with_something_else_is_no_place_for_a_plan(tmp_path):
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "thesis.txt").write_text("x")
    with pytest.raises(BatchError, match="is not empty and no plan"):
        plan_of(tmp_path, ["a"])
    assert [path.name for path in (tmp_path / "plan").iterdir()] == ["thesis.txt"]


def test_a_plan_is_read_as_it_was_made(tmp_path):
    plan = plan_of(tmp_path, ["a", {"path": "b", "pieces": 3}])
    again = read_plan(tmp_path / "plan")
    assert again.units == plan.units
    assert again.steps == plan.steps


@pytest.mark.parametrize("pieces", [2, 3, 16])
def test_pieces_are_joined_in_a_tree(tmp_path, pieces):
    steps = plan_of(tmp_path, [{"path": "a", "pieces": pieces}]).steps
    sums = [step for step in steps.values() if step.kind == "sum"]
    assert len(sums) == pieces - 1
    for step in sums:
        left, right = (steps[name] for name in step.needs)
        assert (step.first, left.stop, step.stop) == (left.first, right.first, right.stop)
    done: set[str] = set()
    for name, step in steps.items():  # each after what it needs
        assert done.issuperset(step.needs)
        done.add(name)
    last = steps["a.map"]
    assert {steps[name].kind for name in last.needs} == {"labels"}


def test_only_what_changes_gets_another_key(tmp_path):
    before = plan_of(tmp_path, ["a", "b"]).steps
    after = plan_of(tmp_path, [{"path": "c", "set": ["frames.stride=2"]}, {"path": "a", "building": "x"}, "b"]).steps
    assert {name: after[name].key for name in before} == {name: step.key for name, step in before.items()}
    coarse = plan_of(tmp_path, ["a", {"path": "b", "set": ["tsdf.voxel_size=0.2"]}]).steps
    assert coarse["a.map"].key == before["a.map"].key
    assert coarse["b.map"].key != before["b.map"].key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data | {"version": 2}, "expected format m2h-batch-plan version 1"),
        (lambda data: data | {"units": {}}, "units: expected a list"),
        (lambda data: data | {"units": [7]}, r"units\[0\]: expected an object"),
        (lambda data: data | {"units": data["units"] * 2}, "a is there twice"),
        (lambda data: data | {"settings": {}}, "a: there are no settings 's0'"),
        (
            lambda data: data | {"units": [data["units"][0] | {"name": "../x"}]},
            r"units\[0\]: name: String should match",
        ),
        (lambda data: data | {"units": [data["units"][0] | {"pieces": 10**9}]}, "pieces: Input should be less"),
    ],
)
def test_a_damaged_plan_is_refused(tmp_path, change, message):
    plan_of(tmp_path, ["a"])
    path = tmp_path / "plan" / "plan.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises((BatchError, ConfigError), match=message) as caught:
        read_plan(tmp_path / "plan")
    assert str(caught.value).startswith(str(path))


def test_a_folder_without_a_plan_is_named(tmp_path):
    with pytest.raises(BatchError, match=r"is no plan \(it has no plan.json\); m2h batch plan LIST.yaml --out"):
        read_plan(tmp_path)
