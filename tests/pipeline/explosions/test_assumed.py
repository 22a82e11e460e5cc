"""Which explosion a reconstruction assumes: precedence, changes of a call, and how it travels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from molexa_core.base.errors import SettingsError, UsageError
from molexa_core.base.forward_model import ChargeBuildUp, ModelOptions, Pulse
from molexa_core.base.known_explosion import (
    BuildUpExplosion,
    ClassicalExplosion,
    InstantExplosion,
    LaserExplosion,
    XrayExplosion,
    block_of,
    simulated,
)
from molexa_core.base.settings import Calibrated, Explosion, load_setup, parse_settings
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.base.uncertain import Uncertain
from molexa_core.io.results.channel_csv import read_channel_csv, write_channel_csv
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.explosions.assumed import (
    NOWHERE,
    Changes,
    assumed_explosion,
    changed,
    explosion_of_record,
)
from molexa_core.pipeline.explosions.simulate import simulate
from molexa_core.pipeline.runs.mock import mock

LASER = Explosion(laser=LaserExplosion(duration_fs=Uncertain(30, 5)))
TEMPLATE = (shipped_folder("templates") / "setup.yaml").read_text(encoding="utf-8")


def calibrated(*names: str) -> Calibrated:
    values = {
        "hypotheses": [
            {
                "family": "laser",
                "parameters": list(names),
                "points": [{"mean": [1.0] * len(names)}],
                "covariance": np.eye(len(names)).tolist(),
            }
        ],
        "references": [{"file": "n2.csv", "molecule": "N2"}],
    }
    return parse_settings(Calibrated, values, where="here")


def recorded(block: dict[str, Any]) -> Provenance:
    first = Provenance.of("reduce", settings={"setup": {"explosion": block}})
    return Provenance.of("centroid", after=Provenance.of("align", after=first))


def setup_file(path: Path, block: Any) -> Path:
    path.write_text(f"{TEMPLATE}\n{yaml.safe_dump({'explosion': block})}", encoding="utf-8")
    return path


def test_the_latest_record_that_says_something_counts() -> None:
    assert explosion_of_record(None) is None
    assert explosion_of_record(Provenance.of("reduce")) is None
    record = recorded(LASER.plain())
    assert explosion_of_record(record) == LASER
    later = Provenance.of("simulate", settings={"explosion": {"instant": {}}}, after=record)
    assert explosion_of_record(later) == Explosion(instant=InstantExplosion())
    assert explosion_of_record(recorded({"of_a_later_version": {}})) is None


def test_the_call_is_before_the_setup_and_that_before_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = recorded({"xray": {"duration_fs": 25}})
    found = assumed_explosion(record=record, path="channel.csv")
    assert found.explosion == Explosion(xray=XrayExplosion(duration_fs=Uncertain(25)))
    assert found.source == "the record in channel.csv"
    assert assumed_explosion().source == NOWHERE
    assert assumed_explosion().explosion == Explosion()
    setup_file(tmp_path / "folder.yaml", {"laser": {"duration_fs": 40}})
    (tmp_path / "molexa.yaml").write_text("setup: folder.yaml\n", encoding="utf-8")
    found = assumed_explosion(record=record)
    assert found.explosion.laser == LaserExplosion(duration_fs=Uncertain(40))
    assert found.source == "folder.yaml, named in molexa.yaml"
    own = setup_file(tmp_path / "own.yaml", {"laser": {"duration_fs": 50}})
    found = assumed_explosion(record=record, setup=own)
    assert found.explosion.laser == LaserExplosion(duration_fs=Uncertain(50))
    assert found.source == str(own)
    longer = Changes(numbers={"laser": {"duration_fs": "60 +- 6"}})
    found = assumed_explosion(record=record, setup=own, changes=longer)
    assert found.explosion.laser == LaserExplosion(duration_fs=Uncertain(60, 6))
    assert found.source == f"options and {own}"
    other = Changes(numbers={"build_up": {"tau_fs": 70.0, "tau_width": 0.3}})
    found = assumed_explosion(record=record, setup=own, changes=other)
    assert found.explosion.told == BuildUpExplosion(tau_fs=Uncertain(70), tau_width=0.3)
    assert found.source == "options"
    nothing = tmp_path / "nothing.yaml"
    nothing.write_text(TEMPLATE, encoding="utf-8")
    assert assumed_explosion(record=record, setup=nothing).source == "its record"


def test_a_number_changes_one_number() -> None:
    base = Explosion(
        xray=XrayExplosion(photon_ev=Uncertain(2000), duration_fs=Uncertain(15), transfer="low")
    )
    new = changed(base, Changes(numbers={"xray": {"duration_fs": "25 +- 10 %"}}))
    assert new.told == XrayExplosion(
        photon_ev=Uncertain(2000), duration_fs=Uncertain(25, 2.5), transfer="low"
    )
    new = changed(base, Changes(numbers={"xray": {"duration_fs": "unknown"}}))
    assert new.told == XrayExplosion(photon_ev=Uncertain(2000), transfer="low")
    assert changed(base, Changes(model="unknown")) == Explosion()
    assert changed(base, Changes(model="laser")).told == LaserExplosion()
    assert changed(base, Changes()) == base


def test_the_fluence_stands_in_place_of_what_determines_it() -> None:
    base = Explosion(xray=XrayExplosion(energy_mj=Uncertain(1), focus_um=Uncertain(1)))
    told = changed(base, Changes(numbers={"xray": {"fluence_um2": "1e11 +- 1e10"}}))
    assert told.told == XrayExplosion(fluence_um2=Uncertain(1e11, 1e10))
    back = changed(told, Changes(numbers={"xray": {"energy_mj": 2, "focus_um": 1}}))
    assert back.told == XrayExplosion(energy_mj=Uncertain(2), focus_um=Uncertain(1))


def test_tau_is_that_of_the_model_in_force() -> None:
    tau = Changes(numbers={"build_up": {"tau_fs": "60"}})
    exact = Explosion(classical=ClassicalExplosion())
    assert changed(exact, tau).told == ClassicalExplosion(tau_fs=Uncertain(60))
    assert changed(Explosion(), tau).told == BuildUpExplosion(tau_fs=Uncertain(60))
    told = Changes(model="classical", numbers=tau.numbers)
    assert changed(LASER, told).told == ClassicalExplosion(tau_fs=Uncertain(60))
    wide = Changes(numbers={"build_up": {"tau_fs": 60.0, "tau_width": 0.4}})
    assert changed(exact, wide).told == BuildUpExplosion(tau_fs=Uncertain(60), tau_width=0.4)
    before = Explosion(build_up=BuildUpExplosion(tau_fs=Uncertain(50, 5)))
    width = Changes(numbers={"build_up": {"tau_width": 0.2}})
    assert changed(before, width).told == BuildUpExplosion(tau_fs=Uncertain(50), tau_width=0.2)
    both = Explosion(build_up=BuildUpExplosion(tau_fs=Uncertain(50), tau_width=0.2))
    assert changed(both, tau).told == BuildUpExplosion(tau_fs=Uncertain(60))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            Changes(numbers={"xray": {"duration_fs": 5}, "laser": {"duration_fs": 5}}),
            "the duration of the laser pulse has no meaning for the explosion 'xray'",
        ),
        (Changes("ion", {"laser": {"duration_fs": 5}}), "has no meaning for the explosion 'ion'"),
        (Changes("unknown", {"laser": {"duration_fs": 5}}), "for an explosion that is unknown"),
        (Changes(numbers={"laser": {"duration_fs": "long"}}), "'long' is not a number"),
        (Changes(numbers={"laser": {"duration_fs": 1e5}}), "out of range. Choose 1 to 2000 fs"),
        (Changes(numbers={"build_up": {"tau_width": 0.3}}), "tau_width is given without tau_fs"),
    ],
)
def test_changes_that_contradict_are_refused(changes: Changes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(Explosion(), changes)
    assert message in str(caught.value)


def test_a_calibration_is_kept_for_other_conditions_and_left_out_for_other_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    longer = Changes(numbers={"laser": {"duration_fs": 60}})
    kept = changed(Explosion.of(LASER.told, calibrated("a")), longer)
    assert kept.calibrated == calibrated("a")
    path = tmp_path / "explosion.yaml"
    block = Explosion.of(LASER.told, calibrated("duration_fs")).plain()
    path.write_text(yaml.safe_dump({"explosion": block}), encoding="utf-8")
    assert assumed_explosion(setup=path).explosion.calibrated == calibrated("duration_fs")
    found = assumed_explosion(setup=path, changes=longer)
    assert found.explosion.calibrated is None
    assert "calibration of" in found.remarks[0]
    assert changed(Explosion.of(LASER.told, calibrated("a")), Changes("xray")).calibrated is None


def test_a_simulated_explosion_is_known_in_full() -> None:
    assert simulated("instant") == InstantExplosion()
    assert simulated("classical") == ClassicalExplosion(tau_fs=Uncertain(45))
    apart = simulated("classical", rises=ChargeBuildUp(tau_fs=60, hydrogen_tau_fs=20))
    assert apart == ClassicalExplosion(tau_fs=Uncertain(60), hydrogen_tau_fs=Uncertain(20))
    pulse = Pulse(photon_ev=1500, duration_fs=25)
    xray = simulated("mcmd", pulse=pulse, options=ModelOptions(transfer="pair", recapture=True))
    assert isinstance(xray, XrayExplosion)
    assert (xray.duration_fs, xray.focus_um) == (Uncertain(25), Uncertain(1))
    assert (xray.transfer, xray.recapture, xray.fluence_um2) == (None, True, None)
    flat = simulated("mcmd", pulse=Pulse(fluence_um2=1e11))
    assert isinstance(flat, XrayExplosion)
    assert (flat.fluence_um2, flat.energy_mj) == (Uncertain(1e11), None)
    for told in (apart, xray, flat):
        assert parse_settings(Explosion, block_of(told), where="here").told == told


def test_what_a_simulation_did_is_in_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    simulate("water", "O+,H+,H+", out="channel.csv", tau_fs=60.0)
    _, record = read_channel_csv("channel.csv")
    assert explosion_of_record(record) == Explosion(
        classical=ClassicalExplosion(tau_fs=Uncertain(60))
    )


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (None, Explosion(classical=ClassicalExplosion(tau_fs=Uncertain(45)))),
        ({"laser": {"duration_fs": "30 +- 5"}}, LASER),
        ({}, Explosion()),
    ],
)
def test_what_a_setup_says_travels_to_the_mean_momenta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: Any, expected: Explosion
) -> None:
    """From the setup through mock, reduce, align and centroid."""
    monkeypatch.chdir(tmp_path)
    setup_file(tmp_path / "setup.yaml", block) if block is not None else None
    told = None if block is None else "setup.yaml"
    mock("carbon_monoxide", 3000, out="run.root", setup=told)
    reduce(["run.root"], out="run.events.h5")
    align("run.events.h5", out="run.aligned.h5")
    centroid("run.aligned.h5", out="channel.csv")
    table, record = read_channel_csv("channel.csv")
    found = assumed_explosion(record=record, path="channel.csv")
    assert found.explosion == expected
    assert found.source == "the record in channel.csv"
    write_channel_csv("plain.csv", pd.DataFrame(table))
    assert assumed_explosion(record=read_channel_csv("plain.csv")[1]).explosion == Explosion()


def test_a_setup_told_later_is_before_the_one_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mock("carbon_monoxide", 3000, out="run.root")
    (tmp_path / "bare.yaml").write_text(TEMPLATE, encoding="utf-8")
    told = setup_file(tmp_path / "told.yaml", {"laser": {"duration_fs": "30 +- 5"}})
    assert load_setup("bare.yaml").explosion is None
    expected = {"bare.yaml": Explosion(classical=ClassicalExplosion(tau_fs=Uncertain(45)))}
    expected[told.name] = LASER
    for name, explosion in expected.items():
        reduce(["run.root"], setup=name, out="run.events.h5")
        align("run.events.h5", out="run.aligned.h5")
        centroid("run.aligned.h5", out="channel.csv")
        assert explosion_of_record(read_channel_csv("channel.csv")[1]) == explosion


def test_a_setup_that_is_not_valid_stops(tmp_path: Path) -> None:
    path = setup_file(tmp_path / "setup.yaml", {"laser": {"duration_fs": "long"}})
    with pytest.raises(SettingsError, match="'long' is not a number"):
        assumed_explosion(setup=path)
