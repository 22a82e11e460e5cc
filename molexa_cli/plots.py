"""Histograms as text for the terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.spectrum import Spectrum

_BLOCKS = " ▁▂▃▄▅▆▇█"
_SHADES = " .:-=+*#%@"
WIDTH = 72
HEIGHT = 8
IMAGE_ROWS = 22


def drawn(spectrum: Spectrum, title: str) -> str:
    """A histogram in one or two dimensions as lines of text with its axes."""
    lines = _columns(spectrum) if spectrum.counts.ndim == 1 else _image(spectrum)
    return "\n".join([title, *lines])


def _columns(spectrum: Spectrum) -> list[str]:
    counts = _merged(spectrum.counts, WIDTH)
    top = counts.max(initial=0)
    filled = np.rint(counts / top * HEIGHT * 8).astype(int) if top else np.zeros(len(counts), int)
    filled[(counts > 0) & (filled == 0)] = 1
    lines = []
    for row in reversed(range(HEIGHT)):
        cells = np.clip(filled - 8 * row, 0, 8)
        lines.append("|" + "".join(_BLOCKS[cell] for cell in cells).rstrip())
    lines.append("+" + "-" * len(counts))
    low, high = _limits(spectrum, 0)
    unit = spectrum.units[0]
    lines.append(f" {low}{high.rjust(len(counts) - len(low))} {unit}".rstrip())
    lines.append(f" {spectrum.labels[0]}, highest column {top:g} counts")
    return lines


def _image(spectrum: Spectrum) -> list[str]:
    """Brightness by the square root of the counts, two characters per bin, axis 1 upwards."""
    counts = _merged(_merged(spectrum.counts, IMAGE_ROWS).T, IMAGE_ROWS)
    top = counts.max(initial=0)
    level = np.ceil(np.sqrt(counts / (top or 1)) * (len(_SHADES) - 1)).astype(int)
    lines = ["|" + "".join(_SHADES[cell] * 2 for cell in row) + "|" for row in level[::-1]]
    sides = [
        f"{spectrum.labels[axis]} {' to '.join(_limits(spectrum, axis))} {spectrum.units[axis]}"
        for axis in (0, 1)
    ]
    return [*lines, f" {sides[0]} (right), {sides[1]} (up),", f" brightest {top:g} counts"]


def _limits(spectrum: Spectrum, axis: int) -> tuple[str, str]:
    edges = spectrum.edges[axis]
    return f"{edges[0]:.6g}", f"{edges[-1]:.6g}"


def _merged(counts: NDArray[Any], most: int) -> NDArray[Any]:
    """Sum groups of neighbouring rows, of equal size, to at most `most` rows."""
    size = -(-len(counts) // most)
    missing = -len(counts) % size
    padded = np.concatenate([counts, np.zeros((missing, *counts.shape[1:]), counts.dtype)])
    merged: NDArray[Any] = padded.reshape(-1, size, *counts.shape[1:]).sum(axis=1)
    return merged
