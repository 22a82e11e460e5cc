"""`molexa reduce` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from molexa_core.base.errors import InputFileError, NoEventsError, SettingsError, UsageError
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.events import read_events, read_spectra
from molexa_core.io.root.run import write_root_run
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.given.given_run import result_of_run
from tests.fakes.chain import SPECTRA_OF_REDUCE
from tests.fakes.root_runs import FakeRun, make_channel, make_run, make_setup

Run = Callable[..., subprocess.CompletedProcess[str]]
SETUP = make_setup()
WATER = make_channel(("O+", 1), ("H+", 2))
META = {
    "setup": SETUP.model_dump(mode="json"),
    "channel": WATER.model_dump(mode="json"),
    "provenance": json.loads(Provenance.of("made by a test", seed=3).to_json()),
}


@pytest.fixture(scope="module")
def run() -> FakeRun:
    return make_run(["O+", "H+", "H+"], SETUP, shots=4000, recoil=(1.5, 1.0, 0.5))


@pytest.fixture
def folder(working_folder: Path, run: FakeRun) -> Path:
    write_root_run(working_folder / "run.root", [run.hits], slots=24, meta=META)
    write_root_run(working_folder / "bare.root", [run.hits], slots=24)
    return working_folder


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_that_carries_its_settings(molexa: Run, folder: Path) -> None:
    done = molexa("reduce", "run.root", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "coincidences" in done.stdout
    assert "true coincidences" in done.stdout
    assert "purity" in done.stdout
    assert "KER peak" in done.stdout
    assert "wrote run.events.h5" in done.stderr
    table, record = read_events(folder / "run.events.h5")
    assert len(table) > 800
    assert table.meta["summary"]["coincidences"] == len(table)
    assert record.command == "molexa reduce run.root"
    assert set(record.inputs) == {"run.root"}
    assert record.settings["channel"]["name"] == "fake"
    assert [step["command"] for step in record.history] == ["made by a test"]
    assert set(read_spectra(folder / "run.events.h5")) == set(SPECTRA_OF_REDUCE)


def test_json_is_the_summary_and_nothing_else(molexa: Run, folder: Path) -> None:
    done = molexa("reduce", "run.root", "--json", "--quiet", "--out", "a.h5", folder=folder)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert done.stderr == ""
    assert values["file"] == "a.h5"
    assert values["coincidences"] == len(read_events(folder / "a.h5")[0])
    assert values["hits_per_shot"] == pytest.approx(values["hits"] / 4000)
    assert [axis["axis"] for axis in values["momentum_sums"]] == ["x", "y", "z"]


def test_options_come_before_the_folder_and_the_folder_before_the_run(folder: Path) -> None:
    (folder / "apparatus.yaml").write_text(yaml.safe_dump(META["setup"] | {"name": "mine"}))
    (folder / "channels").mkdir()
    for name in ("first", "second"):
        values = META["channel"] | {"name": name}
        (folder / "channels" / f"{name}.yaml").write_text(yaml.safe_dump(values))
    reduce(["run.root"], out="a.h5")
    assert read_events("a.h5")[0].meta["channel"]["name"] == "fake"
    (folder / "molexa.yaml").write_text("setup: apparatus.yaml\nchannel: first\n")
    reduce(["run.root"], out="b.h5")
    assert read_events("b.h5")[0].meta["channel"]["name"] == "first"
    assert read_events("b.h5")[0].meta["setup"]["name"] == "mine"
    reduce(["bare.root"], channel="second", out="c.h5")
    assert read_events("c.h5")[0].meta["channel"]["name"] == "second"


def test_several_files_give_what_one_gives(folder: Path, run: FakeRun) -> None:
    names = []
    for number, part in enumerate(run.hits.in_chunks(1500)):
        names.append(f"part{number}.root")
        layout = "jagged"
        write_root_run(names[-1], [part], layout=layout, slots=24, meta=META)
    path = Path("parts.events.h5")
    assert result_of_run(names, ".events.h5") == Path("part0.events.h5")
    summary = reduce(names, out=path).summary
    whole = reduce(["run.root"], out="run.events.h5").summary
    assert summary == whole
    ours, theirs = read_events(path)[0], read_events("run.events.h5")[0]
    np.testing.assert_array_equal(ours.momentum, theirs.momentum)
    np.testing.assert_array_equal(ours.tags["shot"], theirs.tags["shot"])


def test_given_half_widths(molexa: Run, folder: Path) -> None:
    done = molexa("reduce", "run.root", "--gate-sum", "2", "1.5", "1", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    axes = json.loads(done.stdout)["momentum_sums"]
    assert [axis["gate_half_width"] for axis in axes] == [2.0, 1.5, 1.0]
    total = read_events(folder / "run.events.h5")[0].momentum_sum()
    centre = np.array([axis["gate_centre"] for axis in axes])
    assert (np.abs(total - centre) <= np.array([2.0, 1.5, 1.0]) + 1e-9).all()


def test_no_channel_lists_those_there_are(molexa: Run, folder: Path) -> None:
    (folder / "setup.yaml").write_text(yaml.safe_dump(META["setup"]))
    done = molexa("reduce", "bare.root", "--setup", "setup.yaml", folder=folder)
    assert done.returncode == 1
    assert "bare.root: no channel" in done.stderr
    assert "cf4" in done.stderr
    assert "Traceback" not in done.stderr
    assert "bare.events.h5" not in written(folder)


def test_what_cannot_be_reduced_leaves_no_file(folder: Path) -> None:
    before = written(folder)
    with pytest.raises(InputFileError, match=r"bare.root: no setup"):
        reduce(["bare.root"], channel="water", out="bare.events.h5")
    with pytest.raises(InputFileError, match="no channel named 'watr'.*water"):
        reduce(["run.root"], channel="watr", out="run.events.h5")
    with pytest.raises(NoEventsError, match="no coincidence of C"):
        reduce(["run.root"], channel="cf4", out="run.events.h5")
    with pytest.raises(UsageError, match="half widths must be above 0"):
        reduce(["run.root"], gate_sum=(1.0, 0.0, 1.0), out="run.events.h5")
    with pytest.raises(InputFileError, match="no such file"):
        reduce(["missing.root"], out="missing.events.h5")
    assert written(folder) == before


def test_an_ion_that_there_is_not(folder: Path) -> None:
    values = META["channel"] | {"ions": [{"ion": "Xx+"}]}
    (folder / "odd.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SettingsError, match="unknown element 'Xx'"):
        reduce(["run.root"], channel="odd.yaml", out="run.events.h5")


def test_wrong_usage(molexa: Run, folder: Path) -> None:
    assert molexa("reduce", folder=folder).returncode == 2
    assert molexa("reduce", "run.root", "--gate-sum", "1", "2", folder=folder).returncode == 2
    done = molexa("reduce", "run.root", "--out", "no/folder.h5", folder=folder)
    assert done.returncode == 1
    assert "the folder does not exist" in done.stderr


@pytest.mark.slow
def test_memory_stays_below_a_gibibyte_for_a_large_run(folder: Path) -> None:
    """Two million shots, 1.5 GB of columns: the peak is that of the chunks, not of the file."""

    def chunks() -> object:
        for number in range(40):
            made = make_run(["O+", "H+", "H+"], SETUP, shots=50_000, per_shot=0.9, seed=number)
            yield made.hits

    write_root_run("large.root", chunks(), slots=40, meta=META)  # type: ignore[arg-type]
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from molexa_core.pipeline.chain.reduce import reduce\n"
        "from tests.fakes.memory import peak_bytes\n"
        "reduce(['large.root'], out='large.events.h5')\n"
        "print(peak_bytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2**30


def test_several_channels_get_a_file_each(molexa: Run, folder: Path) -> None:
    for name, ions in (("water", ("O+", "H+", "H+")), ("pair", ("O+", "H+"))):
        counted = [(ion, ions.count(ion)) for ion in dict.fromkeys(ions)]
        values = make_channel(*counted).model_dump(mode="json") | {"name": name}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    both = ("--channel", "water.yaml", "--channel", "pair.yaml", "--gate-sum", "30", "30", "30")
    done = molexa("reduce", "run.root", *both, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert [one["file"] for one in values] == ["run.water.events.h5", "run.pair.events.h5"]
    alone = Path("run.events.h5")
    reduce(["run.root"], channel="water.yaml", gate_sum=(30.0, 30.0, 30.0), out=alone)
    one, other = (read_events(name)[0] for name in (alone, "run.water.events.h5"))
    np.testing.assert_array_equal(one.momentum, other.momentum)
    assert len(read_events("run.pair.events.h5")[0].ions) == 2
    refused = molexa("reduce", "run.root", *both, "--out", "a.events.h5", folder=folder)
    assert refused.returncode == 2
    assert "--out: 2 channels are not written to one file" in refused.stderr
    twice = molexa("reduce", "run.root", *both[:2], *both[:2], folder=folder)
    assert twice.returncode == 2
    assert "several channels are called water" in twice.stderr
