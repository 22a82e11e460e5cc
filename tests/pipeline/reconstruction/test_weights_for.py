"""Which weights reconstruct an explosion where none are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from molexa_core.base.known_explosion import (
    BuildUpExplosion,
    ClassicalExplosion,
    Kind,
    LaserExplosion,
    XrayExplosion,
)
from molexa_core.base.settings import Explosion
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.card import write_card
from molexa_core.network.weights import DEFAULT, TOLD, read_card
from molexa_core.pipeline.reconstruction.learned import weights_files, weights_for


@pytest.fixture
def told_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which weights that are told the experiment are installed."""
    card, _ = read_card(DEFAULT)
    path = tmp_path / "weights" / f"{TOLD}.json"
    path.parent.mkdir()
    write_card(replace(card, name=TOLD, network=replace(card.network, max_atoms=14)), path)
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        None,
        LaserExplosion(duration_fs=Uncertain(30.0)),
        XrayExplosion(),
        BuildUpExplosion(tau_fs=Uncertain(45.0)),
        ClassicalExplosion(tau_fs=Uncertain(45.0, 5.0)),
        ClassicalExplosion(tau_fs=Uncertain(60.0)),
    ],
)
@pytest.mark.usefixtures("told_installed")
def test_every_explosion_but_the_learned_one_has_the_told_weights(kind: Kind | None) -> None:
    explosion = Explosion() if kind is None else Explosion.of(kind)
    assert weights_for(explosion, 3) == TOLD


@pytest.mark.usefixtures("told_installed")
def test_the_learned_explosion_keeps_the_calibrated_weights() -> None:
    exact = Explosion.of(ClassicalExplosion())
    assert weights_for(exact, 9) == DEFAULT
    # They do not know larger molecules.
    assert weights_for(exact, 10) == TOLD


def test_both_are_protected_where_none_are_named(told_installed: Path) -> None:
    named = {path.name for path in weights_files(None)}
    assert {f"{DEFAULT}.json", told_installed.name} <= named
    assert {path.name for path in weights_files(TOLD)} == {told_installed.name}
