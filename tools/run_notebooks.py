"""Run the notebooks of docs/notebooks and write what their cells show.

    python tools/run_notebooks.py [NAME ...]

The cells run in plain Python: no Jupyter is needed. What the last line of a cell gives is kept as a
notebook shows it (`_repr_html_`, else text), figures of pyplot as small PNG pictures.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "notebooks"
DPI = 80


@dataclass(frozen=True)
class Cell:
    """A cell of code that has run.

    Attributes:
        source: its code.
        outputs: as a notebook holds them.
    """

    source: str
    outputs: list[dict[str, Any]]

    @property
    def has_picture(self) -> bool:
        """Whether it shows a figure or a view of a structure."""
        shown = json.dumps([one.get("data", {}) for one in self.outputs])
        return "image/png" in shown or "<img" in shown or "<svg" in shown


def run(path: Path) -> list[Cell]:
    """Run the cells of code of a notebook, in an empty folder.

    Raises:
        Exception: as the cell that fails.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = []
    with _empty_folder():
        for number, cell in enumerate(notebook["cells"], start=1):
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                cells.append(Cell(source, _shown(source, names, f"{path.name}[{number}]")))
    return cells


@contextlib.contextmanager
def _empty_folder() -> Iterator[None]:
    backend, before = mpl.get_backend(), Path.cwd()
    plt.switch_backend("agg")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
            plt.close("all")
            plt.switch_backend(backend)


def _shown(source: str, names: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """What a cell shows: printed text, the value of its last line, figures."""
    tree = ast.parse(source, where)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec"), names)  # noqa: S102
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)  # noqa: S307
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(text)})
    figures = _figures()
    is_axes = type(value).__module__.startswith("matplotlib") or (
        bool(figures) and value is not None
    )
    if value is not None and not is_axes:
        data: dict[str, Any] = {"text/plain": _lines(repr(value))}
        if (html := getattr(value, "_repr_html_", lambda: None)()) is not None:
            data["text/html"] = _lines(html)
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    return outputs + figures


def _figures() -> list[dict[str, Any]]:
    found = []
    for number in plt.get_fignums():
        stream = io.BytesIO()
        plt.figure(number).savefig(stream, format="png", dpi=DPI)
        picture = base64.b64encode(stream.getvalue()).decode("ascii")
        data = {"image/png": picture, "text/plain": ["figure"]}
        found.append({"output_type": "display_data", "data": data, "metadata": {}})
    plt.close("all")
    return found


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main(names: list[str]) -> None:
    """Run notebooks, and write what they show into them."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        cells = iter(run(path))
        notebook = json.loads(path.read_text(encoding="utf-8"))
        count = 0
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                count += 1
                cell["execution_count"] = count
                cell["outputs"] = next(cells).outputs
        path.write_text(f"{json.dumps(notebook, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
