"""Write the reference pages of the settings files: every key with unit, default and example.

Usage: python tools/write_settings_docs.py

The keys come from the schemas, the examples from docs/reference/examples, which are whole files
that can be loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from molexa_core.base.settings import Channel, Setup
from molexa_core.base.settings.project import Project
from molexa_core.base.settings.reference import Key, blocks_in, keys_of, summary_of
from molexa_core.pipeline.datasets.recipe_file import RecipeFile

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"
EXAMPLES: Final = FOLDER / "examples"
_LONGEST: Final = 60


@dataclass(frozen=True)
class Page:
    """A page on one kind of file.

    Attributes:
        name: of the page and of the example files, which begin with it.
        title: heading.
        intro: what the file is for.
        schema: of the file.
    """

    name: str
    title: str
    intro: str
    schema: type


PAGES: Final = (
    Page(
        "setup",
        "The setup file",
        "`setup.yaml` describes the apparatus: spectrometer, detector, calibration, jet, the\n"
        "columns of the run, and what is known about the explosion. Only `spectrometer` must be\n"
        "there. `molexa new setup` writes one with comments.",
        Setup,
    ),
    Page(
        "channel",
        "The channel file",
        "A channel is one way in which a molecule breaks up: its ions, gates and molecular frame.\n"
        "`molexa new channel` writes one. `ions` may be short: `ions: O+ C+ S+` or\n"
        "`ions: [O+, C+, 2 H+]`.",
        Channel,
    ),
    Page(
        "recipe",
        "The recipe of a data set",
        "A recipe determines a data set of simulated explosions for training\n"
        "(`molexa dataset build --recipe FILE`). `molexa new recipe` writes one.",
        RecipeFile,
    ),
    Page(
        "project",
        "The project file",
        "`molexa.yaml` in the working folder names what commands take if they are not told.",
        Project,
    ),
)


def examples(page: Page) -> dict[tuple[type, str], Any]:
    """A value of every key by block and name, from the example files of the page."""
    found: dict[tuple[type, str], Any] = {}
    for path in _files(page):
        with path.open(encoding="utf-8") as stream:
            values = yaml.safe_load(stream)
        for block, name, value in _walk(page.schema, values):
            found.setdefault((block, name), value)
    return found


def _files(page: Page) -> list[Path]:
    """The example files of a page, that with its own name first."""
    return sorted(EXAMPLES.glob(f"{page.name}*.yaml"), key=lambda path: (len(path.stem), path.name))


def _walk(block: type, values: Mapping[str, Any]) -> Iterator[tuple[type, str, Any]]:
    for key in keys_of(block):
        if key.name not in values:
            continue
        value = values[key.name]
        yield block, key.name, value
        items = value if key.listed and isinstance(value, list) else [value]
        items = list(value.values()) if key.named and isinstance(value, Mapping) else items
        for item in items:
            if key.block is not None and isinstance(item, Mapping):
                yield from _walk(key.block, item)


def render(page: Page) -> str:
    """The text of a page."""
    known = examples(page)
    files = [path.name for path in _files(page)]
    parts = [
        f"# {page.title}",
        "Written by `python tools/write_settings_docs.py` from the schema.",
        page.intro,
        f"Whole files: {', '.join(f'[{name}](examples/{name})' for name in files)}.",
    ]
    seen: dict[type, str] = {}
    for path, block in blocks_in(page.schema).items():
        title = f"`{path}`" if path else f"`{page.name}`"
        if block in seen:
            parts.append(f"## {title}\n\nThe keys of {seen[block]}.")
            continue
        seen[block] = title
        parts.append(f"## {title}\n\n{summary_of(block)}")
        keys = keys_of(block)
        if keys:
            parts.append(_table(block, keys, known))
        else:
            parts.append("It has no keys.")
    return "\n\n".join(parts) + "\n"


def _table(block: type, keys: tuple[Key, ...], known: Mapping[tuple[type, str], Any]) -> str:
    lines = ["| key | meaning | unit | values | default | example |", "|---|---|---|---|---|---|"]
    for key in keys:
        example = None if key.block is not None else known.get((block, key.name))
        cells = [
            f"`{key.name}`",
            key.meaning,
            key.unit,
            key.values,
            "**needed**" if key.needed else _default(key),
            "" if example is None else _code(example),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(key: Key) -> str:
    if key.default is None:
        return "none"
    if key.block is not None:
        return "its defaults" if key.default else "none"
    return _code(key.default)


def _code(value: Any) -> str:
    """A value as it is written in a file, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    text = text.strip().removesuffix("...").strip()
    return f"`{text}`" if len(text) <= _LONGEST else f"`{text[:_LONGEST]} ...`"


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    for page in PAGES:
        (FOLDER / f"{page.name}.md").write_text(render(page), encoding="utf-8")


if __name__ == "__main__":
    main()
