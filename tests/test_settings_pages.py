"""The reference pages of the settings files are those of the schemas, complete."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from molexa_core.base.settings import load_channel, load_setup, parse_settings
from molexa_core.base.settings.project import Project
from molexa_core.base.settings.reference import blocks_in, keys_of
from molexa_core.base.settings.yaml_file import read_yaml
from molexa_core.pipeline.datasets.recipe_file import load_recipe

ROOT = Path(__file__).resolve().parent.parent


def _tool() -> ModuleType:
    path = ROOT / "tools" / "write_settings_docs.py"
    spec = importlib.util.spec_from_file_location("write_settings_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TOOL: Any = _tool()


@pytest.mark.parametrize("page", TOOL.PAGES, ids=lambda page: page.name)
def test_the_page_is_that_of_the_schema(page: Any) -> None:
    written = (ROOT / "docs" / "reference" / f"{page.name}.md").read_text(encoding="utf-8")
    assert written == TOOL.render(page), "run python tools/write_settings_docs.py"


@pytest.mark.parametrize("page", TOOL.PAGES, ids=lambda page: page.name)
def test_every_key_has_a_meaning_and_an_example(page: Any) -> None:
    known = TOOL.examples(page)
    for path, block in blocks_in(page.schema).items():
        for key in keys_of(block):
            assert key.meaning, f"{path} {key.name} has no meaning in {block.__name__}"
            assert (block, key.name) in known, f"{path} {key.name} is in no example"


@pytest.mark.parametrize("path", sorted(TOOL.EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_can_be_loaded(path: Path) -> None:
    if path.name.startswith("setup"):
        load_setup(path)
    elif path.name.startswith("channel"):
        load_channel(str(path))
    elif path.name.startswith("recipe"):
        load_recipe(path)
    else:
        parse_settings(Project, read_yaml(path), where=path)
