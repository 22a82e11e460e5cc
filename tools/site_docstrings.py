"""Docstrings as the site shows them: `Example:` is a section of code too (mkdocs.yml)."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Names the section as griffe knows it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every function, class, attribute and module."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(
                r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE
            )
