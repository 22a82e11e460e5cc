"""The worked Python example in the documentation runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "notebook.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_worked_example_runs(working_folder: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(page))
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    for block in blocks:
        # Line numbers of a failure are those of the page.
        source = "\n" * (page[: block.start(1)].count("\n")) + block[1]
        exec(compile(source, str(PAGE), "exec"), names)  # noqa: S102
