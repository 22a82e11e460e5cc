"""The shipped surrogate on molecules that no training saw, and on files that are no surrogate."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from molexa_core.base.errors import InputFileError, WeightsError
from molexa_core.physics.surrogate.entries import FamilyEntries
from molexa_core.physics.surrogate.surrogate_card import (
    DEFAULT,
    installed_surrogates,
    load_surrogate,
    read_surrogate_card,
    save_surrogate,
)
from molexa_core.pipeline.evaluation.surrogate_errors import (
    EntryErrors,
    as_text,
    entry_errors,
    error_table,
)

HELD_OUT = Path(__file__).parent.parent.parent / "data" / "surrogate-held-out.safetensors"
"""Entries known to 0.3 % of 79 molecules kept out of the training, up to 60 of each size."""


@pytest.fixture(scope="module")
def errors() -> EntryErrors:
    model = load_surrogate()
    entries = FamilyEntries.load(HELD_OUT)
    factors = model.error_factor, model.yield_error_factor
    return entry_errors(model.network, entries, "cpu", *factors)


def test_momenta_of_unseen_molecules_are_right_to_two_per_cent(errors: EntryErrors) -> None:
    assert len(errors.error) > 300
    assert np.median(errors.error) < 0.02
    assert np.median(errors.error[errors.atoms == 2]) < 0.006


def test_the_claimed_errors_are_those_that_occur(errors: EntryErrors) -> None:
    sizes = np.abs(errors.scale_pull)
    assert 0.75 < np.quantile(sizes, 0.683) < 1.25
    assert 0.75 < np.quantile(np.abs(errors.radial_pulls), 0.683) < 1.25
    assert (sizes > 3.0).mean() < 0.05
    # An entry of which much is claimed is off by more.
    order = np.argsort(errors.claimed)
    third = len(order) // 3
    assert np.median(errors.error[order[-third:]]) > 2.0 * np.median(errors.error[order[:third]])


def test_yields_are_off_as_claimed(errors: EntryErrors) -> None:
    assert np.median(np.abs(errors.share_off)) < 0.2
    pulls = np.abs(errors.share_off / errors.share_error)
    assert 0.7 < np.quantile(pulls, 0.683) < 1.4


def test_the_table_has_what_was_measured(errors: EntryErrors) -> None:
    rows = error_table(errors)
    assert rows["all"]["entries"] == len(errors.error)
    assert rows["2 atoms"]["entries"] == int((errors.atoms == 2).sum())
    assert "25-61 fs" in as_text(rows)


def test_the_shipped_surrogate_says_what_it_is() -> None:
    card, path = read_surrogate_card()
    assert installed_surrogates()[DEFAULT] == path
    assert (path.parent / card.file).is_file()
    unseen = card.metrics["molecules-never-seen"]["all"]
    assert unseen["median % of well known"] < 2.0
    assert "nature" in card.limits


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    card, _ = read_surrogate_card()
    model = load_surrogate()
    written = save_surrogate(tmp_path, card, model.network)
    again = load_surrogate(str(tmp_path / f"{card.name}.surrogate"))
    for name, value in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)
    file = tmp_path / written.file
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="has changed"):
        load_surrogate(str(tmp_path / f"{card.name}.surrogate"))
    file.unlink()
    with pytest.raises(WeightsError, match="missing"):
        load_surrogate(str(tmp_path / f"{card.name}.surrogate"))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no surrogate named"):
        load_surrogate("absent")
    path = tmp_path / "wrong.surrogate"
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(WeightsError, match="format 99"):
        load_surrogate(str(path))
    path.write_text(json.dumps({"format": 1, "name": "wrong"}))
    with pytest.raises(WeightsError, match="not a readable card"):
        load_surrogate(str(path))
