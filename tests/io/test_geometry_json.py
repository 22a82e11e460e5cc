from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.geometry_json import (
    ReconstructionRecord,
    read_geometry_json,
    write_geometry_json,
)

FULL = ReconstructionRecord(
    symbols=("O", "H"),
    positions_bohr=np.array([[0.1, 0.0, 0.0], [1.9, 0.25, -0.5]]),
    charges=(1, 1),
    uncertainty_bohr=np.full((2, 3), 0.125),
    spread_bohr=np.full((2, 3), 0.0625),
    samples_bohr=np.arange(24.0).reshape(4, 2, 3),
    closure={"relative": np.float64(0.0125), "bad": float("nan")},
    model={"name": "spine", "steps": 5},
    input={"file": "channel.csv"},
    warnings=("momenta do not sum to zero",),
    errors={"mae": 0.2},
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "geom.json"
    record = Provenance.of("molexa reconstruct", seed=1)
    write_geometry_json(path, FULL, record)
    back, provenance = read_geometry_json(path)
    assert provenance == record
    assert back.symbols == FULL.symbols
    np.testing.assert_array_equal(back.samples_bohr, FULL.samples_bohr)
    np.testing.assert_array_equal(back.geometry().uncertainty, FULL.uncertainty_bohr)
    assert back.closure == {"relative": 0.0125, "bad": None}
    assert (back.warnings, back.errors, back.model) == (FULL.warnings, FULL.errors, FULL.model)


def test_optional_keys_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "geom.json"
    path.write_text(json.dumps({"symbols": ["H"], "positions_bohr": [[0, 0, 0]]}))
    record, provenance = read_geometry_json(path)
    assert provenance is None
    assert record.uncertainty_bohr is None
    assert record.errors is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not a reconstruction: line 1, column 1"),
        ("[1]", "not a reconstruction"),
        ('{"symbols": ["H"]}', "key 'positions_bohr' is missing"),
        ('{"symbols": ["H"], "positions_bohr": [[0, 0]]}', "not 1 x 3 finite numbers"),
        ('{"symbols": ["H"], "positions_bohr": [[0, 0, NaN]]}', "NaN is not a number"),
        (
            '{"symbols": ["H"], "positions_bohr": [[0,0,0]], "charges": [1.5]}',
            "cannot be the",
        ),
        (
            '{"symbols": ["H"], "positions_bohr": [[0,0,0]], "charges": [-1]}',
            "cannot be the",
        ),
        (
            '{"symbols": ["H"], "positions_bohr": [[0,0,0]], "spread_bohr": [[0,-1,0]]}',
            "spread_bohr has a value of -1",
        ),
        ('{"symbols": ["H"], "positions_bohr": [[0,0,0]], "format": 2}', "checksum is missing"),
        ('{"symbols": ["H"], "positions_bohr": [[0,0,0]], "format": 9}', "format 9 is not known"),
        ('{"symbols": ["H"], "positions_bohr": "x"}', "wrong form"),
        ('{"symbols": ["H"], "positions_bohr": [[0,0,0]], "charges": [1, 1]}', "2 charges for 1"),
        ('{"symbols": ["H"], "positions_bohr": [[0,0,0]], "closure": 3}', "wrong form"),
        ('{"symbols": ["H"], "positions_bohr": [[0,0,0]], "provenance": 3}', "wrong form"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "geom.json"
    path.write_text(text)
    with pytest.raises(InputFileError) as error:
        read_geometry_json(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_changed_value_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "geom.json"
    write_geometry_json(path, FULL, Provenance.of("test"))
    sound = path.read_text(encoding="utf-8")
    values = json.loads(sound)
    seen = 0
    for at in range(0, len(sound), 7):
        damaged = sound[:at] + chr(ord(sound[at]) ^ 1) + sound[at + 1 :]
        path.write_text(damaged, encoding="utf-8")
        try:
            read_geometry_json(path)
        except InputFileError:
            seen += 1
        else:
            assert json.loads(damaged) == values
    assert seen > len(sound) // 14


def test_the_number_of_atoms_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "geom.json"
    for atoms in (0, 513):
        values = {"symbols": ["H"] * atoms, "positions_bohr": [[0.0, 0.0, 1.0]] * atoms}
        path.write_text(json.dumps(values), encoding="utf-8")
        with pytest.raises(InputFileError, match=f"{atoms} atoms, expected 1 to 512"):
            read_geometry_json(path)
