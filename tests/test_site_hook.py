"""What the site shows of notebooks and of `import molexa`; needs the extra `docs`."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

import molexa

pytest.importorskip("mkdocs")
pytest.importorskip("pymdownx")
PLACE = Path(__file__).resolve().parent.parent / "tools" / "site_hook.py"


@pytest.fixture(scope="module")
def hook() -> Any:
    spec = importlib.util.spec_from_file_location("site_hook", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_notebook_is_shown_as_it_is_stored(hook: Any, tmp_path: Path) -> None:
    outputs = [
        {"output_type": "stream", "text": ["3 ions\n"]},
        {"output_type": "display_data", "data": {"image/png": base64.b64encode(b"PNG").decode()}},
        {"output_type": "execute_result", "data": {"text/html": ['<b title="x">1</b>\n', "2"]}},
        {"output_type": "execute_result", "data": {"text/html": "long " * hook.LARGE}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# A run\n", "words"]},
        {"cell_type": "code", "source": ["raise SystemExit"], "outputs": outputs},
        {"cell_type": "code", "source": [], "outputs": []},
    ]
    path = tmp_path / "run.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    made = hook.notebook_page(path)
    page = made.pop("run.md")
    assert page.startswith(
        "# A run\nwords\n\n```python\nraise SystemExit\n```\n\n```text\n3 ions\n```"
    )
    assert "![Output](run-1.png)" in page
    assert '&lt;b title=&quot;x&quot;&gt;1&lt;/b&gt;&#10;2" title="Output">' in page
    assert 'src="run-2.html"' in page
    assert made == {"run-1.png": b"PNG", "run-2.html": "long " * hook.LARGE}


def test_every_name_of_molexa_is_listed(hook: Any) -> None:
    listed = re.findall(r"^::: molexa\.(\w+)$", hook.listed_names(), re.MULTILINE)
    assert sorted(listed) == sorted(name for name in molexa.__all__ if name != "__version__")


@pytest.mark.parametrize(
    ("text", "loads"),
    [
        ('<script src="https://example.org/x.js">', True),
        ("<script src=//example.org/x.js>", True),
        ('<link rel="stylesheet" href="https://example.org/x.css">', True),
        ('<script src="assets/x.js"></script><a href="https://example.org">', False),
    ],
)
def test_what_comes_from_a_network_is_noticed(hook: Any, text: str, loads: bool) -> None:
    assert bool(hook._LOADED.search(text)) is loads
