"""Regions given by numbers or sent by the page are written, counted, and taken by later stages."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import NoEventsError, SettingsError, UsageError
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.settings import load_channel, load_regions
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.events import read_events, write_events
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.draw_gate import GateMap, form_of
from molexa_core.pipeline.chain.gate_server import GateServer
from tests.conftest import Run
from tests.fakes.chain import momenta

BOX = {"box": {"x": [0.0, 60.0], "y": [40.0, 70.0]}}


@pytest.fixture
def events(working_folder: Path) -> Path:
    table = momenta("water", 600, 1)
    meta = {"channel": load_channel("water").model_dump(mode="json")}
    path = working_folder / "run.events.h5"
    write_events(path, table.with_meta(meta), Provenance.of("test"))
    return path


def test_numbers_as_they_are_typed() -> None:
    def typed(**given: str) -> Any:
        return form_of(**{"polygon": None, "box": None, "ellipse": None} | given)

    assert typed(polygon="1,2 3,4  5,-6") == {"polygon": [[1, 2], [3, 4], [5, -6]]}
    assert typed(box="3,1 1,2") == {"box": {"x": [1, 3], "y": [1, 2]}}
    assert typed(ellipse="1,2 3,4 20") == {
        "ellipse": {"centre": [1, 2], "half_axes": [3, 4], "angle_deg": 20}
    }
    assert typed() is None
    line = {"polygon": "1,2 3,4"}  # two corners
    for wrong in (
        line,
        {"ellipse": "1,2 3,-4"},
        {"polygon": "1 2"},
        {"box": "1,2"},
        {"ellipse": "1,2"},
        {"box": "a,b c,d"},
    ):
        with pytest.raises(UsageError, match="Write it like"):
            typed(**wrong)
    with pytest.raises(UsageError, match="one form, not polygon, box"):
        typed(polygon="1,1 2,2 3,1", box="1,1 2,2")


def test_a_region_is_counted_written_and_taken_by_the_next_stage(events: Path) -> None:
    found = GateMap(events, "ker", "p(O+)")
    drawn = found.write("slow", BOX)
    table = read_events(events)[0]
    size = np.linalg.norm(table.momentum[:, 0], axis=1)
    assert drawn.inside == ((size >= 40) & (size <= 70)).sum()
    assert found.spectrum.total == len(table)
    assert kind_of_result("regions.yaml") is FileKind.REGIONS
    GateMap(events, "ker", "psum").write(
        found.free_name, BOX | {"box": {"x": [0, 99], "y": [0, 99]}}
    )
    assert list(load_regions("regions.yaml")) == ["slow", "region1"]
    aligned = Path("run.aligned.h5")
    align(events, selection=Selection(gate=["slow"]), out=aligned)
    assert len(np.unique(read_events(aligned)[0].event_id)) == drawn.inside


def test_a_channel_is_copied_with_its_region_and_uses_it(events: Path) -> None:
    with pytest.raises(UsageError, match="a channel is never overwritten"):
        GateMap(events, "ker", "p(O+)", channel="water")
    GateMap(events, "ker", "p(O+)", channel="water", out="mine.yaml").write("slow", BOX)
    copy = load_channel("mine.yaml")
    assert copy.gates.use == ("slow",)
    assert copy.model_copy(
        update={"regions": {}, "gates": load_channel("water").gates}
    ) == load_channel("water")
    assert kind_of_result("mine.yaml") is FileKind.CHANNEL


def test_impossible_regions_change_nothing(events: Path) -> None:
    found = GateMap(events, "ker", "p(O+)")
    found.write("slow", BOX)
    before = Path("regions.yaml").read_bytes()
    for name, form, kind, words in (
        ("slow", BOX, UsageError, "has a region 'slow' already"),
        ("two words", BOX, SettingsError, "letters, digits and underscore"),
        ("flat", {"polygon": [[0, 0], [1, 1], [2, 2]]}, SettingsError, "one line"),
        ("off", {"box": {"x": [900, 901], "y": [0, 1]}}, NoEventsError, "none of 600 .* ker"),
    ):
        with pytest.raises(kind, match=words):
            found.write(name, form)
    assert Path("regions.yaml").read_bytes() == before
    Path("regions.yaml").write_text(
        "regions: {a: {x: ker, y: psum, box: {x: [0, 1], y: [0, 1]}}}\n"
    )
    with pytest.raises(UsageError, match="not written by molexa"):
        GateMap(events, "ker", "p(O+)")


def test_the_page_needs_nothing_and_holds_the_map(events: Path, molexa: Run) -> None:
    done = molexa("gate", events.name, "--x", "ker", "--y", "p(O+)", "--html", "map.html")
    assert done.returncode == 0, done.stderr
    page = Path("map.html").read_text()
    assert not re.search(r"(?:src|href)\s*=|https?://|@import|url\(", page)
    assert "connect-src" not in page
    match = re.search(r"const DATA = (\{.*?\});\n", page)
    assert match is not None
    data = json.loads(match[1])
    assert sum(data["counts"]) <= data["rows"] == 600
    assert (data["x"], data["y_label"]) == ("ker", "p(O+) (a.u.)")
    assert kind_of_result("map.html") is FileKind.GATE_PAGE
    done = molexa("gate", events.name, "--x", "kr", "--y", "p(O+)", "--html", "other.html")
    assert done.returncode == 2
    assert "Did you mean ker" in done.stderr


def test_the_server_writes_what_the_page_sends_and_nothing_else(events: Path) -> None:
    found = GateMap(events, "ker", "p(O+)")
    names: list[str] = []
    region = {"x": "ignored", "y": "ignored", **BOX}
    with GateServer(found, lambda drawn: names.append(drawn.name)) as server:
        stop = threading.Event()
        thread = threading.Thread(target=server.serve, args=(stop.is_set,))
        thread.start()
        try:
            with urllib.request.urlopen(server.url, timeout=10) as answered:  # noqa: S310
                page = answered.read().decode()
            assert 'const SAVES_TO = "save"' in page
            answer = send(server.url + "save", {"name": "slow", "region": region})
            assert "slow written to regions.yaml" in answer
            for url, values, headers, status in (
                (server.url + "save", {"name": "slow", "region": region}, {}, 400),
                (server.url + "save", {"name": "b"}, {}, 400),
                (server.url + "other", {"name": "b", "region": region}, {}, 404),
                (
                    f"http://127.0.0.1:{server.port}/x/save",
                    {"name": "b", "region": region},
                    {},
                    404,
                ),
                (server.url + "save", {"name": "b", "region": region}, {"Host": "evil.org"}, 404),
            ):
                with pytest.raises(urllib.error.HTTPError) as caught:
                    send(url, values, headers)
                caught.value.close()
                assert caught.value.code == status
        finally:
            stop.set()
            thread.join(timeout=10)
    assert names == ["slow"]
    assert load_regions("regions.yaml")["slow"].x == "ker"


def send(url: str, values: object, headers: dict[str, str] | None = None) -> str:
    request = urllib.request.Request(  # noqa: S310
        url, json.dumps(values).encode(), {"Content-Type": "application/json", **(headers or {})}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return answer.read().decode()
