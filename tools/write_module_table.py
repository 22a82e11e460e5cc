"""Write the table of modules in docs/architecture.md: one line each, in dependency order.

The line is the first sentence of the module's docstring. Usage: python tools/write_module_table.py
"""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- modules -->\n", "<!-- end of modules -->"
ROOMS = (
    ("molexa_core/base", "Base: what every room shares"),
    ("molexa_core/io", "Reading and writing files"),
    ("molexa_core/detector", "From edges to hits"),
    ("molexa_core/reduction", "From hits to coincidences"),
    ("molexa_core/frame", "Molecular frame, centroids, comparison of structures"),
    ("molexa_core/physics", "Molecules, explosion, virtual experiment"),
    ("molexa_core/model", "The network: training and reconstruction"),
    ("molexa_core/report", "Figures and the page"),
    ("molexa_core/pipeline", "The stages: where rooms meet"),
    ("molexa_cli", "The command line"),
)


def first_sentence(module: ast.Module) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((ast.get_docstring(module) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", text)[0]


def modules(folder: str) -> list[tuple[str, str]]:
    """(path, first sentence) of the modules in a room, importers behind what they import."""
    sources = {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "shipped" not in path.parts
    }
    by_name = {path.removesuffix(".py").replace("/", "."): path for path in sources}
    graph: dict[str, set[str]] = {path: set() for path in sources}
    for path, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                graph[path] |= {by_name[name] for name in names if name in by_name} - {path}
    order = TopologicalSorter({key: sorted(graph[key]) for key in sorted(graph)}).static_order()
    return [(path, first_sentence(sources[path])) for path in order if "__init__" not in path]


def render() -> str:
    """The section with all tables."""
    parts = []
    for folder, title in ROOMS:
        rows = "".join(f"| `{path}` | {text} |\n" for path, text in modules(folder))
        parts.append(f"\n### {title}\n\n| module | what it is |\n|---|---|\n{rows}")
    return "".join(parts)


def updated(page: str) -> str:
    """The page with its tables written anew."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}{render()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote the tables of {PAGE.name}")
