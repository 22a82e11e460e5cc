"""The notebooks run as they stand, quickly, and every step shows a picture."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 300 * 1024
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "run_notebooks", ROOT / "tools" / "run_notebooks.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def test_there_are_four_of_them() -> None:
    assert len(NOTEBOOKS) >= 4


def test_the_chain_is_three_imports_and_twelve_lines_at_most() -> None:
    lines = [
        line for cell in code(NOTEBOOKS[0].with_name("chain.ipynb")) for line in cell.split("\n")
    ]
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    assert 5 <= len(lines) <= 12
    assert sum(line.startswith(("import ", "from ")) for line in lines) <= 3


@every_notebook
def test_what_is_kept_is_small_and_without_an_error(path: Path) -> None:
    assert path.stat().st_size <= LARGEST
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            assert output["output_type"] in {"stream", "display_data"}
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.slow
@every_notebook
def test_it_runs_and_every_step_shows_a_picture(path: Path, tool: ModuleType) -> None:
    cells = tool.run(path)
    assert [cell.source for cell in cells] == code(path)
    assert all(cell.has_picture for cell in cells), [
        cell.source for cell in cells if not cell.has_picture
    ]
