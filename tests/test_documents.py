"""What the documents tell people to type works: commands, options, settings, names, and the code for Python."""

import re
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from box_room import write_box_room
from click.testing import CliRunner
from documents import (
    EXTRAS,
    OPTION,
    OTHERS,
    OURS,
    PAGES,
    ROOT,
    all_options,
    blocks_of,
    commands_of,
    known_options,
    named_commands,
    options_of_scripts,
    parsed,
    spans_of,
    typed_commands,
)

from pipelines import open_sequence
from pipelines.cli import main
from pipelines.cli.run import shortcut_overrides
from pipelines.config import config_path, load_config
from pipelines.exports.exporters import EXPORTERS
from pipelines.settings import PipelineConfig
from pipelines.sources.source import SOURCES
from pipelines.synth.simulate import SynthConfig

TYPED = typed_commands()
M2H = [typed for typed in TYPED if typed.words[0] == "m2h"]
MAPPING = ("run", "predict", "fuse", "graph")
PLACEHOLDERS = ("FILE", "NAME", "CONFIG", "GOOD", "FORMAT")
SHORT = ("stride", "up", "scale", "trust", "refine_poses", "frame_range", "voxel", "max_memory")


def test_there_are_commands():
    """Below would be nothing to test if none were found."""
    assert len(M2H) > 40
    assert {typed.words[1] for typed in M2H} >= {"run", "inspect", "view", "query", "ask", "export", "poses", "diff"}


@pytest.mark.parametrize("typed", TYPED, ids=str)
def test_programs_are_known(typed):
    assert typed.words[0].removeprefix(".venv/bin/") in (*OTHERS, *OURS)


@pytest.mark.parametrize("typed", M2H, ids=str)
def test_the_command_line_takes_what_is_typed(typed):
    context = parsed(typed.words)
    values = context.params
    if values.get("form") not in (None, *PLACEHOLDERS):
        assert values["form"] in EXPORTERS
    if (source := values.get("source")) is not None:
        assert source.partition(":")[0] in SOURCES or ":" in source
    name = typed.words[1]
    if name in MAPPING:
        short = {key: values[key] for key in SHORT}
        load_config(PipelineConfig, None, values["overrides"], options=shortcut_overrides(**short))
    if name == "synth":
        load_config(SynthConfig, None, values["overrides"])
    if name in (*MAPPING, "demo") and values["config_file"] and not values["config_file"].suffix:
        config_path(values["config_file"])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("m2h run SEQ --out RUN --quality best", "No such option"),
        ("m2h run SEQ", "Missing option"),
        ("m2h fly RUN", "no command"),
        ("m2h correct RUN recolour O1", "no command"),
        ("m2h correct RUN rename O1", "Missing argument"),
    ],
)
def test_what_the_command_line_does_not_take_is_found(line, problem):
    with pytest.raises(click.UsageError) as error:
        parsed(tuple(line.split()))
    assert problem in error.value.format_message()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_in_the_text_exist(page):
    for where, span in named_commands():
        if where == page:
            words = tuple(re.sub(r"\W*$", "", word) for word in span.split())
            assert set(OPTION.findall(span)) <= known_options(words), span
    known = all_options() | options_of_scripts()
    for span in spans_of(page):
        if span.startswith("--"):
            assert set(OPTION.findall(span.partition(" ")[0])) <= known, span


