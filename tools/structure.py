"""The structure of the code: lines, files per folder, imports between the members of each folder, and import cycles.

    python tools/structure.py [--tree DIR] [--arrows]

The members of a folder are its modules and its sub-folders. An arrow goes from one to another when anything inside
imports anything inside the other, at its top, in a function, or only for types. Exits with 1 when there is an import
cycle between the members of any folder.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("m2h", "mapping", "scenegraph", "pipelines")
Graph = Mapping[str, set[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=ROOT, metavar="DIR", help="the checkout to examine [this one]")
    parser.add_argument("--arrows", action="store_true", help="list every arrow")
    options = parser.parse_args()
    print_lines(options.tree)
    print("\nfolder                               files members  arrows  levels")
    found = []
    for folder, members in members_by_folder(imports(options.tree)).items():
        files = len(list((options.tree / folder.replace(".", "/")).glob("*.py")))
        arrows = sum(map(len, members.values()))
        print(
            f"{folder.replace('.', '/') or '(packages)':<36} {files:>5} {len(members):>7} {arrows:>7} {levels(members):>7}"
        )
        for member, targets in sorted(members.items()) if options.arrows else ():
            print(f"    {member} -> {', '.join(sorted(targets)) or 'nothing'}")
        found += [f"{folder}: {' <-> '.join(cycle)}" for cycle in cycles_of(members)]
    print("\n".join([f"\ncycles: {len(found)}", *found]))
    sys.exit(int(bool(found)))


def imports(tree: Path) -> dict[str, set[str]]:
    """By the name of each module of the packages: the modules of these packages that it imports."""
    paths = {module_name(path.relative_to(tree)): path for name in PACKAGES for path in (tree / name).rglob("*.py")}
    return {name: _imported(path, paths.keys()) - {name} for name, path in sorted(paths.items())}


def module_name(path: Path) -> str:
    """The dotted name of a module at a path below the checkout; that of a package for its __init__.py."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def members_by_folder(modules: Graph) -> dict[str, dict[str, set[str]]]:
    """By folder (a dotted name, "" for the checkout), by member: the other members that it imports."""
    folders: dict[str, dict[str, set[str]]] = {}
    for name in modules:
        parts = name.split(".")
        for depth in range(len(parts)):
            folders.setdefault(".".join(parts[:depth]), {})[parts[depth]] = set()
    for name, targets in modules.items():
        for target in targets:
            here, there = name.split("."), target.split(".")
            same = 0
            while same < min(len(here), len(there)) and here[same] == there[same]:
                same += 1
            if same < min(len(here), len(there)):  # not between a folder's own __init__ and its members
                folders[".".join(here[:same])][here[same]].add(there[same])
    return dict(sorted(folders.items()))


def cycles_of(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other (strongly connected components of more than one, Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    cycles: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                cycles.append(sorted(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in order:
            visit(node)
    return cycles


def levels(graph: Graph) -> int:
    """Number of nodes on the longest chain of arrows without repeated nodes."""
    known: dict[str, int] = {}

    def height(node: str, above: tuple[str, ...]) -> int:
        if node not in known:
            below = [height(target, (*above, node)) for target in sorted(graph[node]) if target not in above]
            known[node] = 1 + max(below, default=0)
        return known[node]

    return max(height(node, ()) for node in graph)


def print_lines(tree: Path) -> None:
    """Files and lines of each package, and of source and tests together."""
    for name in (*PACKAGES, "tests", "benchmarks", "tools", "examples"):
        files = list((tree / name).rglob("*.py"))
        print(f"{name:<12} {len(files):>4} files {_lines(files):>7} lines")
    source = _lines(path for name in PACKAGES for path in (tree / name).rglob("*.py"))
    print(f"source {source} lines, tests {_lines((tree / 'tests').rglob('*.py'))} lines")


def _imported(path: Path, known: Collection[str]) -> set[str]:
    """Known modules that a file imports: a module itself, or the one that a name is imported from."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in known else node.module for name in inner}
    return names & set(known)


def _lines(paths: Iterable[Path]) -> int:
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


if __name__ == "__main__":
    main()
