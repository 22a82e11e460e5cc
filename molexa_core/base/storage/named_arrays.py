"""Arrays of several parts in one mapping: the names of a part begin with its own and a dot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray


def as_part(name: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays under names of this part."""
    return {f"{name}.{key}": values for key, values in arrays.items()}


def part_of(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """The arrays of this part under their own names."""
    begins = f"{name}."
    return {
        key.removeprefix(begins): values for key, values in arrays.items() if key.startswith(begins)
    }


def parts_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """All parts at once: the arrays of each under their own names, those of no part left out."""
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for key, values in arrays.items():
        name, dot, own = key.partition(".")
        if dot:
            parts.setdefault(name, {})[own] = values
    return parts
