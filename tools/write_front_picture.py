"""Write docs/figures/from-hits-to-structure.png: three figures of the run of docs/own-run.md.

Usage: python tools/write_front_picture.py FOLDER    a folder in which the page was followed,
with `molexa align run.events.h5` after `molexa reduce`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).resolve().parent.parent / "docs/figures/from-hits-to-structure.png"
PANELS = (
    ("tof", "run.events.h5"),
    ("newton", "run.aligned.h5", "--log"),
    ("structure", "geom.json"),
)
PLOT = (sys.executable, "-m", "molexa_cli.main", "plot")
HEIGHT, MARGIN, COLOURS = 430, 16, 128
"""Pixels, and the number of colours, which keeps the file small."""


def main(folder: Path) -> None:
    """Draw the panels with `molexa plot` and put them side by side."""
    panels = []
    with tempfile.TemporaryDirectory() as place:
        for what, *words in PANELS:
            out = Path(place) / f"{what}.png"
            subprocess.run(
                [*PLOT, what, *words, "--out", str(out), "--width", "8cm"],
                cwd=folder,
                check=True,
            )
            with Image.open(out) as image:
                plain = image.convert("RGB")
                width = round(plain.width * HEIGHT / plain.height)
                panels.append(plain.resize((width, HEIGHT), Image.Resampling.LANCZOS))
    total = sum(panel.width for panel in panels) + MARGIN * (len(panels) + 1)
    whole = Image.new("RGB", (total, HEIGHT + 2 * MARGIN), "white")
    left = MARGIN
    for panel in panels:
        whole.paste(panel, (left, MARGIN))
        left += panel.width + MARGIN
    whole.quantize(COLOURS).save(PICTURE, optimize=True)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
