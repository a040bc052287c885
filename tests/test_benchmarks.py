"""The page of benchmark tables shows every result, says what is missing, and is the one in the repository."""

import argparse
import json
import re
from pathlib import Path

import bench_fusion
import pytest
import run_all
import write_tables
from common import add_speed_ups

ROOT = Path(__file__).parents[1]
MACHINE = {
    "processor": "Abacus",
    "cores": 3,
    "python": "3.11.0",
    "date": "2031-02-03T04:05:06+00:00",
    "packages": {"open3d": "0.20.0", "torch": "2.0"},
}


def times(median, **more):
    return {"median_ms": median, "iqr_ms": 0.5, "mean_ms": median + 1, **more}


def fused(median, *, noisy=False, **more):
    timed = {"fuse": times(median), "mesh": times(10 * median), "first_frame_s": 0.25, "runs_ms": [1, 2, 3]}
    size = {"frames": 9, "image": [64, 48], "vertices": 1234, "peak_rss_bytes": 5e7}
    return {**timed, **size, "threads": 2, "others_share": 0.2 if noisy else 0.01, "noisy": noisy, **more}


def fusion():
    systems = {
        "open3d 8": fused(8.0),
        "open3d 16": fused(12.0),
        "open3d legacy": {"threads": 2, "version": "0.20.0", "reason": "it fuses nothing"},
        "m2h": fused(2.0, noisy=True, bytes_per_observed_voxel=40.5, volume_bytes=2e6, observed_voxels=99),
        "m2h carve": fused(16.0),
    }
    return {"sequence": "hut", "results": {"0.02": systems}}


def long_walk():
    figures = {f"{kind}_{what}_ms": 1.5 for kind in ("processor", "wall") for what in ("median", "mean")}
    settings = {"frames": 200, "frames_a_room": 50, "voxel": 0.05, "threads": None}
    end = {"observed_voxels": 7000, "bytes_per_observed_voxel": 33.3, "peak_rss_bytes": 1e8}
    stretches = [{"frames": [100, 200], "volume_bytes": 3e6, **figures}]
    return {**settings, "stretches": stretches, "last_over_first": figures, **end, "others_share": 0.0, "noisy": False}


def large_run():
    settings = {"frames": 2000, "rooms": 3, "objects": 20, "blocks": 500}
    commands = [{"command": "query", "gib": 0.25, "cpu_s": 1.5, "code": 0, "output": "{}"}]
    commands += [{"command": "load the volume", "gib": 3, "cpu_s": 9, "code": 0, "output": "2100000000"}]
    return {"settings": settings, "bytes": {"scene_graph.json": 2e6, "mesh.ply": 3e6}, "commands": commands}


def batch():
    failed = [{"name": "walk_5", "step": "map", "line": "recordings/walk_5: no such file or folder"}]
    ways = {key: {"done": 9, "failed": failed, "frames": 54} for key in ("dask", "shards")}
    pieces = [{"pieces": 4, "workers": 2, "kills": 3, "same_bytes": True}]
    return {"sequences": 10, "broken": {"walk_5": "folder missing"}, **ways, "same_files": True, "pieces": pieces}


def monocular():
    def care(f):
        return {"f_5cm": f, "f_10cm": f, "double_wall_rate": 0.03, "depth_error": 0.05}

    worlds = {"31": {"plain": care(0.2), "full": care(0.9), "only noise": care(0.4)}}
    worlds |= {seed: {"plain": care(0.4), "full": care(0.8)} for seed in ("32", "41")}
    return {"settings": {"rooms": 2, "frames": 5, "voxel": 0.04}, "results": worlds}


def multiview():
    depth = {f"{name}_{part}": 0.125 for name in ("abs_rel", "delta_1") for part in ("all", "certain_half")}
    shown = {"sweep": {**depth, "known_share": 1.0}, "proved": {**depth, "known_share": 0.5}}
    return {"hut": {"frames": 4, **shown, "mesh": {"f_5cm": 0.61, "f_10cm": 0.82}, "note": "from last year."}}