def test_targets_extras_and_scripts_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    section = (
        (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[project")[0]
    )
    extras = set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    for typed in TYPED:
        program, *rest = typed.words
        if program == "make":
            assert {word for word in rest if "=" not in word} <= targets, typed
        if program == "pip":
            assert {
                e for found in EXTRAS.findall(" ".join(rest)) for e in ",".join(found).strip(",").split(",")
            } <= extras
        if program == "python" and rest[0].endswith(".py"):
            script = ROOT / rest[0]
            assert script.is_file(), typed
            assert set(OPTION.findall(" ".join(rest))) <= set(OPTION.findall(script.read_text(encoding="utf-8"))), typed
    for page in PAGES:
        for found in EXTRAS.findall(page.read_text(encoding="utf-8")):
            assert set(",".join(found).strip(",").split(",")) <= extras, page


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        text = "\n".join(line for line in page.read_text(encoding="utf-8").splitlines())
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name) if name else page
            assert path.exists(), f"{page}: {target}"
            if anchor and path.suffix == ".md":
                titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {slug(title) for title in titles}, f"{page}: {target}"


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub and the documentation's site make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


RUNNABLE = (
    "inspect",
    "ingest",
    "run",
    "export",
    "query",
    "ask",
    "correct",
    "eval",
    "diff",
    "doctor",
    "weights",
    "graph",
)
SEQUENCES = ("SEQ", "FOLDER", "SCAN", "IMAGES", "PROJECT", "recording/", "recording", "WORLD", "house/", "world/")
RUNS = ("RUN", "run/", "MONDAY", "TUESDAY", "RUN_A", "RUN_B", "first_visit/", "second_visit/")
IN_THE_ROOM = {"kitchen": "bedroom", "chair": "cabinet", "sofa": "cabinet", "table": "cabinet", "door": "bed"}
"""The test's room has other things than the examples in the documents."""
NEW = ("--overwrite",)


def in_the_room(word: str) -> str:
    """A word of a document's command for the test's recording, run and room."""
    if word in SEQUENCES:
        return "recording"
    if word in RUNS:
        return "run"
    if re.fullmatch("O[0-9]+", word):
        return f"O{int(word[1:]) % 2}"
    for theirs, ours in IN_THE_ROOM.items():
        word = word.replace(theirs, ours)
    return word


def is_run(typed) -> bool:
    """Whether the command can be done with a recording of a room and a run of it: its files are those, or written."""
    words = typed.words
    if words[1] not in RUNNABLE or set(words) & set(PLACEHOLDERS):
        return False
    if words[1] == "run":
        return (
            words[2] in SEQUENCES and not any(w.startswith(("--source", "--config")) for w in words) and "RUN" in words
        )
    if words[1] == "weights":
        return words[2] in ("list", "info") and not (words[2] == "info" and words[-1] != "m2h-rooms")
    if words[1] == "export":
        return words[words.index("--to") + 1] not in ("rerun", "spark_dsg")
    return words[1] == "doctor" or words[2] in (*SEQUENCES, *RUNS)


RUN_HERE = sorted({tuple(map(in_the_room, typed.words)) for typed in M2H if is_run(typed)})


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with a recording and its run."""
    folder = tmp_path_factory.mktemp("documents")
    write_box_room(folder / "recording", 12)
    (folder / "recording" / "ground_truth").mkdir()
    result = CliRunner().invoke(main, ["run", str(folder / "recording"), "--out", str(folder / "run"), "-q"])
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("words", RUN_HERE, ids=" ".join)
def test_commands_work(words, room, tmp_path, monkeypatch):
    shutil.copytree(room / "run", tmp_path / "run")
    (tmp_path / "recording").symlink_to(room / "recording")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, list(words[1:]))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


PYTHON = [
    block
    for page in (ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md")))
    for block in blocks_of(page)
    if block.language == "python"
]


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page.name}:{block.line}")
def test_code_for_python_works(block, room, tmp_path, monkeypatch, capsys):
    shutil.copytree(room / "run", tmp_path / "run")
    (tmp_path / "recording").symlink_to(room / "recording")
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(block.lines), f"{block.page}:{block.line}", "exec"), {"__name__": "document"})


def test_variables_comments_and_long_lines_are_read(tmp_path):
    text = "```\nD=a/b\nm2h run x --out y \\\n  --source hf:depth=$D  # why\nmake demo && cd x\n```\n"
    (block,) = blocks_of(Path("x.md"), text)
    found = [typed.words for typed in commands_of(block)]
    assert found == [("m2h", "run", "x", "--out", "y", "--source", "hf:depth=a/b"), ("make", "demo"), ("cd", "x")]


@pytest.mark.slow
def test_the_examples_of_extending_work(room, tmp_path, monkeypatch, capsys):
    """A format from the page is a module of the working folder; an exporter is code for Python."""
    shutil.copytree(room / "run", tmp_path / "run")
    shutil.copytree(room / "recording" / "images", tmp_path / "recording" / "images")
    frames = open_sequence(room / "recording").infos
    rows = [" ".join(f"{x:.9f}" for x in info.T_world_camera[:3].ravel()) for info in frames]
    (tmp_path / "recording" / "poses.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    form, exporter = (
        "\n".join(block.lines) for block in blocks_of(ROOT / "docs" / "extending.md") if block.language == "python"
    )
    (tmp_path / "mine.py").write_text(form)
    sequence = open_sequence("mine:open_mine:recording")
    assert (sequence.format, len(sequence)) == ("mine", len(frames))
    np.testing.assert_allclose(sequence[3].T_world_camera, frames[3].T_world_camera, atol=1e-6)
    exec(compile(exporter, "extending.md", "exec"), {"__name__": "document"})
    assert sorted((tmp_path / "run" / "export" / "objects.txt").read_text().split()) == ["O0", "O1", "bed", "cabinet"]
    EXPORTERS.pop("list")


def test_messages_that_troubleshooting_explains_exist():
    """Its headings in code are words of messages: searched for in the sources, joined over the lines of a string."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipelines").rglob("*.py"))
    sources += "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "mapping").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^### `(.+)`$", text, re.MULTILINE)
    assert len(messages) > 15
    assert [message for message in messages if message not in joined] == []
