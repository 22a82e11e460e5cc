"""What commands print, letter by letter, on inputs whose answer is known.

A change on purpose: look at the difference, then write the new text into tests/cli/golden.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV
from tests.cli.conftest import Run

GOLDEN = Path(__file__).parent / "golden"
NITROGEN = "2\nnitrogen\nN 0 0 0\nN 0 0 1.0977\n"
WATER = "3\nwater\nO 0 0 0\nH 0.9572 0 0\nH -0.24 0.9266 0\n"
BENT = "3\nanother order\nH 0.9 0 0.1\nO 0 0 0\nH -0.3 0.98 0\n"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("channels", ["channels"]),
        (
            "simulate_instant",
            ["simulate", "n2.xyz", "--charges", "N+,N+", "--model", "instant"],
        ),
        ("simulate_classical", ["simulate", "n2.xyz", "--charges", "N+,N+"]),
        ("score", ["score", "bent.xyz", "water.xyz"]),
    ],
)
def test_printed_text(molexa: Run, tmp_path: Path, name: str, arguments: list[str]) -> None:
    (tmp_path / "n2.xyz").write_text(NITROGEN)
    (tmp_path / "water.xyz").write_text(WATER)
    (tmp_path / "bent.xyz").write_text(BENT)
    done = molexa(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_the_golden_energy_is_that_of_two_charges() -> None:
    text = (GOLDEN / "simulate_instant.txt").read_text(encoding="utf-8")
    expected = HARTREE_EV * BOHR_ANGSTROM / 1.0977
    assert f"KER {expected:.4f} eV" in text