def network():
    variant = {"median_s": 0.5, "best_s": 0.4, "clean_runs": 3, "runs": 5, "peak_mb": 700, "speed_up": 0.75}
    variant |= {"parameters": 1e6, "worst_difference": 1e-5, "rms_difference": 1e-6}
    setting = {"network": "light", "batch": 1, "height": 32, "width": 48, "threads": 2}
    return {"variants": {"eager": "as it comes"}, "results": [{**setting, "variants": {"eager": variant}}]}


def quality():
    world = {"seed": 7, "rooms": 8, "frames": 10, "metrics": {"mesh": {"f_5cm": 0.987}, "objects": {"f1_25": 0.654}}}
    return {"results": [world], "means": {"mesh F 5cm": 0.987}}


def synth():
    whole = {"frames_per_second": 31.5, "processor_ms_per_frame": 60, "cores_busy": 1.9, "kilobytes_per_frame": 180}
    setting = {"whole": whole, "before_first_frame_s": {"plan": 1.0, "light": 2.0}, "stages": {"truth_only": times(5)}}
    return {"rooms": 4, "frames": 60, "8x6, 2 people": setting, "load": {"others_share": 0.02, "noisy": False}}


def refine():
    return {"results": {"hut": {"good, none": {"f_5cm": 0.432, "f_10cm": 0.7}}}}


def from_images():
    depth = {"neighbours": {"abs_rel": 0.123}, "alone": {"abs_rel": 0.234}}
    return {
        **dict.fromkeys(("worlds", "office", "kitchen"), depth),
        "office map": {"f_5cm": 0.345, "seconds_per_frame": 0.5},
        "photos": {"accuracy": 0.567},
        "speed": times(125),
    }


def upright():
    shown = {
        "accuracy": 0.567,
        "miou_present": 0.345,
        "named_share": 0.5,
        "depth_neighbours": 0.123,
        "depth_alone": 0.234,
    }
    return {
        "shown": {"upright": shown},
        "recognised": {"hut": {"right": 14, "left_alone": 2, "wrong": 0, "were_upright": 0}},
    }


def poses():
    figures = {
        "images": 9,
        "picked": 8,
        "posed": 7,
        "share": 0.875,
        "ate_cm": 4.3,
        "scale_error": -0.076,
        "minutes": 2.5,
    }
    office = {**figures, "f_10cm_found": 0.345, "f_10cm_given": 0.456}
    scale = {"evidence": "network", "frames_differ": 0.07, "scale_error": -0.065, "scale_deviation": 0.2}
    return {"results": {"walk": figures, "office": office}, "scale": {"office, first half": scale}}


def checks():
    worlds = {"as it is, depth": {"worlds": 3, "stops": 0, "warns": 1}}
    return {
        "recordings": {"hut": {"stops": [], "warns": ["the focal length is given as 585 pixels"]}},
        "worlds": worlds,
        "noise": {"1 cm, 0.5 degrees": {"as it is, depth": {"worlds": 2, "stops": 1, "warns": 0}}},
    }


def refine_poses():
    row = {"sequence": "walk", "poses": "2 cm", "f_5cm_off": 0.234, "f_5cm_auto": 0.543, "error_given": 4.5}
    return {"rows": [row], "load": {"others_share": 0.02, "noisy": False}}


def visits():
    return {"totals": {"diff": {"precision": 0.925, "recall": 0.5, "moved_at_right_distance": None}}}


RESULTS = (fusion, large_run, long_walk, monocular, multiview, network, quality, refine, synth, from_images, poses)
MADE_UP = {make.__name__: make for make in (*RESULTS, batch, checks, refine_poses, upright, visits)}


@pytest.fixture
def results(tmp_path):
    """A folder with a small result of each benchmark."""
    for name, make in MADE_UP.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"machine": MACHINE, **make()}))
    return tmp_path


