"""What ships stays small enough to ship."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    """Size in bytes of every file under version control."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return {str(p.relative_to(ROOT)): p.stat().st_size for p in paths if p.is_file()}


def test_weights_are_at_most_32_mib_in_all_and_16_each(sizes: dict[str, int]) -> None:
    weights = {name: size for name, size in sizes.items() if name.startswith("weights/")}
    assert sum(weights.values()) <= 32 * MIB
    assert max(weights.values()) <= 16 * MIB


def test_no_sample_data_are_checked_in(sizes: dict[str, int]) -> None:
    binary = (".root", ".h5", ".lmf", ".npy", ".npz", ".csv")
    large = [name for name, size in sizes.items() if name.endswith(binary) and size > 100_000]
    assert not large


def test_results_figures_and_cards_name_no_place_of_a_machine(sizes: dict[str, int]) -> None:
    place = re.compile(r"""["' =]/(?:home|mnt|root|tmp|work)/\w""")
    text = [name for name in sizes if name.endswith((".json", ".jsonl", ".svg"))]
    shipped = [name for name in text if name.startswith(("benchmarks/", "docs/", "weights/"))]
    assert len(shipped) > 50
    named = [name for name in shipped if place.search((ROOT / name).read_text(encoding="utf-8"))]
    assert not named
