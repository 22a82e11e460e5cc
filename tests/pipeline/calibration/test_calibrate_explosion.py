"""`molexa calibrate explosion`, from files to the `explosion` block and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.belief import Belief
from molexa_core.base.errors import InputFileError, MolexaError, UsageError
from molexa_core.base.known_explosion import BuildUpExplosion, LaserExplosion
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Explosion, load_explosion
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.io.results.events import write_events
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.calibrated import CalibratedFamily
from molexa_core.physics.family.family import Family, Fragments
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.molecules.vibrations import sample_ground_state
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.pipeline.calibration.aligned_means import observe
from molexa_core.pipeline.calibration.calibrate_explosion import (
    calibrate_explosion,
    calibrate_explosion_files,
    conditions_of,
)
from molexa_core.pipeline.calibration.calibration_rows import as_plain
from molexa_core.pipeline.calibration.references import Reference
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from tests.conftest import Run

CHANNELS = (("nitrogen", "N2+ N2+"), ("carbon_monoxide", "C2+ O2+"), ("water", "O2+ H+ H+"))
TRUE = np.array([np.log(70.0), np.log(0.5), 0.1, 0.02])


def exploded(
    family: Family, name: str, ions: str, at: FloatArray, random: np.random.Generator, count: int
) -> Coincidences:
    """Coincidences of vibrating molecules, all off by one draw of what the family leaves open."""
    parsed = tuple(parse_ion(text) for text in ions.split())
    target = target_of_ions(parsed, molecule(name), where=name)
    assert target.modes is not None
    structures = sample_ground_state(target.positions, target.modes.stiffened(), count, random)
    fragments = Fragments.of(parsed)
    momenta = family.explode(fragments, structures, np.tile(at, (count, 1)))
    covariance = family.error(fragments, target.positions[None], at[None])[0]
    values, vectors = np.linalg.eigh(covariance)
    off = vectors @ (np.sqrt(np.maximum(values, 0.0)) * random.standard_normal(len(values)))
    return Coincidences.of(parsed, momenta + off.reshape(-1, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coincidences of N2, CO and water in charges that rise within 70 fs."""
    place = tmp_path_factory.mktemp("references")
    random = np.random.default_rng(11)
    for name, ions in CHANNELS:
        table = exploded(BuildUpFamily(), name, ions, TRUE, random, 1000)
        write_events(place / f"{name}.events.h5", table, Provenance.of("test"))
    (place / "setup.yaml").write_text("explosion:\n  build_up:\n")
    return place


def references(folder: Path) -> list[str]:
    return [f"{folder / name}.events.h5={name}" for name, _ in CHANNELS]