def sections(page):
    """The page's sections by their titles, without line breaks inside paragraphs."""
    parts = [re.sub(r"(?<=[^|\n])\n(?=[^|\n-])", " ", part) for part in page.split("\n## ")[1:]]
    return {part.partition("\n")[0]: part for part in parts}


def test_every_result_has_a_section():
    assert {section.result for section in write_tables.SECTIONS} == MADE_UP.keys()
    assert {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")} <= MADE_UP.keys()
    assert run_all.commands("", "").keys() == MADE_UP.keys()


def test_every_section_says_where_it_comes_from(results):
    found = sections(write_tables.page(results))
    assert list(found) == [section.title for section in write_tables.SECTIONS]
    for text in found.values():
        assert "Command: `python benchmarks/" in text
        assert "Machine: Abacus, 3 cores, Python 3.11.0" in text
        assert "Date: 2031-02-03." in text
        assert "| --- |" in text


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("Fusion", "| 2 cm | m2h | 2 | 2.00 | 0.50 | 3.00 | 4.00 | 6.00 | - | 0.25 | noisy |"),
        ("Fusion", "| 2 cm | m2h carve | 2 | 16.00 | 0.50 | 17.00 | 0.50 | 0.75 | - | 0.25 |  |"),
        ("Fusion", "| 2 cm | open3d legacy | 2 | - | - | - | - | - | - | - |  |"),
        (
            "Fusion",
            "9 frames of 64x48 of hut. Runs per system: 3; the median is reported. `open3d legacy`: it fuses nothing.",
        ),
        ("Meshing and memory", "| 2 cm | m2h | 20.0 | 0.5 | 4.00 | 6.00 | - | 1,234 | 99 | 40.5 | 2.0 | 50 |"),
        ("A long walk", "| 100 to 200 | 1.50 | 1.50 | 1.50 | 1.50 | 3.0 |"),
        ("A long walk", "At the end 33.3 bytes per occupied voxel (7,000 of them); peak RSS 100 MB."),
        ("A large run", "| query | 0.25 | 1.5 |"),
        (
            "A large run",
            "2,000 frames, 3 rooms of 20 objects each, a volume of 500 blocks that takes 2.1 GB once it is loaded.",
        ),
        ("Many sequences and pieces", "10 sequences; both ways made the same files."),
        ("Many sequences and pieces", "| 2 shards | 9 | 1 | 54 |"),
        ("Many sequences and pieces", "| walk_5 | folder missing | recordings/walk_5: no such file or folder |"),
        ("Many sequences and pieces", "| 4 | 2 | 3 | the same |"),
        ("Maps from monocular depth", "| plain | 31, 32 | 0.300 | 0.200 | 0.300 | 0.030 | 0.030 | 5.0 |"),
        ("Maps from monocular depth", "| full | 41 | 0.800 | 0.800 | 0.800 | 0.030 | 0.030 | 5.0 |"),
        ("Maps from monocular depth", "| only noise | 31 | 0.400 | 0.400 | 0.400 | 0.030 | 0.030 | 5.0 |"),
        ("Depth from images and poses", "| hut | 4 | proved | 0.125 | 0.125 | 0.125 | 0.125 | 0.50 | 0.610 | 0.820 |"),
        ("Depth from images and poses", "hut: from last year."),
        ("Maps of synthetic worlds", "| 7 | 8 | 10 | 0.987 | - | - | - | 0.654 | - | - | - | - | - | - |"),
        ("The network", "| light | eager | 1.0 | 0.50 | 0.40 | 3 of 5 | 0.75 | 700 | 1.0e-05 | 1.0e-06 |"),
        ("Rendering synthetic worlds", "| 8x6, 2 people | 31.5 | 60.0 | 1.90 | 180 | 3.0 |"),
        ("Rendering synthetic worlds", "| 8x6, 2 people | truth only | 5.00 | 0.50 |"),
        ("From images and poses alone", "| office, alone | 0.234 | - | - | - | - | - |"),
        ("Check of the input", "| as it is, depth | 3 | 0 | 1 | 2 | 1 | 0 |"),
        ("Poses of plain images", "| office, first half | network | -6.5 | 20 | 7 |"),
        ("Several visits", "| diff | precision | 0.925 |"),
        ("Several visits", "| diff | moved at right distance | - |"),
    ],
)
def test_tables(results, title, line):
    assert line in sections(write_tables.page(results))[title].splitlines()


