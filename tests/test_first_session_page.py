"""The page of the first session is what `molexa demo` types and prints."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from molexa_cli.wording import line_of
from molexa_core.pipeline.chain.demo import prepare_demo
from tests.fakes.printed import says

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "first-session.md").read_text(encoding="utf-8")
WRITE_IT = "run python tools/write_session_page.py"


def test_the_commands_are_those_of_the_demo(working_folder: Path) -> None:
    steps = [line_of(step.name, step.inputs, step.settings) for step in prepare_demo("water").steps]
    shown = re.findall(r"^\$ molexa (.*)$", PAGE, re.MULTILINE)
    assert [shlex.split(line) for line in shown] == steps, WRITE_IT


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_page_shows_what_is_printed() -> None:
    spec = importlib.util.spec_from_file_location(
        "write_session_page", ROOT / "tools" / "write_session_page.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    printed = tool.render(tool.run_demo())
    lines = [line for line in PAGE.splitlines() if line.strip("- ")]
    missing = [line for line in lines if not says(printed, line)]
    assert not missing, WRITE_IT
