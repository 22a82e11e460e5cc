"""Tables of configurations and transitions, and their cache."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import UnknownIonError, UsageError
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.units import BOHR2_BARN, HARTREE_EV
from molexa_core.physics.atomic import cache
from molexa_core.physics.atomic.cache import atomic_tables, cache_file, read_tables, write_tables
from molexa_core.physics.atomic.configuration import compute_configuration
from molexa_core.physics.atomic.element_tables import (
    ARRAYS,
    AUGER,
    FLUORESCENCE,
    PHOTO,
    AtomicTables,
    build_tables,
)
from molexa_core.physics.atomic.shells import ground_occupation, valence_subshells


@pytest.fixture(scope="module")
def neon() -> AtomicTables:
    return build_tables("Ne", 2000.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one: AtomicTables, other: AtomicTables) -> bool:
    pairs = [(one.arrays()[name], other.arrays()[name]) for name in ARRAYS]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def test_every_configuration_of_neon_is_there_once(neon: AtomicTables) -> None:
    assert len(neon) == 3 * 3 * 7
    assert len({tuple(row) for row in neon.occupation}) == 63
    assert tuple(neon.occupation[0]) == ground_occupation(10)
    assert (neon.charge + neon.occupation.sum(axis=1) == 10).all()
    assert neon.find((1, 2, 6, 0, 0)) is not None
    assert neon.find((2, 2, 6, 1, 0)) is None


def test_transitions_keep_count_of_electrons_and_energy(neon: AtomicTables) -> None:
    assert neon.first[0] == 0
    assert neon.first[-1] == len(neon.kind) == len(neon.value) == len(neon.target)
    start = np.repeat(np.arange(len(neon)), np.diff(neon.first))
    gained = neon.charge[neon.target].astype(int) - neon.charge[start]
    assert (gained == np.where(neon.kind == FLUORESCENCE, 0, 1)).all()
    assert (neon.value > 0).all()
    assert (neon.released > 0).all()
    photo, hole = neon.kind == PHOTO, neon.shells[:, 0]
    binding = -neon.energy[start, hole]
    assert (neon.released + binding)[photo] == pytest.approx(2000.0 / HARTREE_EV, rel=1e-12)
    auger = neon.kind == AUGER
    expected = binding[auger].copy()
    for column in (1, 2):
        expected += neon.energy[start[auger], neon.shells[auger, column]]
    assert neon.released[auger] == pytest.approx(expected, rel=1e-12)
    change = neon.occupation[neon.target].astype(int) - neon.occupation[start]
    assert (
        np.take_along_axis(change, hole[:, None].astype(int), 1)[:, 0] == np.where(photo, -1, 1)
    ).all()


def test_neighbours_lead_there_and_back(neon: AtomicTables) -> None:
    for row, shell in np.ndindex(neon.removed.shape):
        target = neon.removed[row, shell]
        assert (target < 0) == (neon.occupation[row, shell] == 0)
        if target >= 0:
            assert neon.added[target, shell] == row
            assert neon.charge[target] == neon.charge[row] + 1


def test_rows_are_what_a_direct_computation_gives(neon: AtomicTables) -> None:
    row = neon.find((1, 1, 5, 0, 0))
    assert row is not None
    stored = neon.configuration(row)
    direct = compute_configuration(10, (1, 1, 5, 0, 0), 2000.0 / HARTREE_EV)
    assert stored.charge == 3
    assert np.array_equal(stored.cross_section, direct.cross_section)
    assert stored.decays == direct.decays


def test_one_photon_on_neon_ends_mostly_in_two_charges(neon: AtomicTables) -> None:
    share = np.zeros(len(neon))
    ends = np.zeros(11)

    def rows(row: int, kinds: tuple[int, ...]) -> list[int]:
        here = range(neon.first[row], neon.first[row + 1])
        return [t for t in here if neon.kind[t] in kinds]

    first = rows(0, (PHOTO,))
    for t in first:
        share[neon.target[t]] += neon.value[t] / neon.value[first].sum()
    todo = share.copy()
    while todo.any():
        row = int(np.flatnonzero(todo)[0])
        amount, todo[row] = todo[row], 0.0
        decays = rows(row, (AUGER, FLUORESCENCE))
        if not decays:
            ends[neon.charge[row]] += amount
        for t in decays:
            todo[neon.target[t]] += amount * neon.value[t] / neon.value[decays].sum()
    assert ends.sum() == pytest.approx(1.0)
    assert ends[2] == pytest.approx(0.925, abs=0.002)
    assert ends[1] == pytest.approx(0.075, abs=0.002)


def test_subshells_that_the_photon_cannot_open_stay_closed() -> None:
    carbon = build_tables("C", 200.0)
    assert len(carbon) == 9
    assert (carbon.occupation[:, 0] == 2).all()
    assert not (carbon.kind == AUGER).any()
    valence = valence_subshells(6)
    assert (carbon.added[:, valence][carbon.occupation[:, valence] < 2] >= 0).all()


def test_outermost_electrons_are_bound_by_differences_of_average_energies(
    neon: AtomicTables,
) -> None:
    assert neon.outer_binding[0] * HARTREE_EV == pytest.approx(21.565)  # NIST
    for occupation, shell in (((1, 2, 5, 0, 0), 2), ((2, 2, 0, 0, 0), 1), ((1, 0, 0, 0, 0), 0)):
        row = neon.find(occupation)
        assert row is not None
        ion = neon.removed[row, shell]
        expected = neon.average_energy[ion] - neon.average_energy[row]
        assert neon.outer_binding[row] == pytest.approx(expected)
        assert 0.9 < neon.outer_binding[row] / -neon.energy[row, shell] < 1.1
    bare = neon.find((0, 0, 0, 0, 0))
    assert bare is not None
    assert neon.outer_binding[bare] == 0.0
    assert (np.delete(neon.outer_binding, bare) > 0.0).all()


def test_captured_electrons_gain_what_it_costs_to_remove_them(neon: AtomicTables) -> None:
    row, taker = neon.find((1, 2, 4, 0, 0)), neon.find((1, 2, 5, 0, 0))
    assert row is not None
    assert taker is not None
    assert neon.capture_binding[row] == neon.outer_binding[taker]
    full = neon.find((1, 2, 6, 0, 0))
    assert full is not None
    assert neon.capture_binding[full] == 0.0  # core holes are left to Auger decay
    ion, hole = neon.find((2, 2, 5, 0, 0)), neon.find((2, 1, 6, 0, 0))
    assert ion is not None
    assert hole is not None
    assert neon.capture_binding[[ion, hole]] * HARTREE_EV == pytest.approx(21.565)


def test_the_outermost_electron_of_a_closed_subshell_is_bound_all_the_same() -> None:
    closed, opened = build_tables("C", 200.0), build_tables("C", 600.0)
    rows = [tables.find((2, 0, 0, 0, 0)) for tables in (closed, opened)]
    assert closed.removed[rows[0]].max() == -1
    found = closed.outer_binding[rows[0]]
    assert found == pytest.approx(opened.outer_binding[rows[1]], rel=1e-9)
    assert found * HARTREE_EV == pytest.approx(392.1, rel=0.01)  # NIST


def test_hydrogen_has_one_transition() -> None:
    hydrogen = build_tables("H", 2000.0)
    assert hydrogen.occupation[:, 0].tolist() == [1, 0]
    assert hydrogen.value[0] * BOHR2_BARN == pytest.approx(1.111, rel=1e-3)
    assert hydrogen.target.tolist() == [1]


@pytest.mark.parametrize("photon", [0.0, -5.0, float("nan"), float("inf"), 20000.1])
def test_photon_energies_out_of_range(photon: float) -> None:
    with pytest.raises(UsageError, match="up to 20000 eV"):
        build_tables("C", photon)


def test_photons_below_every_edge() -> None:
    with pytest.raises(UsageError, match=r"lowest edge of this model is 8\.99 eV"):
        atomic_tables("C", 8.9)
    with pytest.raises(UnknownIonError, match="no element 'Fe'"):
        atomic_tables("Fe", 2000.0)


def test_tables_are_read_from_the_cache(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = atomic_tables("C", 600.0)
    path = cache_file("C", 600.0)
    assert path is not None
    assert path == own_cache / "molexa" / f"atomic-v{cache.VERSION}" / "C-600.000eV.npz"
    assert path.is_file()

    def refuse(*_: object, **__: object) -> AtomicTables:
        pytest.fail("built again")

    monkeypatch.setattr(cache, "build_tables", refuse)
    again = atomic_tables("C", 600.0000001)
    assert same(built, again)
    assert (again.symbol, again.photon_ev) == ("C", 600.0)


def _damage_text(path: Path) -> None:
    path.write_text("not a table")


def _damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def _damage_flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def _damage_value(path: Path) -> None:
    with np.load(path, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content}
    arrays["value"] = arrays["value"] * 1.01
    np.savez(path, **arrays)


def _damage_missing(path: Path) -> None:
    with np.load(path, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content if name != "energy"}
    np.savez(path, **arrays)


def _damage_record(path: Path) -> None:
    with np.load(path, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content}
    np.savez(path, **(arrays | {"record": np.array("[1]")}))


def _damage_other_energy(path: Path) -> None:
    write_tables(path, build_tables("C", 601.0))


def _damage_pickle(path: Path) -> None:
    with np.load(path, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content}
    np.savez(path, **(arrays | {"value": np.array([{}], dtype=object)}))


def _damage_zip_without_arrays(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "nothing")


@pytest.mark.parametrize(
    "damage",
    [
        *(_damage_text, _damage_cut, _damage_flip, _damage_value, _damage_missing),
        *(_damage_record, _damage_other_energy, _damage_pickle, _damage_zip_without_arrays),
    ],
    ids=lambda function: function.__name__.removeprefix("_damage_"),
)
def test_damaged_caches_are_built_again_with_a_notice(damage: object) -> None:
    built = atomic_tables("C", 600.0)
    path = cache_file("C", 600.0)
    assert path is not None
    assert callable(damage)
    damage(path)
    progress = CollectingProgress()
    again = atomic_tables("C", 600.0, progress=progress)
    assert same(built, again)
    (said,) = progress.said
    assert "damaged" in said
    assert str(path) in said
    assert same(built, read_tables(path, "C", 600.0))


def test_a_cache_that_cannot_be_written_is_done_without(
    own_cache: Path,
) -> None:
    own_cache.write_text("a file where the folder should be")
    progress = CollectingProgress()
    tables = atomic_tables("H", 600.0, progress=progress)
    assert len(tables) == 2
    assert progress.said == ["no cache folder can be written; the tables are not kept"]


def test_without_cache_nothing_is_written(own_cache: Path) -> None:
    atomic_tables("H", 600.0, use_cache=False)
    assert not own_cache.exists()


@pytest.mark.slow
def test_tables_of_all_elements_at_2_kev() -> None:
    sizes = {
        "H": 2,
        "C": 27,
        "N": 36,
        "O": 45,
        "F": 54,
        "Si": 567,
        "P": 252,
        "S": 315,
        "Cl": 378,
    }
    for symbol, size in sizes.items():
        tables = build_tables(symbol, 2000.0)
        assert len(tables) == size
        assert np.isfinite(tables.value).all()
        assert np.isfinite(tables.energy).all()
        # What is left with a hole that Auger decay can fill goes on to decay: no row with a K hole
        # and two electrons outside is an end.
        decaying = (tables.occupation[:, 0] < 2) & (tables.occupation[:, 1:].sum(axis=1) >= 2)
        ends = [
            row
            for row in np.flatnonzero(decaying)
            if not (tables.kind[tables.first[row] : tables.first[row + 1]] == AUGER).any()
        ]
        assert not ends or symbol == "H"
