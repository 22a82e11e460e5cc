"""The apparatus from what is at hand: a file, an object, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molexa_core.base.settings import Setup, load_setup, parse_settings


def setup(of: Setup | str | Path | None = None, **blocks: Any) -> Setup:
    """The apparatus, with all numbers checked.

    Args:
        of: a setup or its file to start from; nothing but `blocks` if not given.
        blocks: as the blocks of a setup file, such as
            `spectrometer={"regions": [{"length_mm": 110, "field_v_per_cm": 250}]}`; what they say
            replaces that of `of`, key by key.

    Raises:
        InputFileError: no such file.
        SettingsError: every fault in one message.
    """
    values: dict[str, Any] = {}
    if of is not None:
        values = (load_setup(of) if isinstance(of, str | Path) else of).model_dump(mode="json")
    for name, block in blocks.items():
        before = values.get(name)
        both = isinstance(block, Mapping) and isinstance(before, Mapping)
        values[name] = {**before, **block} if both else block  # type: ignore[dict-item]
    return parse_settings(Setup, values, where="setup")
