"""What mkdocs does besides Markdown when it builds the pages (mkdocs.yml, `make docs`).

Pages that lie outside docs/ are taken in, links to files outside it become plain text, notebooks
are shown with their stored outputs, the names of `molexa` are listed, and a page that would load
something from a network is an error.
"""

from __future__ import annotations

import ast
import base64
import json
import logging
import posixpath
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT: Final = Path(__file__).resolve().parent.parent
LOG: Final = logging.getLogger("mkdocs.hooks.molexa")
TAKEN_IN: Final = ("CHANGELOG.md", "CONTRIBUTING.md")
NOTEBOOKS: Final = "notebooks/*.ipynb"
LARGE: Final = 50_000
"""Characters of an output above which it is a file beside its page."""
FITTED: Final = """onload="this.style.height=this.contentDocument.body.scrollHeight+24+'px'\""""
PLAIN: Final = "<style>body{font:14px system-ui,sans-serif}td,th{padding:1px 8px}</style>"
NAMES: Final = "<!-- names of molexa -->"
_LINK: Final = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_NOT_RENDERED: Final = re.compile(r"<p>(?:\||```|\d+\. |- )|^ *```", re.MULTILINE)
"""Tables, code and lists that became text: they need an empty line before, or deeper indents."""
_LOADED: Final = re.compile(
    r"<(?:script|img|iframe|source)[^>]+src=\"?(?:https?:)?//|<link[^>]+href=\"?(?:https?:)?//"
    r"|@import\s+(?:url\()?[\"']?(?:https?:)?//",
    re.IGNORECASE,
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings the anchors that forges give them, and the notebooks their places."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    config.nav = list(_with_notebooks(config.nav or []))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from other files."""
    for name in TAKEN_IN:
        text = (ROOT / name).read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        files.append(File.generated(config, name, content=text))
    for path in sorted(ROOT.glob(f"docs/{NOTEBOOKS}")):
        for name, content in notebook_page(path).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """The text of a page with links that lead somewhere within the site."""
    here = posixpath.dirname(page.file.src_uri)

    def mended(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.groups()
        if picture or not target or ":" in target:
            return link[0]
        place = posixpath.normpath(posixpath.join(here, target))
        if place.startswith("../"):
            place = place.removeprefix("../")
            if place not in TAKEN_IN:
                return text
            return f"[{text}]({posixpath.relpath(place, here or '.')}{anchor or ''})"
        if not posixpath.splitext(place)[1]:
            inside = f"{place}/README.md"
            return (
                f"[{text}]({target.rstrip('/')}/README.md)"
                if files.get_file_from_path(inside)
                else text
            )
        if re.fullmatch(r"[\w/-]+\.md", text) and (there := files.get_file_from_path(place)):
            return f"[{_title(there)}]({target}{anchor or ''})"
        return link[0]

    markdown = re.sub(r"^```(\w+) .*$", r"```\1", markdown, flags=re.MULTILINE)
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [_LINK.sub(mended, part) for part in parts[::2]]
    return "".join(parts).replace(NAMES, listed_names())


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001
    """Warn of what a page would load from a network, and of what Markdown left as text."""
    if left := _NOT_RENDERED.search(output):
        LOG.warning("%s: not rendered: %s", page.file.src_uri, output[left.start() :][:80])
    for found in _LOADED.findall(output):
        LOG.warning("%s loads something from a network: %s", page.file.src_uri, found)
    return output


def _title(file: File) -> str:
    found = re.search(r"^# +(.*)$", file.content_string, re.MULTILINE)
    return found[1] if found else file.name


def _with_notebooks(nav: list[Any]) -> Iterator[Any]:
    for entry in nav:
        if not isinstance(entry, dict):
            yield entry
            continue
        ((title, value),) = entry.items()
        if isinstance(value, list):
            yield {title: list(_with_notebooks(value))}
        elif value == NOTEBOOKS:
            yield from (f"notebooks/{path.stem}.md" for path in sorted(ROOT.glob(f"docs/{value}")))
        else:
            yield entry


def notebook_page(path: Path) -> dict[str, str | bytes]:
    """The page of a notebook as it is stored, and its pictures, by name.

    Nothing is executed. HTML and SVG outputs stand in frames of their own, so that their styles
    do not touch the page.
    """
    stored = json.loads(path.read_text(encoding="utf-8"))
    parts: list[str] = []
    pictures: dict[str, str | bytes] = {}
    for cell in stored["cells"]:
        source = "".join(cell["source"]).strip("\n")
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source:
            parts.append(f"```python\n{source}\n```")
            for output in cell.get("outputs", ()):
                text, more = _shown(output, f"{path.stem}-{len(pictures) + 1}")
                parts.append(text)
                pictures |= more
    parts.append(f"[The notebook as a file]({path.name})")
    return {f"{path.stem}.md": "\n\n".join(part for part in parts if part) + "\n", **pictures}


def _shown(output: dict[str, Any], name: str) -> tuple[str, dict[str, str | bytes]]:
    """Markdown of an output, and the picture that it needs."""
    data = {
        kind: "".join(text)
        for kind, text in output.get("data", {}).items()
        if isinstance(text, str | list)
    }
    if png := data.get("image/png"):
        return f"![Output]({name}.png)", {f"{name}.png": base64.b64decode(png)}
    if svg := data.get("image/svg+xml"):
        return f"![Output]({name}.svg)", {f"{name}.svg": svg}
    if html := data.get("text/html"):
        if _LOADED.search(html):
            LOG.warning("an output of %s loads something from a network", name)
        if len(html) > LARGE:
            place = f'src="{name}.html"'
            return f'<iframe class="output" {place} title="Output"></iframe>', {
                f"{name}.html": html
            }
        inside = escape(PLAIN + html).replace("\n", "&#10;")
        return f'<iframe class="output" {FITTED} srcdoc="{inside}" title="Output"></iframe>', {}
    text = data.get("text/plain") or "".join(output.get("text", ()))
    return (f"```text\n{text.rstrip()}\n```" if text.strip() else ""), {}


def listed_names() -> str:
    """Directives that print every name of `molexa`: functions first, then classes."""
    tree = ast.parse((ROOT / "molexa" / "__init__.py").read_text(encoding="utf-8"))
    names = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    verbs = [name for name in names if name[0].islower()]
    nouns = [name for name in names if name[0].isupper()]
    sections = {"Functions": verbs, "Classes": nouns}
    return "\n\n".join(
        f"## {title}\n\n" + "\n\n".join(f"::: molexa.{name}" for name in listed)
        for title, listed in sections.items()
    )
