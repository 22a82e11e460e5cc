"""Coincidences for other programs: nothing is lost, and weights subtract what is false."""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import molexa as mx
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.io.results.events import write_events
from molexa_core.io.root.run import write_root_run
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.convert import convert_file
from tests.fakes.momenta import WATER
from tests.fakes.root_runs import make_channel, make_run, make_setup

ROOT = Path(__file__).resolve().parents[2]
SETUP = make_setup()
CHANNEL = make_channel(("O+", 1), ("H+", 2))
META = {"setup": SETUP.model_dump(mode="json"), "channel": CHANNEL.model_dump(mode="json")}


@pytest.fixture
def events(rng: np.random.Generator) -> Coincidences:
    momentum = WATER + rng.normal(size=(40, 3, 3))
    table = Coincidences.of(("O+", "H+", "H+"), momentum, tags={"delay_fs": np.arange(40.0)})
    source = np.arange(15).reshape(5, 3)
    false = replace(table.select(np.arange(5)), weight=np.full(5, 0.4), source=source)
    return replace(table, false=false, meta={"note": "made by a test"})


def test_awkward_arrays_hold_the_momenta(events: Coincidences) -> None:
    array = mx.to_awkward(events)
    assert len(array) == 40
    assert array.ions.ion.tolist()[0] == ["O+", "H+", "H+"]
    np.testing.assert_array_equal(array.ions.pz.to_numpy(), events.momentum[:, :, 2])
    np.testing.assert_array_equal(array.delay_fs.to_numpy(), np.arange(40.0))
    np.testing.assert_array_equal(array.event_id.to_numpy(), events.event_id)


def test_weights_in_parquet_subtract_false_coincidences(
    events: Coincidences, working_folder: Path
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write_events("run.events.h5", events, Provenance.of("made by a test"))
    told = convert_file("run.events.h5", "events.parquet")
    assert (told["coincidences"], told["false"]) == (40, 5)
    table = pq.read_table("events.parquet")
    frame = table.to_pandas()
    assert frame["weight"].sum() == pytest.approx(40 - 5 * 0.4)
    true = frame[~frame["false"]]
    np.testing.assert_allclose(true["H+#2.py"], events.momentum[:, 2, 1])
    mean = np.average(frame["O+.px"], weights=frame["weight"])
    expected = events.momentum[:, 0, 0].sum() - 0.4 * events.momentum[:5, 0, 0].sum()
    assert mean == pytest.approx(expected / 38.0)
    told = json.loads(table.schema.metadata[b"molexa"])
    assert told["note"] == "made by a test"
    assert list(told["provenance"]["inputs"]) == ["run.events.h5"]
    convert_file("run.events.h5", "events.parquet")  # molexa's own result may be replaced


class Variable:
    """Stands in for DAMNIT's decorator: keeps the function under its name."""

    found: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __init__(self, title: str) -> None:
        self.title = title

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.found[self.title] = function
        assert function.__annotations__ == {"number": "meta#run_number"}
        return function


def test_the_context_file_for_damnit_gives_values_and_a_picture(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = make_run(["O+", "H+", "H+"], SETUP, shots=1500, recoil=(1.5, 1.0, 0.5)).hits
    write_root_run(working_folder / "run0052.root", [hits], slots=24, meta=META)
    summary = reduce(["run0052.root"], out="run0052.events.h5").summary
    page = (ROOT / "docs" / "hand-over.md").read_text(encoding="utf-8")
    (context,) = re.findall(r"```python damnit\n(.*?)```", page, flags=re.DOTALL)
    fake = types.ModuleType("damnit_ctx")
    fake.Variable = Variable  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "damnit_ctx", fake)
    exec(compile(context, "context.py", "exec", dont_inherit=True), {})  # noqa: S102  # the snippet of the page
    found = Variable.found
    assert found["Coincidences"](None, 52) == summary.coincidences
    assert found["KER / eV"](None, 52) == pytest.approx(summary.ker.peak)
    assert 50.0 < found["Purity / %"](None, 52) <= 100.0
    assert found["Purity / %"](None, 53) is None
    assert found["KER spectrum"](None, 52) is not None
