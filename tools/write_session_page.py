"""Write docs/first-session.md by running a demo.

Usage: python tools/write_session_page.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "first-session.md"
HEAD = """# A first session

`molexa demo` runs the whole chain on a virtual experiment with water, prints every command that it
types, and ends with the error against the molecule that was exploded. Here are these commands with
what they print. The demo also puts `setup.yaml` (the apparatus) and `known.xyz` (the true
structure) into its folder. Afterwards go on with [your own run](own-run.md).
"""
WORDS = {
    "mock": "A virtual experiment with every imperfection on: rotating molecules with zero-point "
    "motion, a jet, limited resolution and efficiency, dead time, residual gas, false "
    "coincidences.",
    "reduce": "Hits become coincidences. The gate on the momentum sum is found from the data.",
    "align": "Every event is turned so that O⁺ flies along x and one proton in the x-z plane.",
    "centroid": "Momenta are averaged; this small table is all that the network sees.",
    "reconstruct": "The network draws structures; they are refined until their explosion gives the "
    "momenta, and others that fit are searched for and listed. Here the truth is known, so the "
    "errors are printed.",
    "report": "One page with every figure and number.",
}


def run_demo() -> str:
    """What `molexa demo water` prints to standard output."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "molexa_cli.main", "demo", "water"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def render(said: str) -> str:
    """The page."""
    parts = [HEAD]
    for block in re.split(r"\n\[\d/\d\] ", said)[1:]:
        _, _, text = block.partition("\n")
        name = text.split()[2]
        text, _, verdict = text.strip().partition("\n\nAgainst")
        parts.append(f"\n{textwrap.fill(WORDS[name], 100)}\n\n```text\n{text}\n```\n")
        if verdict:
            sentences = f"Against{verdict}".partition("\nReport")[0]
            parts.append(f"\nThe demo ends with:\n\n```text\n{sentences}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(run_demo()), encoding="utf-8")
    print(f"wrote {PAGE.name}")
