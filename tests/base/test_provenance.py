"""The record of what was done: complete, readable back, and chained from step to step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molexa_core import __version__
from molexa_core.base.storage.provenance import Provenance, made_by


def test_round_trip_through_json(tmp_path: Path) -> None:
    run = tmp_path / "run.root"
    run.write_bytes(b"abc")
    first = Provenance.of("molexa mock water", settings={"events": 10}, seed=3)
    second = Provenance.of("molexa reduce run.root", inputs=[run], after=first)
    back = Provenance.from_json(second.to_json())
    assert back == second
    assert back.inputs[str(run)].startswith("sha256:ba7816bf")
    assert back.version == __version__
    assert "\n" not in second.to_json()


def test_history_is_oldest_first_and_flat() -> None:
    record = None
    for command in ("mock", "reduce", "align", "centroid"):
        record = Provenance.of(command, after=record)
    assert record is not None
    assert record.command == "centroid"
    assert [step["command"] for step in record.history] == ["mock", "reduce", "align"]
    assert all("history" not in step for step in record.history)


def test_time_is_utc_and_settings_are_copied() -> None:
    settings = {"gate": [1, 2]}
    record = Provenance.of("reduce", settings=settings)
    settings["gate"] = []
    assert record.settings == {"gate": [1, 2]}
    assert record.created.endswith("+00:00")


@pytest.mark.parametrize(
    "change",
    [
        {"command": 3},
        {"inputs": 5},
        {"inputs": {"a.csv": 1}},
        {"settings": []},
        {"seed": "x"},
        {"history": [1]},
        {"history": [{"command": "molexa reduce", "inputs": 7}]},
        {"surprise": 1},
    ],
)
def test_what_is_no_record_is_refused(change: dict[str, object]) -> None:
    values = json.loads(Provenance.of("molexa align", seed=1, settings={"a": 1}).to_json())
    assert Provenance.from_json(json.dumps(values)).seed == 1
    with pytest.raises(ValueError, match="provenance"):
        Provenance.from_json(json.dumps(values | change))


def test_endless_brackets_are_no_record() -> None:
    with pytest.raises(ValueError, match="brackets"):
        Provenance.from_json("[" * 100_000)


def make() -> Provenance:
    """A stage that records what made its result."""
    return Provenance.of(seed=1)


def test_results_say_which_command_made_them() -> None:
    """Told once around everything that a command does; else the function that asks."""
    with made_by("molexa reduce run.h5"):
        assert make().command == "molexa reduce run.h5"
        with made_by("molexa align"):
            assert make().command == "molexa align"
        assert make().command == "molexa reduce run.h5"
        assert Provenance.of("another").command == "another"
    assert make().command == f"{__name__}.make"
