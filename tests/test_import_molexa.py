"""`import molexa`: light, complete, and the whole analysis in a few lines."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import molexa as mx
from molexa_core.base.errors import ColumnError, MolexaError, UsageError
from molexa_core.base.fields import SPECTRUM_TOF

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


@pytest.mark.parametrize("units", ["SI", "kg m/s", ["angstrom", "fs"]])
def test_tables_in_other_units_give_back_the_same(
    events: mx.Coincidences, units: list[str]
) -> None:
    run = mx.mock("water", 300, seed=3)
    assert not isinstance(run, dict)
    known = mx.Geometry(
        ("O", "H", "H"), mx.molecule("water").geometry.positions, uncertainty=np.full((3, 3), 0.01)
    )
    means = mx.centroid(mx.align(events))
    table = mx.to_pandas(events, units)
    assert set(table.attrs) == set(mx.to_pandas(events).attrs)
    again = mx.from_pandas(table)
    np.testing.assert_allclose(again.momentum, events.momentum, rtol=1e-15)
    assert events.detector is not None
    for name, column in events.detector.columns.items():
        np.testing.assert_allclose(again.detector.columns[name], column, rtol=1e-15)
    hits = mx.from_pandas(mx.to_pandas(run.hits, units))
    assert np.array_equal(hits.offsets, run.hits.offsets)
    for name in ("x_mm", "y_mm", "t_ns"):
        np.testing.assert_allclose(getattr(hits, name), getattr(run.hits, name), rtol=1e-15)
    structure = mx.from_pandas(mx.to_pandas(known, units))
    assert structure.symbols == known.symbols
    np.testing.assert_allclose(structure.positions, known.positions, rtol=1e-15)
    np.testing.assert_allclose(structure.uncertainty, 0.01, rtol=1e-15)
    momenta = mx.from_pandas(mx.to_pandas(means, units))
    for name in ("px", "py", "pz", "px_err"):
        np.testing.assert_allclose(momenta[name], means[name], rtol=1e-15)
    assert momenta.attrs["explosion"] == means.attrs["explosion"]


def test_columns_say_their_units(events: mx.Coincidences) -> None:
    table = mx.to_pandas(events, ["kg m/s", "m"])
    momentum = mx.convert_units(events.momentum[:, 0, 0], "a.u.", "kg m/s")
    assert np.array_equal(table["O+.px (kg m/s)"], momentum)
    assert events.detector is not None
    assert np.allclose(table["O+.x (m)"], 1e-3 * events.detector.x_mm[:, 0], rtol=1e-15)
    assert "O+.tof_ns" in table
    assert "O+.px" not in table
    assert list(mx.to_pandas(mx.molecule("water"), "angstrom"))[-3:] == [
        "x (angstrom)", "y (angstrom)", "z (angstrom)",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="two units of length"):
        mx.to_pandas(events, ["angstrom", "nm"])
    with pytest.raises(UsageError, match="unknown unit 'inch'"):
        mx.to_pandas(events, "inch")
    with pytest.raises(UsageError, match="no result that is a table"):
        mx.to_pandas(3)
    by_hand = table.copy()
    by_hand.attrs = {}
    np.testing.assert_allclose(mx.from_pandas(by_hand).momentum, events.momentum, rtol=1e-15)


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


def test_results_show_themselves(events: mx.Coincidences) -> None:
    aligned = mx.align(events)
    means = mx.centroid(aligned)
    exploded = mx.simulate("water", ["O+", "H+", "H+"])
    for result, words in (
        (events, f"{len(events)} coincidences of O+ H+ H+, in the laboratory frame"),
        (aligned, "in the molecular frame"),
        (exploded, "kinetic energy release"),
        (mx.molecule("water"), "water (H2O)"),
        (mx.molecule("water").geometry, "bonds (Å): O1-H2 0.959"),
        (events.spectra[SPECTRUM_TOF], "time of flight"),
    ):
        assert words in repr(result)
        assert all(len(line) <= 100 for line in repr(result).splitlines())
        shown = result._repr_html_()
        assert shown is not None
        assert words.split(" ", maxsplit=1)[0] in shown
        assert "<img" in shown or "<svg" in shown
        assert "http" not in shown.replace("http://www.w3.org/2000/svg", "")
    assert "<img" in (means._repr_html_() or "")


def test_a_plot_gives_axes_to_style_further(events: mx.Coincidences, tmp_path: Path) -> None:
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes

    plt.switch_backend("agg")
    ker = events.plot("ker", bins=30)
    assert isinstance(ker, Axes)
    assert ker.get_xlabel() == "kinetic energy release (eV)"
    assert len(events.plot("sums")) == 3
    of_one = events.plot("energy(O+)", bins=20)
    assert "coincidences" in of_one.get_ylabel()
    _, own = plt.subplots(1, 2)
    assert events.plot("ker", ax=own[0]) is own[0]
    with pytest.raises(UsageError, match="several panels"):
        events.plot("sums", ax=own[1])
    plt.close("all")
    mx.plot(events, "ker", out=tmp_path / "ker.svg", bins=30)
    assert not plt.get_fignums()
    numbers = (tmp_path / "ker.csv").read_text(encoding="utf-8").splitlines()
    assert numbers[0].startswith("# molexa figure numbers: ")
    assert len(numbers) == 32
    with pytest.raises(UsageError, match="Did you mean ker"):
        events.plot("kerr")
    with pytest.raises(UsageError, match="no result that is drawn"):
        mx.plot([1, 2])


def test_mean_momenta_are_a_table_of_pandas(events: mx.Coincidences, tmp_path: Path) -> None:
    from matplotlib import pyplot as plt

    plt.switch_backend("agg")
    means = mx.centroid(mx.align(events), out=tmp_path / "channel.csv")
    assert means.attrs["explosion"]
    again = mx.read(tmp_path / "channel.csv")
    for table in (means, again):
        across, up = table.plot()[0].get_xlabel(), table.plot()[1].get_ylabel()
        assert (across, up) == ("$p_x$ (a.u.)", "$p_z$ (a.u.)")
        assert table.plot(x="px", y="py").get_xlabel() == "px"
        assert type(table[["px", "py"]]) is type(table)
    assert again.attrs["explosion"] == means.attrs["explosion"]
    plt.close("all")


def test_the_picture_of_a_structure_is_where_its_atoms_are() -> None:
    """The balls of the first picture, turned back, have the distances of the structure."""
    from molexa_core.report.small_view import SmallScene, small_view

    at = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 3.0]])
    drawn = small_view(SmallScene(["A<1>", "B2", "C3"], ["H", "C", "O"], at, [(0, 1)]))
    assert "A&lt;1&gt;" in drawn
    assert drawn.count("<circle") == 3
    assert drawn.count("<line") == 1
    turns = re.findall(r'<circle cx="([-\d.]+)" cy="([-\d.]+)"', drawn)
    seen = np.array(turns, float)
    flat = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    true = np.linalg.norm(at[:, None] - at[None], axis=2)
    scale = np.linalg.norm(at - at.mean(axis=0), axis=1).max()
    assert (flat <= true / scale + 2e-3).all()
    assert "</script>" not in drawn.rpartition("<script>")[2].removesuffix("</script>")


def test_a_run_in_memory_and_its_file_give_the_same(tmp_path: Path) -> None:
    run = mx.mock("nitrogen", 2_000, seed=4)
    assert not isinstance(run, dict)
    mx.mock("nitrogen", 2_000, seed=4, out=tmp_path / "run.h5", layout="hdf5")
    held = mx.reduce(run)
    written = mx.reduce(run, out=tmp_path / "held.events.h5")
    of_file = mx.reduce(tmp_path / "run.h5", out=tmp_path / "run.events.h5")
    for other in (written, of_file, mx.reduce(mx.open_run(tmp_path / "run.h5"))):
        assert np.allclose(other.momentum, held.momentum, atol=1e-6)
        assert set(other.spectra) == set(held.spectra)
    joined = mx.join([held, written])
    assert len(joined) == 2 * len(held)
    assert set(joined.tags["run"]) == {0, 1}


def test_channels_and_setups_from_what_is_at_hand() -> None:
    names = [str(ion) for ion in mx.channel("O+ C+ S+").all_ions]
    assert names == ["O+", "C+", "S+"]
    assert mx.channel("CH3OH").all_ions == mx.channel("methanol").all_ions
    assert mx.channel(mx.channel("water")) == mx.channel("water")
    with pytest.raises(MolexaError, match="no channel named 'watr'"):
        mx.channel("watr")
    region = {"length_mm": 80, "field_v_per_cm": 200}
    setup = mx.setup(spectrometer={"regions": [region]}, detector={"radius_mm": 40})
    changed = mx.setup(setup, detector={"radius_mm": 60})
    assert changed.detector.radius_mm == 60
    assert changed.spectrometer == setup.spectrometer
    with pytest.raises(MolexaError, match=r"length_mm.*above 0.*detektor: unknown key"):
        mx.setup(spectrometer={"regions": [{**region, "length_mm": -1}]}, detektor={})


def test_what_is_no_run_no_table_and_no_structure_is_told() -> None:
    for call, words in (
        (lambda: mx.reduce([1, 2], "water"), "no run: list"),  # type: ignore[list-item]
        (lambda: mx.align(3), "no table of coincidences: int"),  # type: ignore[arg-type]
        (lambda: mx.reconstruct(3), "no mean momenta: int"),  # type: ignore[arg-type]
        (lambda: mx.score(mx.molecule("water"), 3), "no structure: int"),  # type: ignore[arg-type]
        (lambda: mx.calibrate("detecter", "x"), "There are: detector, spectrometer, explosion"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError, match=words):
            call()


def test_results_side_by_side(events: mx.Coincidences) -> None:
    same = mx.compare(events, events, "ker", bins=20)
    assert same.scale == pytest.approx(1.0)
    assert np.nanmax(np.abs(same.pull.counts)) == pytest.approx(0.0, abs=1e-12)
    water = mx.molecule("water").geometry
    larger = dataclasses.replace(water, positions=1.1 * water.positions)
    rows = mx.compare(water, larger).rows
    assert rows[0].second / rows[0].first == pytest.approx(1.1)
    assert "O1-H2" in repr(mx.compare(water, larger))
    frames = mx.movie([water, larger], at=[0, 20])
    assert "20 fs" in repr(frames)
    assert "<img" in (frames._repr_html_() or "")
    with pytest.raises(UsageError, match="cannot be compared"):
        mx.compare(water, events)


def test_gates_and_spectra_select_and_count(events: mx.Coincidences) -> None:
    some = mx.gate(events, "energy(O+) < 0.5")
    ev = mx.convert_units(events.kinetic_energy()[:, 0], "hartree", "eV")
    assert len(some) == int((ev < 0.5).sum())
    whole = mx.spectrum(events, "ker", bins=30)
    part = mx.spectrum(events, "ker", bins=30, where="energy(O+) < 0.5")
    assert part.counts.sum() < whole.counts.sum()
    assert whole.labels == ("ker",)


@pytest.mark.slow
def test_covariances_and_series_show_themselves(tmp_path: Path) -> None:
    path = tmp_path / "run.events.h5"
    run = mx.mock("water", 4_000, seed=5)
    found = mx.covariance(run, bins=40)
    assert "H+ H+" in repr(found)
    assert "<img" in (found._repr_html_() or "")
    mx.align(mx.reduce(run, out=path), out=tmp_path / "run.aligned.h5")
    over = mx.series(tmp_path / "run.aligned.h5", "hits", of="momenta")
    table = over.to_pandas()
    assert len(table) == len(over.values["bins"])
    assert "O+ px" in table
    assert "<img" in (over._repr_html_() or "")


def test_a_raw_run_is_drawn_and_not_taken_for_a_result(tmp_path: Path) -> None:
    from matplotlib import pyplot as plt

    plt.switch_backend("agg")
    path = tmp_path / "run.h5"
    mx.mock("nitrogen", 500, seed=3, out=path, layout="hdf5")
    with pytest.raises(MolexaError, match="no result of molexa.*open_run"):
        mx.read(path)
    assert mx.plot(path).get_xlabel() == "time of flight (ns)"
    assert mx.plot(mx.open_run(path), "image").get_xlabel().endswith("(mm)")
    plt.close("all")


def test_warnings_are_shown_with_the_numbers(events: mx.Coincidences) -> None:
    means = mx.centroid(mx.align(events, ref="H+", second="O+"))
    means.attrs["warnings"] = ["the frame <does> not hold"]
    assert "warning: the frame <does> not hold" in repr(means)
    assert "the frame &lt;does&gt; not hold" in (means._repr_html_() or "")
    doubtful = events.with_meta({**events.meta, "warnings": ["half of them are false"]})
    assert "warning: half of them are false" in repr(doubtful)


def test_lists_are_taken_as_positions() -> None:
    geometry = mx.Geometry(("C", "O"), [[0, 0, 0], [0, 0, 2.13]])  # type: ignore[arg-type]
    assert geometry.positions.shape == (2, 3)
    with pytest.raises(MolexaError, match="2 atoms but positions of shape"):
        mx.Geometry(("C", "O"), [[0, 0, 0]])  # type: ignore[arg-type]


def test_every_class_that_is_shown_is_where_it_is_registered() -> None:
    from importlib import import_module

    from molexa.figures import _record_of, _spectra_of, own_figure
    from molexa.summaries import summary_of

    for chosen in (summary_of, own_figure, _record_of, _spectra_of):
        for name, classes in chosen.modules.items():
            for of in classes(import_module(name)):
                assert of.__module__ == name


def test_a_structure_is_shown_without_torch(tmp_path: Path) -> None:
    lines = (
        "import sys, numpy as np, molexa as mx\n"
        "print(mx.Geometry(('C', 'O'), np.array([[0, 0, 0], [0, 0, 2.1]])))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "bonds (Å)" in done.stdout
    assert done.stdout.rstrip().endswith("False")


def test_a_virtual_run_in_a_file_is_the_one_in_memory(tmp_path: Path) -> None:
    """Also where the setup names columns of another program, which the run does not have."""
    columns = {"layout": "flat", "x": "X{i}", "y": "Y{i}", "time": "T{i}"}
    setup = mx.Setup.model_validate(
        {**mx.mock("nitrogen", 1).setup.model_dump(), "columns": columns}
    )
    held = mx.mock("nitrogen", 3000, setup=setup, seed=5)
    stored = mx.mock(
        "nitrogen", 3000, setup=setup, seed=5, out=tmp_path / "run.root", truth=tmp_path / "t.h5"
    )
    np.testing.assert_array_equal(held.hits.t_ns, stored.hits.t_ns)
    np.testing.assert_array_equal(held.truth.momentum, stored.truth.momentum)
    one, other = mx.reduce(held), mx.reduce(stored)
    np.testing.assert_array_equal(one.momentum, other.momentum)
    written = mx.reduce(stored, out=tmp_path / "run.events.h5")
    np.testing.assert_array_equal(one.momentum, written.momentum)
    assert one.meta["warnings"] == written.meta["warnings"]
    assert set(one.spectra) == set(written.spectra)
    bare = mx.mock("nitrogen", 50, out=tmp_path / "bare.root")
    with pytest.raises(UsageError, match="were not kept"):
        _ = bare.truth


def test_spectra_and_explosions_are_tables(events: mx.Coincidences) -> None:
    spectrum = mx.spectrum(events, "ker", bins=20)
    table = mx.to_pandas(spectrum)
    assert len(table) == 20
    assert np.isin(spectrum.counts, table.to_numpy()).all()
    outcomes = mx.explode("nitrogen", mx.Pulse(1000.0), trajectories=40, device="cpu")
    found = mx.to_pandas(outcomes)
    assert found["count"].sum() == 40
    pulls = mx.to_pandas(mx.compare(spectrum, spectrum))
    assert len(pulls) == 20


def test_settings_show_what_differs_from_the_defaults() -> None:
    shown = mx.channel("O+ C+ S+")._repr_html_()
    assert "S+" in shown
    assert "sum_sigmas" not in shown
