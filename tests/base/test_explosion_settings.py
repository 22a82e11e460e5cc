"""The block `explosion` of setup.yaml: what it takes, what it refuses, and how it travels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from molexa_core.base.errors import SettingsError, UsageError
from molexa_core.base.forward_model import ChargeBuildUp, ModelOptions, Pulse
from molexa_core.base.known_explosion import (
    KINDS,
    BuildUpExplosion,
    ClassicalExplosion,
    LaserExplosion,
    XrayExplosion,
    unusual,
)
from molexa_core.base.parameter import parameters
from molexa_core.base.settings import (
    Calibrated,
    Explosion,
    Setup,
    load_explosion,
    load_setup,
    parse_settings,
)
from molexa_core.base.settings.load import setup_files
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.base.uncertain import Uncertain

TEMPLATE = shipped_folder("templates") / "setup.yaml"


def calibrated(**changes: Any) -> dict[str, Any]:
    """A calibration of a laser explosion from two durations."""
    hypothesis = {
        "family": "laser",
        "parameters": ["a", "b"],
        "points": [
            {"conditions": {"duration_fs": 30.0}, "mean": [5.0, 0.1]},
            {"conditions": {"duration_fs": 200.0}, "mean": [5.5, 0.2]},
        ],
        "covariance": (0.01 * np.eye(4)).tolist(),
        "common": ["b"],
    } | changes
    return {
        "hypotheses": [hypothesis],
        "model_error": {"relative": 0.03},
        "references": [{"file": "ocs.csv", "molecule": "OCS", "ions": ["O2+", "C2+", "S2+"]}],
        "p_value": 0.4,
    }


def written(folder: Path, text: str) -> Path:
    path = folder / "explosion.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("given", "value", "uncertainty"),
    [
        (15, 15.0, 0.0),
        (1.5e1, 15.0, 0.0),
        ("15", 15.0, 0.0),
        ("15 +- 3", 15.0, 3.0),
        ("15+-3", 15.0, 3.0),
        ("15 ± 3", 15.0, 3.0),
        ("15 +/- 3", 15.0, 3.0),
        ("15 +- 20 %", 15.0, 3.0),
        ("1e3 +- 2.5e2", 1000.0, 250.0),
        ({"value": 15, "uncertainty": 3}, 15.0, 3.0),
        ({"value": "15"}, 15.0, 0.0),
    ],
)
def test_numbers_with_uncertainty_are_read(given: Any, value: float, uncertainty: float) -> None:
    found = Uncertain.of(given)
    assert (found.value, found.uncertainty) == (value, uncertainty)
    assert Uncertain.of(found.plain()) == found
    assert Uncertain.of(str(found)) == found
    assert found.relative == pytest.approx(uncertainty / value)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "fifteen",
        "15 fs",
        "15 +-",
        "15 - 3",
        True,
        None,
        [15],
        {"uncertainty": 3},
        "nan",
        "15 +- -3",
        "15 +- 50",
        {"value": 1, "error": 2},
        float("inf"),
        {"value": {"value": 1}, 3: 1},
    ],
)
def test_what_is_no_number_is_refused(given: Any) -> None:
    with pytest.raises(UsageError):
        Uncertain.of(given)


def test_each_kind_is_read_from_a_file_and_back(tmp_path: Path) -> None:
    blocks: list[dict[str, Any]] = [
        {
            "xray": {
                "photon_ev": 2000,
                "energy_mj": "1 +- 0.2",
                "duration_fs": {"value": 15, "uncertainty": 3},
                "focus_um": "unknown",
                "transfer": "low",
                "recapture": False,
            }
        },
        {"laser": {"duration_fs": "100 +- 10", "wavelength_nm": 800}},
        {"ion": {"energy_mev_u": 3.6, "projectile_charge": 14}},
        {"build_up": {"tau_fs": 65, "tau_width": 0.35, "hydrogen_tau_fs": "unknown"}},
        {"classical": {"tau_fs": 45}},
        {"classical": None},
        {},
    ]
    for block in blocks:
        path = written(tmp_path, yaml.safe_dump({"explosion": block}))
        found = load_explosion(path)
        assert found is not None
        kind = next(iter(block), None)
        assert (None if found.told is None else found.told.kind) == kind
        assert parse_settings(Explosion, found.plain(), where="again") == found
    xray = Explosion(xray=XrayExplosion(energy_mj=Uncertain(1, 0.2), recapture=False)).told
    assert isinstance(xray, XrayExplosion)
    assert xray.energy_mj == Uncertain(1.0, 0.2)
    assert xray.focus_um is None
    assert xray.recapture is False
    assert xray.transfer is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("laser: {duration_fs: 3000}", "laser -> duration_fs: must be a number from 1.* in fs"),
        ("laser:\n    duratoin_fs: unknown", r"line 3: .*did you mean duration_fs\?"),
        ("lazer: {duration_fs: 30}", r"lazer: unknown key \(did you mean laser"),
        ("xray: {photon_ev: 2 keV}", "'2 keV' is not a number; write 15, 15 "),
        ("xray: {duration_fs: 15 +- -3}", "the uncertainty -3 is negative"),
        ("xray: {transfer: pair}", "must be 'neutral' or 'low' or 'full'"),
        ("xray: {recapture: yes}", "write true"),
        ("xray: {fluence_um2: 1e11, focus_um: 1}", "fluence_um2 is given beside focus_um"),
        ("xray: {fluence_um2: 1}", "fluence_um2: must be a number from"),
        ("build_up: {tau_width: 0.3}", "tau_width is given without tau_fs"),
        ("build_up: {tau_fs: 60 +- 5, tau_width: 0.3}", "beside an uncertainty of tau_fs"),
        ("build_up: {onset_fs: 0 +- 5}", "Write 0, or a value above 0"),
        ("laser: {}\n  xray: {}", "xray, laser are given, and a molecule explodes in one way"),
        ("5", "explosion: must be a block with the keys xray"),
        ("calibrated: {}", "calibrated -> hypotheses: missing"),
    ],
)
def test_a_wrong_block_is_told_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, f"explosion:\n  {text}\n" if text != "5" else "explosion: 5\n")
    with pytest.raises(SettingsError, match=message) as caught:
        load_explosion(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: line ")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariance": [[1.0]]}, "the covariance is not 4 x 4 numbers"),
        ({"covariance": (-np.eye(4)).tolist()}, "negative eigenvalue"),
        ({"covariance": np.triu(np.ones((4, 4))).tolist()}, "not symmetric"),
        ({"parameters": ["a"]}, "point 1 has 2 means for 1 parameters"),
        ({"common": ["c"]}, "c is common to all conditions, but no parameter"),
        ({"family": "magic"}, "'xray' or 'laser' or 'ion' or 'build_up'"),
        (
            {"points": [{"mean": [1, 2]}, {"conditions": {"duration_fs": 3}, "mean": [1, 2]}]},
            "point 2 has other conditions than point 1",
        ),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_settings(Calibrated, calibrated(**changes), where="here")


def test_a_calibration_is_one_distribution_of_all_points() -> None:
    found = parse_settings(Calibrated, calibrated(), where="here").hypotheses[0]
    belief = found.belief()
    assert belief.names == ("a @ 0", "b @ 0", "a @ 1", "b @ 1")
    np.testing.assert_allclose(belief.mean, [5.0, 0.1, 5.5, 0.2])
    np.testing.assert_allclose(belief.width, 0.1)


def test_a_setup_names_the_file_of_a_calibration(tmp_path: Path) -> None:
    block = {"laser": {"duration_fs": 100}, "calibrated": calibrated()}
    other = written(tmp_path, yaml.safe_dump({"explosion": block}))
    setup = tmp_path / "setup.yaml"
    head = TEMPLATE.read_text(encoding="utf-8")
    setup.write_text(f"{head}\nexplosion: {other.name}\n", encoding="utf-8")
    found = load_setup(setup)
    assert found.explosion == load_explosion(other)
    assert found.explosion is not None
    assert found.explosion.calibrated is not None
    assert setup_files(setup) == [setup, other]
    again = parse_settings(Setup, found.model_dump(mode="json"), where="again")
    assert again == found
    other.write_text("laser: {}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="no block 'explosion'"):
        load_setup(setup)


def test_a_setup_may_say_nothing_or_that_nothing_is_known(tmp_path: Path) -> None:
    assert load_explosion(TEMPLATE) is None
    setup = tmp_path / "setup.yaml"
    head = TEMPLATE.read_text(encoding="utf-8")
    setup.write_text(f"{head}\nexplosion: unknown\n", encoding="utf-8")
    assert load_explosion(setup) == Explosion()
    assert setup_files(setup) == [setup]


def test_numbers_of_a_kind_are_those_of_the_simulation() -> None:
    """Meaning, unit, range and option are stated once, for simulations and for inversions."""
    simulated = {
        XrayExplosion: {**parameters(Pulse), **parameters(ModelOptions)},
        BuildUpExplosion: parameters(ChargeBuildUp),
        ClassicalExplosion: parameters(ChargeBuildUp),
    }
    for of, known in simulated.items():
        for name, one in parameters(of).items():
            if name == "tau_width":
                continue
            assert one.parameter.meaning == known[name].parameter.meaning
            assert one.parameter.option == known[name].parameter.option
            assert one.parameter.unit == known[name].parameter.unit
            assert one.default is None
    assert set(KINDS.values()) >= {*simulated, LaserExplosion}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (XrayExplosion(photon_ev=Uncertain(2.0)), ["photon_ev", "in eV, not keV"]),
        (XrayExplosion(energy_mj=Uncertain(800.0)), ["energy_mj", "in mJ, not µJ"]),
        (XrayExplosion(duration_fs=Uncertain(0.015)), ["duration_fs", "in fs, not as or ps"]),
        (XrayExplosion(photon_ev=Uncertain(90.0), energy_mj=Uncertain(3.0)), []),
        (XrayExplosion(), []),
        (LaserExplosion(duration_fs=Uncertain(30.0)), []),
        (None, []),
    ],
)
def test_numbers_that_no_free_electron_laser_has_are_named(
    told: XrayExplosion | LaserExplosion | None, words: list[str]
) -> None:
    found = unusual(told)
    assert len(found) == bool(words)
    assert all(word in found[0] for word in words)