def test_noise_is_reported(results):
    found = sections(write_tables.page(results))
    assert "Noisy, more than 10 % of the processor being taken by others: 0.02 m2h (20 %)." in found["Fusion"]
    assert "Not noisy: others took at most 2.0 % of the processor." in found["Rendering synthetic worlds"]
    assert "Noise: not recorded." in found["Depth from images and poses"]


@pytest.mark.parametrize("name", MADE_UP)
def test_a_missing_result_is_named_with_its_command(results, name):
    (results / f"{name}.json").unlink()
    found = sections(write_tables.page(results))
    for section in write_tables.SECTIONS:
        missing = f"Not measured yet: there is no `benchmarks/results/{name}.json`. `python benchmarks/"
        assert (missing in found[section.title]) == (section.result == name)


def test_the_page_in_the_repository_is_made_from_the_results():
    stored = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert stored == write_tables.page(ROOT / "benchmarks" / "results"), "run python benchmarks/write_tables.py"


def test_speed_ups_are_against_the_faster_setting_and_the_default():
    systems = {"open3d 8": {"fuse": times(9)}, "open3d 16": {"fuse": times(6)}, "open3d legacy": {"reason": "empty"}}
    systems["m2h"] = {"fuse": times(12)}
    add_speed_ups(systems, "fuse")
    assert systems["m2h"]["fuse_speed_up"] == systems["m2h"]["fuse_speed_up_default"] == 0.5
    assert systems["open3d 8"]["fuse_speed_up"] == 0.67
    assert "fuse_speed_up_legacy" not in systems["m2h"]
    systems["open3d legacy"] = {"fuse": times(60)}
    add_speed_ups(systems, "fuse")
    assert systems["m2h"]["fuse_speed_up_legacy"] == 5


def test_repeats_go_round_by_round_and_the_median_run_counts(monkeypatch):
    order = []

    def run(_script, arguments, *, packages):
        turn = len(order) // len(bench_fusion.SYSTEMS)
        order.append(arguments[arguments.index("--system") + 1])
        assert packages == ("older" if order[-1] == "open3d legacy" else None)
        return {"fuse": times([5.0, 9.0, 7.0][turn]), "mesh": times(1.0)}

    monkeypatch.setattr(bench_fusion, "run_worker", run)
    options = argparse.Namespace(sequence="hut", frames=2, repeat=3, legacy_open3d="older")
    results = bench_fusion.measure_in_turn(0.05, options)
    assert order == 3 * list(bench_fusion.SYSTEMS)
    assert [result["fuse"]["median_ms"] for result in results.values()] == [7.0] * len(bench_fusion.SYSTEMS)
    assert results["m2h"]["runs_ms"] == [5.0, 9.0, 7.0]


def test_benchmarks_without_their_recordings_are_skipped(tmp_path):
    (tmp_path / "redkitchen").mkdir()
    absent = run_all.missing(tmp_path / "redkitchen", tmp_path)
    assert absent == dict.fromkeys(
        ("multiview", "from_images", "upright", "poses", "checks", "refine_poses", "refine"),
        str(tmp_path / "hololens_office"),
    )
    (tmp_path / "hololens_office").mkdir()
    assert run_all.missing(tmp_path / "redkitchen", tmp_path) == {}
    assert run_all.missing(tmp_path / "none", tmp_path) == {"fusion": str(tmp_path / "none")}
