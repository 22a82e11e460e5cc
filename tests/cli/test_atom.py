"""`molexa atom` as a user runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from molexa_cli.main import main
from molexa_core.pipeline.explosions.atom import atom

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_json_and_table(molexa: Run, own_cache: Path) -> None:
    done = molexa("atom", "Ne", "--photon-ev", "2000", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["total_cross_section_barn"] == pytest.approx(41591, rel=0.01)
    assert found["configuration_cross_section_barn"] == found["total_cross_section_barn"]
    assert (found["occupation"], found["charge"], found["lifetime_fs"]) == ("1s2.2s2.2p6", 0, None)
    k_shell = found["subshells"][0]
    assert k_shell["subshell"] == "1s"
    assert 0.24 < k_shell["hole_auger_width_ev"] < 0.27
    assert k_shell["fluorescence_yield"] == pytest.approx(0.0191, rel=0.01)
    assert sum(item["cross_section_barn"] for item in found["subshells"]) == pytest.approx(
        found["total_cross_section_barn"]
    )
    assert (own_cache / "molexa").is_dir()
    done = molexa("atom", "Ne", "--photon-ev", "2000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Ne 1s2.2s2.2p6, photons of 2000 eV"
    assert "857.0" in done.stdout
    assert "63 configurations" in done.stderr


def test_one_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["atom", "C", "--photon-ev", "2000", "--occupation", "1s1.2s2.2p2"]
    assert main([*arguments, "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert not err
    found = json.loads(out)
    assert found["charge"] == 1
    assert found["in_tables"] is True
    assert found["lifetime_fs"] == pytest.approx(10.2, rel=0.01)
    assert found["total_cross_section_barn"] == pytest.approx(6017, rel=0.01)
    assert found["configuration_cross_section_barn"] < found["total_cross_section_barn"]
    assert [item["electrons_from"] for item in found["decays"]][:2] == [["2s", "2s"], ["2s", "2p"]]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("C+ 1s1.2s2.2p2, photons of 2000 eV")
    assert "lifetime of this configuration 10.17 fs" in out


def test_configurations_outside_the_tables_are_computed() -> None:
    hole = atom("C", 200.0, "1s1.2s2.2p2")
    assert not hole.in_tables
    assert hole.configurations == 9
    assert hole.lifetime_fs == pytest.approx(10.2, rel=0.01)
    extra = atom("C", 200.0, "1s1.2s2.2p3")
    assert extra.charge == 0
    # A screening electron fills up the width towards that of molecules.
    width = sum(item.width_ev for item in extra.decays if item.kind == "auger")
    assert width == pytest.approx(0.0767, rel=0.01)
    bare = atom("C", 200.0, "bare")
    assert (bare.charge, bare.subshells, bare.decays) == (6, (), ())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("As --photon-ev 2000", 1, "no element 'As' in the atomic model"),
        ("Q --photon-ev 2000", 1, "no element 'Q'"),
        ("C --photon-ev 5", 2, "ionizes no subshell of C. The lowest edge of this model is 8.99"),
        ("C --photon-ev 30000", 2, "up to 20000 eV"),
        ("C --photon-ev nan", 2, "up to 20000 eV"),
        ("C --photon-ev -3", 2, "up to 20000 eV"),
        ("C --photon-ev 300 --occupation 1s3", 2, "3 electrons in 1s. It holds at most 2"),
        ("C --photon-ev 300 --occupation 1s2.2s2.2p3", 2, "7 electrons for C, which has 6"),
        ("C --photon-ev 300 --occupation core", 2, "Write it as 1s2.2s2.2p4"),
        ("C", 2, "--photon-ev"),
    ],
)
def test_mistakes_get_one_sentence(
    capsys: pytest.CaptureFixture[str], own_cache: Path, arguments: str, code: int, message: str
) -> None:
    assert main(["atom", *arguments.split()]) == code
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert not out
    assert not own_cache.exists()
