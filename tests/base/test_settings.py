"""Settings: what ships loads, and a fault names file, key, finding and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from molexa_core.base.errors import InputFileError, SettingsError
from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import (
    Channel,
    load_channel,
    load_project,
    load_setup,
    parse_settings,
)
from molexa_core.base.storage.resources import available, shipped_folder

CHANNELS = sorted(shipped_folder("channels").glob("*.yaml"))
SETUP = shipped_folder("templates") / "setup.yaml"


def broken(folder: Path, source: Path, **changes: object) -> Path:
    """A copy of a settings file with top-level keys replaced."""
    values = yaml.safe_load(source.read_text(encoding="utf-8")) | changes
    path = folder / source.name
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", CHANNELS, ids=lambda path: path.stem)
def test_every_shipped_channel_loads(path: Path) -> None:
    channel = load_channel(path)
    assert channel.name == path.stem
    assert channel.description
    assert channel.is_complete
    assert channel.wanted_ions == channel.all_ions
    assert all(isinstance(ion, Ion) for ion in channel.all_ions)


def test_the_channels_that_the_demo_needs_ship() -> None:
    assert {"water", "cf4", "ethanol", "carbon_monoxide", "nitrogen"} <= set(
        available("channels", ".yaml")
    )
    assert [str(ion) for ion in load_channel("cf4").all_ions] == ["C+", "F+", "F+", "F+", "F+"]
    assert len(load_channel("ethanol").all_ions) == 9


def test_shipped_setup_loads() -> None:
    setup = load_setup(SETUP)
    assert setup.spectrometer.regions[0].field_v_per_cm > 0
    assert setup.virtual.molecules_per_shot > 0


def test_misspelt_key_names_file_key_and_near_match(tmp_path: Path) -> None:
    path = broken(tmp_path, CHANNELS[0], gates={"max_momentun": 3})
    with pytest.raises(SettingsError) as caught:
        load_channel(path)
    text = str(caught.value)
    assert str(path) in text
    assert "gates -> max_momentun: unknown key (did you mean max_momentum?)" in text


def test_a_key_like_nothing_lists_what_is_allowed(tmp_path: Path) -> None:
    path = broken(tmp_path, SETUP, zzzz=1)
    with pytest.raises(SettingsError, match=r"zzzz: unknown key \(allowed: anode, calib"):
        load_setup(path)


def test_wrong_unit_is_an_unknown_key(tmp_path: Path) -> None:
    path = broken(
        tmp_path, SETUP, spectrometer={"regions": [{"length_cm": 11, "field_v_per_cm": 250}]}
    )
    with pytest.raises(SettingsError, match="did you mean length_mm") as caught:
        load_setup(path)
    assert "spectrometer -> regions -> entry 1 -> length_mm: missing" in str(caught.value)


def test_all_faults_are_in_one_message(tmp_path: Path) -> None:
    path = broken(tmp_path, SETUP, detector={"radius_mm": -3, "slots": "many", "dead_tme_ns": 4})
    with pytest.raises(SettingsError) as caught:
        load_setup(path)
    text = str(caught.value)
    assert "detector -> radius_mm: must be a number above 0, in mm (found -3)" in text
    assert "detector -> slots" in text
    assert "'many'" in text
    assert "dead_tme_ns: unknown key (did you mean dead_time_ns" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ions": [{"ion": "Fe3+"}]}, "unknown element 'Fe'"),
        ({"ions": [{"ion": "H+"}, {"ion": "H1+"}]}, "stands in more than one entry"),
        ({"ions": [{"ion": "H+", "count": 0}]}, "ions -> entry 1 -> count"),
        ({"ions": [{"ion": "H+", "count": 2, "detected": 3}]}, "detected (3) is more than count"),
        ({"ions": [{"ion": "H+", "window_ns": [5, 1]}]}, "first value must be below the second"),
        ({"ions": []}, "ions: "),
        ({"frame": {"reference": "Xe+"}}, "frame ion Xe+ is not among the ions"),
        ({"frame": {"reference": "O+", "plane": "yz"}}, "'xy' or 'xz'"),
        ({"gates": {"max_momentum": float("inf")}}, "finite"),
    ],
)
def test_impossible_channels(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = broken(tmp_path, shipped_folder("channels") / "water.yaml", **changes)
    with pytest.raises(SettingsError) as caught:
        load_channel(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spectrometer": {"regions": []}}, "spectrometer -> regions"),
        (
            {"spectrometer": {"regions": [{"length_mm": 10, "field_v_per_cm": 0}]}},
            "first region needs a field above 0",
        ),
        ({"calibration": {"scale_x": 0}}, "must not be 0"),
        ({"detection_efficiency": 1.2}, "a number from 0 to 1 (found 1.2)"),
        ({"columns": {"layout": "rows", "tree": "t", "x": "x", "y": "y", "time": "t"}}, "`shot`"),
        (
            {
                "columns": {
                    "layout": "flat",
                    "tree": "t",
                    "x": "x{i}",
                    "y": "y",
                    "time": "t{i}",
                    "count": "n",
                }
            },
            "'y': flat column names need {i}",
        ),
        ({"virtual": {"residual_gas": [{"ion": "H2O", "per_shot": 1}]}}, "'H2O' is not an ion"),
    ],
)
def test_impossible_setups(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_setup(broken(tmp_path, SETUP, **changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "just words", "", "7"])
def test_yaml_that_is_no_settings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "setup.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="expected keys and values"):
        load_setup(path)


def test_text_that_is_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "setup.yaml"
    path.write_text("a: [1, 2", encoding="utf-8")
    with pytest.raises(SettingsError, match="not readable as YAML"):
        load_setup(path)
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(SettingsError, match="not readable as YAML"):
        load_setup(path)


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    path = tmp_path / "setup.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="not readable as YAML"):
        load_setup(path)


def test_unknown_channel_lists_what_there_is() -> None:
    with pytest.raises(InputFileError, match=r"no channel named 'wter'\. Did you mean water\?"):
        load_channel("wter")
    with pytest.raises(InputFileError, match="There are: carbon_monoxide, cf4, ethanol"):
        load_channel("zzz")


def test_partial_coincidence(tmp_path: Path) -> None:
    path = broken(
        tmp_path,
        shipped_folder("channels") / "cf4.yaml",
        ions=[{"ion": "C+"}, {"ion": "F+", "count": 4, "detected": 3}],
    )
    channel = load_channel(path)
    assert not channel.is_complete
    assert len(channel.all_ions) == 5
    assert len(channel.wanted_ions) == 4


def test_project_file(working_folder: Path) -> None:
    assert load_project(working_folder).channel is None
    (working_folder / "molexa.yaml").write_text("channel: water\nsetup: setup.yaml\n")
    assert load_project(working_folder).channel == "water"
    (working_folder / "molexa.yaml").write_text("chanel: water\n")
    with pytest.raises(SettingsError, match="chanel: unknown key .did you mean channel"):
        load_project(working_folder)


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ("O+ C+ S+", {"O+": 1, "C+": 1, "S+": 1}),
        (["O+", "C+", "2 H+"], {"O+": 1, "C+": 1, "H+": 2}),
        ("2x H+, O2+", {"H+": 2, "O2+": 1}),
        (["C+", "C+", {"ion": "H+", "count": 4, "detected": 1}], {"C+": 2, "H+": 4}),
    ],
)
def test_ions_have_a_short_form(short: object, expected: dict[str, int]) -> None:
    channel = parse_settings(Channel, {"name": "a", "ions": short}, where="a.yaml")
    assert {entry.ion: entry.count for entry in channel.ions} == expected


@pytest.mark.parametrize("wrong", ["3", "O+ 2 2 H+", "Xx+", [], "", 5, ["O+", 3]])
def test_a_wrong_short_form_is_refused(wrong: object) -> None:
    with pytest.raises(SettingsError, match=r"a\.yaml"):
        parse_settings(Channel, {"name": "a", "ions": wrong}, where="a.yaml")
