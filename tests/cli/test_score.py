from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run

WATER = "3\nwater\nO 0 0 0\nH 0.9584 0 0\nH -0.2398 0.9279 0\n"
BENT = "3\nanother order, another place\nH 1.5 1.0 0\nO 0.5 1.0 0\nH 0.5 2.0 0\n"
CHIRAL = "5\n\nC 0 0 0\nH 1.1 0 0\nF -0.4 1.3 0\nCl -0.5 -0.8 1.5\nBr -0.6 -0.8 -1.7\n"


def files(folder: Path, one: str, two: str) -> None:
    (folder / "a.xyz").write_text(one, encoding="utf-8")
    (folder / "b.xyz").write_text(two, encoding="utf-8")


def test_json_matches_by_hand(molexa: Run, tmp_path: Path) -> None:
    files(tmp_path, WATER, BENT)
    values = json.loads(molexa("score", "a.xyz", "b.xyz", "--json").stdout)
    # H to H: hypot(1.1982, 0.9279) = 1.5155 against 1.4142 angstrom; 1 bohr is 0.529177 angstrom.
    assert abs(values["max_distance_error"] - (1.5155 - 1.4142) / 0.529177) < 2e-4
    assert abs(values["max_angle_error"] - 14.5) < 0.02
    assert abs(values["mean_angle_error"] - 14.5 * 2 / 3) < 0.02
    assert values["assignment"][0] == 1
    assert values["exact"] is True


def test_a_mirror_image_is_another_structure_unless_allowed(molexa: Run, tmp_path: Path) -> None:
    mirrored = "\n".join(
        " ".join([*line.split()[:3], str(-float(line.split()[3]))])
        if line.count(" ") == 3
        else line
        for line in CHIRAL.splitlines()
    )
    files(tmp_path, CHIRAL, mirrored + "\n")
    strict = json.loads(molexa("score", "a.xyz", "b.xyz", "--json").stdout)
    assert strict["mae"] > 0.1
    assert strict["max_distance_error"] < 1e-6
    done = molexa("score", "a.xyz", "b.xyz", "--allow-mirror")
    assert "the known structure was mirrored" in done.stdout
    assert "0.0000" in done.stdout


def test_other_molecules_and_missing_files(molexa: Run, tmp_path: Path) -> None:
    files(tmp_path, WATER, CHIRAL)
    done = molexa("score", "a.xyz", "b.xyz")
    assert done.returncode == 2
    assert "different atoms: 2 H, 1 O and" in done.stderr
    done = molexa("score", "a.xyz", "c.xyz")
    assert done.returncode == 1
    assert "c.xyz: no such file" in done.stderr


def test_the_first_of_several_structures_counts(molexa: Run, tmp_path: Path) -> None:
    files(tmp_path, WATER + WATER, WATER)
    done = molexa("score", "a.xyz", "b.xyz")
    assert done.returncode == 0
    assert "a.xyz has 2 structures; the first is used" in done.stderr
