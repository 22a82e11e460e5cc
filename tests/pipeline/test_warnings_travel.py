from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Channel
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.io.results.channel_csv import read_channel_csv, write_channel_csv
from molexa_core.io.results.events import read_events, write_events
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid, in_laboratory
from molexa_core.pipeline.chain.channel_limits import (
    beyond_network,
    channel_of_record,
    other_molecule,
    require_complete,
)
from molexa_core.pipeline.chain.report import report_folder
from molexa_core.pipeline.reconstruction.events_answer import answer_of_events
from tests.fakes.root_runs import make_channel

SAID = "99 % of the hits lie within 0.05 mm of the centre"
WATER = make_channel(("O+", 1), ("H+", 2))


def events_of(rng: np.random.Generator, channel: Channel = WATER, **meta: object) -> Coincidences:
    """Coincidences whose momenta cancel, of a bent molecule that lies in every direction."""
    shape = np.array([[-40.0, 0.0, 0.0], [20.0, 45.0, 0.0], [20.0, -45.0, 0.0]])
    turns = np.linalg.qr(rng.normal(size=(300, 3, 3)))[0]
    momenta = np.einsum("nab,ib->nia", turns, shape)
    return Coincidences.of(
        ["O+", "H+", "H+"], momenta, meta={"channel": channel.model_dump(mode="json"), **meta}
    )


def partial() -> Channel:
    values = WATER.model_dump()
    values["ions"][1]["detected"] = 1
    return Channel.model_validate(values)


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    record = Provenance.of("test", settings={"channel": WATER.model_dump(mode="json")})
    write_events("run.events.h5", events_of(rng, warnings=[SAID]), record)
    return tmp_path


def test_a_warning_of_reduce_is_said_again_until_the_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["align", "-q"]) == 0
    assert read_events("run.aligned.h5")[0].meta["warnings"] == [SAID]
    capsys.readouterr()
    assert main(["centroid", "--json", "-q"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["warnings"] == [SAID]
    assert told.err.count(SAID) == 1
    table, _ = read_channel_csv("channel.csv")
    assert table.attrs["warnings"] == [SAID]
    progress = CollectingProgress()
    page, _ = report_folder(folder, progress=progress)
    assert progress.warned == [SAID]
    assert SAID in page.read_text(encoding="utf-8")


def test_warnings_survive_writing_and_reading(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = centroid(align(events_of(rng)).table)
    rows.attrs["warnings"] = ["two\nlines", "one"]
    write_channel_csv(tmp_path / "channel.csv", rows)
    assert read_channel_csv(tmp_path / "channel.csv")[0].attrs["warnings"] == ["two lines", "one"]


def test_a_partial_channel_is_not_averaged_like_a_complete_one(
    folder: Path, rng: np.random.Generator
) -> None:
    write_events("run.events.h5", events_of(rng, partial()), Provenance.of("test"))
    with pytest.raises(InputFileError, match=r"fake asks for O\+, H\+ per event, the events have"):
        centroid("run.events.h5")
    with pytest.raises(UsageError, match="asks for"):
        centroid(events_of(rng, partial()))
    with pytest.raises(InputFileError, match=r"partial channel fake \(1 of 2 H\+"):
        answer_of_events("run.events.h5", out="geom.xyz")


def test_a_table_from_a_partial_channel_is_not_reconstructed() -> None:
    settings = {"channel": partial().model_dump(mode="json")}
    record = Provenance.of("centroid", after=Provenance.of("reduce", settings=settings))
    with pytest.raises(InputFileError, match="partial channel"):
        require_complete(channel_of_record(record), "channel.csv")
    with pytest.raises(InputFileError, match="partial channel"):
        require_complete(channel_of_record(record), "channel.csv", ions=["O+", "H+"])
    require_complete(channel_of_record(record), "channel.csv", ions=["O+", "H+", "H+"])


def test_ions_that_are_missing_in_a_channel_are_told() -> None:
    few = make_channel(("O+", 1), ("C+", 2), ("H+", 1)).model_copy(update={"molecule": "ethanol"})
    assert "lacks 5 H for its molecule ethanol" in str(other_molecule(few))
    whole = make_channel(("O+", 1), ("C+", 2), ("H+", 6)).model_copy(update={"molecule": "ethanol"})
    assert other_molecule(whole) is None
    assert other_molecule(few.model_copy(update={"molecule": None})) is None
    many = make_channel(("O+", 1), ("H+", 3)).model_copy(update={"molecule": "water"})
    assert "has 1 H too many" in str(other_molecule(many))


def test_a_molecule_that_does_not_ship_is_told() -> None:
    wrong = make_channel(("O+", 1), ("H+", 2)).model_copy(update={"molecule": "watr"})
    assert "names the molecule watr" in str(other_molecule(wrong))


def test_the_recoil_of_a_partial_channel_is_kept(rng: np.random.Generator) -> None:
    table = events_of(rng, partial())
    two = Coincidences.of(["O+", "H+"], table.momentum[:, :2], meta=dict(table.meta))
    with pytest.raises(UsageError, match="recoil of the partial channel"):
        align(two, recoil="remove")
    aligned = align(two).table
    assert np.linalg.norm(aligned.momentum.sum(axis=1), axis=1).min() > 1.0
    np.testing.assert_allclose(in_laboratory(aligned).momentum, two.momentum, atol=1e-9)


def test_momenta_that_do_not_cancel_are_told(rng: np.random.Generator) -> None:
    momenta = rng.normal(0.0, 40.0, (200, 3, 3))
    table = Coincidences.of(["O+", "H+", "H+"], momenta)
    assert any("do not cancel" in text for text in align(table).warnings)


def test_a_lobe_that_averages_to_nothing_is_told(rng: np.random.Generator) -> None:
    momenta = rng.normal(0.0, 40.0, (500, 3, 3))
    momenta[:, 0] = [60.0, 0.0, 0.0]
    warnings = centroid(Coincidences.of(["O+", "H+", "H+"], momenta)).attrs["warnings"]
    assert sum("H+, H+#2 average to almost nothing" in warning for warning in warnings) == 1


def test_what_the_network_cannot_take_is_known_at_once() -> None:
    many = make_channel(("C+", 4), ("H+", 6))
    strange = make_channel(("Xe+", 1), ("(CH3)+", 1))
    assert any("10 ions" in text for text in beyond_network(many))
    said = " ".join(beyond_network(strange))
    assert "Xe" in said
    assert "is a molecule" in said
    assert beyond_network(WATER) == []
