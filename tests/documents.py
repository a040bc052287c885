"""The commands that the documents tell people to type, and whether the program has what they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from pipelines.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")],
    key=lambda path: str(path.relative_to(ROOT)),
)
SHELL = ("bash", "sh", "console")
OTHERS = ("git", "cd", ".", "xdg-open", "docker", "export", "chromium", "brew", "apt-get", "torchrun", "sbatch")
"""Programs of others, which are not looked into."""
OURS = ("m2h", "make", "pip", "python")
FENCE = re.compile(r"^( *)(```+)[ ]*(\w*)")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
OPTION = re.compile(r"--[a-z][a-z0-9-]*")
NO_COMMANDS = ("m2h carve",)
"""Names of rows in tables of figures."""
EXTRAS = re.compile(r"m2h-mapping\[([\w,]+)\]|\.\[([\w,]+)\]")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line it begins at, its language and its lines."""

    page: Path
    line: int
    language: str
    lines: tuple[str, ...]

    @property
    def is_shell(self) -> bool:
        """Whether its lines are typed into a shell."""
        first = next((line.split() for line in self.lines if line.strip()), [""])[0]
        return self.language in SHELL or (not self.language and first in (*OTHERS, *OURS))


@dataclass(frozen=True)
class Typed:
    """A command in a document and its words."""

    page: Path
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line} {' '.join(self.words)}"


def blocks_of(page: Path, text: str | None = None) -> Iterator[Block]:
    """The fenced blocks of a page."""
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate((text or page.read_text(encoding="utf-8")).splitlines(), 1):
        found = FENCE.match(line)
        if opened is None and found:
            opened, lines = (number, found[2], found[3]), []
        elif opened is not None and line.strip() == opened[1]:
            yield Block(page, opened[0], opened[2], tuple(lines))
            opened = None
        elif opened is not None:
            lines.append(line)
    assert opened is None, f"{page}: a block is not closed"


def commands_of(block: Block) -> Iterator[Typed]:
    """The commands of a block of shell lines, with variables that it sets put in; a line that ends with \\ continues."""
    variables: dict[str, str] = {}
    pending = ""
    for number, line in enumerate(block.lines, block.line + 1):
        text = pending + line.strip().removeprefix("$ ")
        if text.endswith("\\"):
            pending = text[:-1]
            continue
        pending = ""
        words: list[str] = []
        for word in [*shlex.split(re.sub(r";(?= )", " &&", text), comments=True), "&&"]:
            if word != "&&":
                words.append(re.sub(r"\$(\w+)", lambda found: variables.get(found[1], found[0]), word))
                continue
            if words and re.fullmatch(r"\w+=.*", words[0]):
                name, _, value = words[0].partition("=")
                variables[name] = value
            elif words:
                yield Typed(block.page, number, tuple(words))
            words = []


def typed_commands() -> list[Typed]:
    """Every command of every shell block of the documents."""
    return [typed for page in PAGES for block in blocks_of(page) if block.is_shell for typed in commands_of(block)]


def spans_of(page: Path) -> Iterator[str]:
    """The code in running text and tables, in one line each."""
    outside, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        inside ^= bool(FENCE.match(line))
        outside.append("" if inside or FENCE.match(line) else line)
    for paragraph in "\n".join(outside).split("\n\n"):
        for found in SPAN.finditer(paragraph):
            yield " ".join(found[1].replace("\\|", "|").split())


def command_of(words: tuple[str, ...]) -> tuple[click.Command, list[str]]:
    """The command that the words after `m2h` name, and those after it; raises UsageError for one that there is not."""
    command, rest = main, list(words[1:])
    while isinstance(command, click.Group):
        context = click.Context(command)
        names = command.list_commands(context)
        at = next((i for i, word in enumerate(rest) if word in names), None)
        if at is None or (command is main and at):
            raise click.UsageError(f"no command of {command.name or 'm2h'} in {words}")
        found = command.get_command(context, rest[at])
        assert found is not None
        command, rest = found, [*rest[:at], *rest[at + 1 :]] if command is not main else rest[at + 1 :]
    return command, rest


def known_options(words: tuple[str, ...]) -> set[str]:
    """The options of the command that running text names, of all in it where it names a group alone."""
    try:
        return options_of(command_of(words)[0])
    except click.UsageError:
        group = main.get_command(click.Context(main), words[1])
        if not isinstance(group, click.Group):
            raise
        return options_of(group)


def parsed(words: tuple[str, ...]) -> click.Context:
    """What the command line makes of `m2h ...` without doing it; raises UsageError as it would."""
    command, rest = command_of(words)
    if words[1] == "correct":
        rest = rest[1:]  # the group's own argument, the run
    return command.make_context(" ".join(words[:2]), rest)


def options_of(command: click.Command) -> set[str]:
    """The options of a command, of all in it where it is a group."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            own |= options_of(inner)
    return own | {"--help", "--version"}


def options_of_scripts() -> set[str]:
    """Options of the scripts of this repository, and those in the commands of others that the documents show."""
    scripts = [path for folder in ("benchmarks", "tools") for path in (ROOT / folder).glob("*.py")]
    found = {option for path in scripts for option in OPTION.findall(path.read_text(encoding="utf-8"))}
    return found | {word for typed in typed_commands() if typed.words[0] in OTHERS for word in typed.words}


def named_commands() -> Iterator[tuple[Path, str]]:
    """`m2h ...` in running text: the page and the code."""
    for page in PAGES:
        for span in spans_of(page):
            if re.match(r"m2h [a-z]", span) and span not in NO_COMMANDS:
                yield page, span


def all_options() -> set[str]:
    """Every option of every command."""
    return set().union(*(options_of(main.get_command(click.Context(main), name)) for name in COMMANDS))