def test_what_is_written_is_what_a_reconstruction_knows(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "explosion.yaml"
    written, found = calibrate_explosion_files(
        references(folder), setup=folder / "setup.yaml", out=out
    )
    assert written == out
    assert kind_of_result(out) is FileKind.EXPLOSION
    explosion = load_explosion(out)
    assert explosion is not None
    assert isinstance(explosion.told, BuildUpExplosion)
    assert explosion.calibrated is not None
    assert [one.molecule for one in explosion.calibrated.references] == [n for n, _ in CHANNELS]
    knowledge = knowledge_of(explosion)
    assert knowledge.origin == "calibrated"
    (hypothesis,) = knowledge.hypotheses
    assert isinstance(hypothesis.family, CalibratedFamily)
    assert hypothesis.family.misfit == pytest.approx(found.misfit, rel=0.01)
    assert np.allclose(hypothesis.belief.mean, found.best.here.mean, atol=1e-6)
    assert np.allclose(hypothesis.belief.covariance, found.best.here.covariance, atol=1e-6)
    away = np.abs(hypothesis.belief.mean - TRUE) / hypothesis.belief.width
    assert away.max() < 4.0
    assert hypothesis.belief.width[0] < 0.3 * BUILD_UP_PRIOR.width[0]
    # Calibrating anew begins from what is told, not from the calibration.
    again, second = calibrate_explosion_files(
        references(folder), setup=out, out=tmp_path / "b.yaml"
    )
    assert again.exists()
    assert np.allclose(second.best.prior.mean, BUILD_UP_PRIOR.mean)


def test_wrong_calls_are_told_and_leave_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "explosion.yaml"
    first = references(folder)[0]
    laser = "laser: {duration_fs: 30}"
    cases: list[tuple[list[str], str | None, str]] = [
        ([], None, "no references"),
        ([f"{folder / 'nitrogen'}.events.h5=CO"], None, "not the atoms of carbon_monoxide"),
        ([f"{first}@duration_fs=30"], None, "nothing tells that of the experiment"),
        ([f"{tmp_path / 'none'}.csv=CO"], None, "no such file"),
        ([first], "classical:", "told exactly"),
        ([f"{first}@colour=3"], laser, "colour is no condition"),
        ([f"{first}@duration_fs=30"], "laser:", "that of the experiment is not known"),
    ]
    for given, block, message in cases:
        setup = tmp_path / "setup.yaml"
        setup.write_text(f"explosion:\n  {block or 'build_up:'}\n")
        with pytest.raises(MolexaError, match=message):
            calibrate_explosion_files(given, setup=setup, out=out)
        assert not out.exists()
    setup.write_text("explosion:\n  build_up:\n")
    with pytest.raises(UsageError, match="destroy"):
        calibrate_explosion_files(references(folder), setup=setup, out=setup)


def test_yields_need_a_family_that_knows_them(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "yields.csv"
    table.write_text("ions,count\nN+ N+,400\nN2+ N2+,900\n")
    with pytest.raises(MolexaError, match="does not say how often"):
        calibrate_explosion_files(
            references(folder)[:1],
            yields=[f"{table}=N2"],
            setup=folder / "setup.yaml",
            out=tmp_path / "explosion.yaml",
        )


def test_a_damaged_file_is_an_input_error(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "n2.events.h5"
    broken.write_bytes((folder / "nitrogen.events.h5").read_bytes()[:2000])
    with pytest.raises(InputFileError):
        calibrate_explosion_files([f"{broken}=N2"], out=tmp_path / "explosion.yaml")


def laser_reference(duration: float, at: FloatArray, seed: int, condition: int) -> Reference:
    ions = tuple(parse_ion(text) for text in ("O2+", "C2+", "S2+"))
    random = np.random.default_rng(seed)
    table = exploded(LaserFamily(), "ocs", "O2+ C2+ S2+", at, random, 500)
    target = target_of_ions(ions, molecule("ocs"), where="ocs")
    observed = observe(table, target)
    return Reference(f"ocs {duration:g}", "ocs", ions, target, observed, None, condition)


def test_a_calibration_is_carried_to_other_durations_with_wider_claims() -> None:
    told = LaserExplosion(duration_fs=Uncertain(40.0))
    conditions = conditions_of(told, [{"duration_fs": 50.0}])
    assert conditions.numbers == ({"duration_fs": 40.0}, {"duration_fs": 50.0})
    assert conditions.distances()[0, 1] == pytest.approx(np.log(50.0 / 40.0))
    at = laser_prior(50.0).mean
    made = laser_reference(50.0, at, 1, 1)
    found = calibrate_explosion([made], conditions, advise=False)
    size = len(at)
    there = found.best.belief.covariance[size:, size:]
    here = found.best.belief.covariance[:size, :size]
    before = laser_prior(40.0).covariance
    assert np.all(np.diag(here) >= np.diag(there) * 0.95)
    assert np.linalg.slogdet(here[1:, 1:])[1] < np.linalg.slogdet(before[1:, 1:])[1]


def test_the_command_prints_what_each_reference_tells(
    folder: Path, tmp_path: Path, molexa: Run
) -> None:
    out = tmp_path / "explosion.yaml"
    first, *others = references(folder)
    command = ["calibrate", "explosion"]
    arguments = [*command, "--reference", first, *others]
    arguments += ["--setup", str(folder / "setup.yaml"), "--out", str(out)]
    told = molexa(*arguments)
    assert told.returncode == 0, told.stderr
    words = {word for line in told.stdout.splitlines() for word in line.split()}
    assert {"window", "rise", "charges", "p-value", "reference"} <= words
    assert load_explosion(out) is not None
    wrong = molexa(*command, "n2")
    assert wrong.returncode == 2
    assert "is no reference" in wrong.stderr


def test_the_calibration_as_plain_values(folder: Path, tmp_path: Path) -> None:
    _, found = calibrate_explosion_files(
        references(folder)[:2], setup=folder / "setup.yaml", out=tmp_path / "explosion.yaml"
    )
    values = json.loads(json.dumps(as_plain(found)))
    (model,) = values["models"]
    assert model["parameters"][0]["name"] == "tau_fs"
    low, high = (model["parameters"][0]["after"][key] for key in ("low", "high"))
    assert low < 70.0 * 1.2
    assert high > 70.0 / 1.2
    assert [one["reference"] for one in model["values_measured"]] == [
        "nitrogen.events.h5",
        "carbon_monoxide.events.h5",
    ]


@pytest.mark.slow
def test_the_posterior_covers_build_ups_drawn_from_the_prior() -> None:
    """Explosions with differences between atoms as the family admits them: pulls of width one."""
    pulls, p_values = [], []
    family = BuildUpFamily()
    conditions = conditions_of(BuildUpExplosion(), [])
    for seed in range(24):
        random = np.random.default_rng(100 + seed)
        at = BUILD_UP_PRIOR.draw(random, 1)[0]
        made = []
        for name, text in (*CHANNELS, ("co2", "C2+ O2+ O2+")):
            ions = tuple(parse_ion(one) for one in text.split())
            table = exploded(family, name, text, at, random, 1000)
            target = target_of_ions(ions, molecule(name), where=name)
            made.append(Reference(name, name, ions, target, observe(table, target)))
        found = calibrate_explosion(made, conditions, advise=False, seed=seed)
        here: Belief = found.best.here
        pulls.append((here.mean - at) / here.width)
        p_values.append(found.p_value)
    width = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert np.all((width > 0.65) & (width < 1.35)), width
    assert np.mean(np.array(p_values) < 0.01) <= 0.1


def test_told_and_calibrated_are_one_block(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "explosion.yaml"
    setup = tmp_path / "setup.yaml"
    setup.write_text("explosion:\n  laser: {duration_fs: 30 +- 3}\n")
    calibrate_explosion_files(references(folder)[:2], setup=setup, out=out)
    explosion = load_explosion(out)
    assert isinstance(explosion, Explosion)
    assert explosion.told == LaserExplosion(duration_fs=Uncertain(30.0, 3.0))
    assert explosion.calibrated is not None
    (hypothesis,) = explosion.calibrated.hypotheses
    assert hypothesis.family == "laser"
    assert hypothesis.points[0].conditions == {"duration_fs": 30.0}
