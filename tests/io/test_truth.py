"""truth.h5: what is written comes back, and damage is named."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, OutputError
from molexa_core.base.fields import UNITS
from molexa_core.base.matter.ions import parse_ions
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.truth import VirtualTruth
from molexa_core.io.results.truth_file import read_truth, truth_writer
from tests.fakes.hdf5_edits import edited

IONS = parse_ions("O+,H+,H+")
REST = Geometry(("O", "H", "H"), np.array([[0.0, 0, 0], [1.8, 0, 0], [0, 1.8, 0]]))
RECORD = Provenance.of("molexa mock water", settings={"events": 5}, seed=4)


def stretch(random: np.random.Generator, molecules: int, first_shot: int) -> VirtualTruth:
    rows = np.repeat(np.arange(molecules), 3)
    columns = np.tile(np.arange(3), molecules)
    return VirtualTruth(
        ions=IONS,
        equilibrium=REST,
        shot=np.arange(molecules, dtype=np.int64) + first_shot,
        momentum=random.normal(size=(molecules, 3, 3)),
        position=random.normal(size=(molecules, 3, 3)),
        detected=random.uniform(size=(molecules, 3)) < 0.5,
        hit_molecule=np.append(rows, -1).astype(np.int64),
        hit_ion=np.append(columns, -1).astype(np.int64),
    )


def write(path: Path, parts: list[VirtualTruth]) -> None:
    with truth_writer(path, IONS, REST, RECORD) as writer:
        for part in parts:
            writer.append(part)


def test_stretches_come_back_as_one(tmp_path: Path, rng: np.random.Generator) -> None:
    parts = [stretch(rng, 4, 0), stretch(rng, 0, 4), stretch(rng, 3, 6)]
    numbered = [parts[0], parts[1].numbered_from(4), parts[2].numbered_from(4)]
    path = tmp_path / "truth.h5"
    write(path, numbered)
    truth, record = read_truth(path)
    expected = VirtualTruth.concatenate(numbered)
    assert record == RECORD
    assert truth.ions == IONS
    assert truth.equilibrium.symbols == REST.symbols
    np.testing.assert_array_equal(truth.equilibrium.positions, REST.positions)
    for name in ("shot", "momentum", "position", "detected", "hit_molecule", "hit_ion"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(expected, name))
    assert truth.hit_molecule.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [-1, -1] + [
        4, 4, 4, 5, 5, 5, 6, 6, 6, -1,
    ]  # fmt: skip
    assert truth.detected.dtype == np.bool_


def test_every_physical_column_has_its_unit(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "truth.h5"
    write(path, [stretch(rng, 2, 0)])
    with h5py.File(path) as file:
        assert file["molecules/momentum"].attrs[UNITS] == "a.u."
        assert file["molecules/position"].attrs[UNITS] == "bohr"
        assert file["equilibrium/position"].attrs[UNITS] == "bohr"
        assert file["molecules/shot"].attrs[UNITS] == "1"


def test_an_interrupted_run_leaves_no_file(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "truth.h5"

    def interrupted() -> None:
        with truth_writer(path, IONS, REST, RECORD) as writer:
            writer.append(stretch(rng, 2, 0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="folder does not exist"):
        write(tmp_path / "no" / "truth.h5", [])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("molecules/momentum", "molecules/momentum is missing"),
        ("hits/ion", "hits/ion is missing"),
        ("equilibrium", "missing"),
        ("ion", "ion is missing"),
    ],
)
def test_missing_parts_are_named(
    tmp_path: Path, rng: np.random.Generator, name: str, message: str
) -> None:
    path = tmp_path / "truth.h5"
    write(path, [stretch(rng, 2, 0)])
    with edited(path) as file:
        del file[name]
    with pytest.raises(InputFileError, match=message):
        read_truth(path)


def test_columns_that_do_not_fit_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "truth.h5"
    write(path, [stretch(rng, 2, 0)])
    with edited(path) as file:
        file["molecules/shot"].resize(1, axis=0)
    with pytest.raises(InputFileError, match="do not fit"):
        read_truth(path)
    write(path, [stretch(rng, 2, 0)])
    with edited(path) as file:
        file["meta"].attrs["provenance"] = '{"command": "x", "hacked": 1}'
    with pytest.raises(InputFileError, match="provenance is damaged"):
        read_truth(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(InputFileError, match="not an HDF5 file"):
        read_truth(path)
