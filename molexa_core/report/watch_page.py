"""The page of `molexa watch`: one HTML file that asks for the newest summary and draws it."""

from __future__ import annotations

from typing import Final

import jinja2

from molexa_core.base.storage.resources import shipped_folder

TEMPLATE: Final = "watch.html.j2"


def watch_page(title: str) -> str:
    """The HTML text of the page.

    Args:
        title: of the page, such as the folder that is watched.

    Raises:
        InputFileError: the installation lacks the template.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(TEMPLATE).render(title=title)
