"""`import molexa`: light, complete, and the whole analysis in a few lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import molexa as mx
from molexa_core.base.errors import ColumnError, UsageError

CHAIN = """
import molexa as mx

mx.mock("nitrogen", 20_000, out="run.root", seed=1)
events = mx.reduce("run.root", "nitrogen", out="run.events.h5")
means = mx.centroid(mx.align(events))
found = mx.reconstruct(means, samples=4, search=1, out="geom.xyz")
print(mx.score(found, "nitrogen").errors.mae)
"""


def test_the_import_loads_neither_torch_nor_matplotlib() -> None:
    heavy = "('torch', 'matplotlib', 'numba', 'pandas')"
    line = f"import sys, molexa; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_and_has_a_docstring() -> None:
    for name in mx.__all__:
        value = getattr(mx, name)
        assert name == "__version__" or value.__doc__, name
    assert set(dir(mx)) == set(mx.__all__)
    with pytest.raises(AttributeError, match="Did you mean reduce"):
        _ = mx.reducee  # type: ignore[attr-defined]


def test_the_analysis_is_three_imports_and_twelve_lines_at_most(tmp_path: Path) -> None:
    lines = [line for line in CHAIN.splitlines() if line]
    assert len(lines) <= 12
    assert sum(line.startswith("import") for line in lines) <= 3
    done = subprocess.run(
        [sys.executable, "-c", CHAIN], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.2
    assert (tmp_path / "geom.json").is_file()
    assert isinstance(mx.read(tmp_path / "geom.json"), mx.Reconstruction)
    assert isinstance(mx.read(tmp_path / "run.events.h5"), mx.Coincidences)


@pytest.fixture(scope="module")
def events() -> mx.Coincidences:
    run = mx.mock("water", 6_000, seed=2)
    assert not isinstance(run, dict)
    return mx.reduce(run, "water")


def test_objects_and_files_give_the_same(events: mx.Coincidences, tmp_path: Path) -> None:
    path = tmp_path / "aligned.h5"
    aligned = mx.align(events, ref="O+", out=path)
    assert mx.centroid(path).equals(mx.centroid(aligned))


def test_a_table_of_pandas_gives_back_the_same_coincidences(events: mx.Coincidences) -> None:
    again = mx.from_pandas(mx.to_pandas(events))
    assert again.ions == events.ions
    for name in ("event_id", "momentum", "weight"):
        assert np.array_equal(getattr(again, name), getattr(events, name))
    assert {name: list(column) for name, column in again.tags.items()} == {
        name: list(column) for name, column in events.tags.items()
    }
    assert again.detector is not None
    assert events.detector is not None
    assert np.array_equal(again.detector.tof_ns, events.detector.tof_ns)
    assert (again.false is None) == (events.false is None)
    if events.false is not None:
        assert again.false is not None
        assert np.array_equal(again.false.momentum, events.false.momentum)
    assert again.meta["summary"]["coincidences"] == len(events)


def test_a_table_without_a_component_is_refused(events: mx.Coincidences) -> None:
    frame = mx.to_pandas(events).drop(columns="O+.py")
    with pytest.raises(ColumnError, match=r"O\+\.py"):
        mx.from_pandas(frame)


def test_conditions_select(events: mx.Coincidences, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    mx.mock("water", 3_000, seed=2, out=path.with_suffix(".root"))
    some = mx.reduce(path.with_suffix(".root"), "water", where="energy(O+) < 3")
    energy = some.kinetic_energy()[:, 0]
    assert mx.convert_units(energy, "hartree", "eV").max() < 3


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (1.0, "bohr", "Å", 0.529177210544),
        (1.0, "a.u.", "kg m/s", 1.99285191545e-24),
        (27.211386245981, "eV", "hartree", 1.0),
        (1.0, "mm/ns", "m/s", 1e6),
    ],
)
def test_units(value: float, unit: str, to: str, expected: float) -> None:
    assert float(mx.convert_units(value, unit, to)) == pytest.approx(expected, rel=1e-9)
    back = mx.convert_units(mx.convert_units(value, unit, to), to, unit)
    assert float(back) == pytest.approx(value)


def test_units_of_different_quantities_are_refused() -> None:
    with pytest.raises(UsageError, match="is a unit of length"):
        mx.convert_units(1.0, "bohr", "eV")
    with pytest.raises(UsageError, match="unknown unit"):
        mx.convert_units(1.0, "furlong", "bohr")
