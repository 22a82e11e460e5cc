"""Training: it learns, stops and resumes, and stops where the loss is no number."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from molexa_core.base import interruption
from molexa_core.base.errors import (
    ComputationError,
    InputFileError,
    OutputError,
    WeightsError,
)
from molexa_core.base.interruption import Interruption
from molexa_core.base.progress import CollectingProgress
from molexa_core.network.batch import Batch
from molexa_core.network.config import MOLEXA, PAPER, TrainingSettings
from molexa_core.network.network import Conditioning, Network
from molexa_core.network.training import checkpoint as checkpoint_module
from molexa_core.network.training import loop as training
from molexa_core.network.training.gradients import StepGradients
from molexa_core.network.training.loop import TrainingRun, learning_rate, train
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource
from tests.fakes.networks import small_settings

RECIPE = replace(MOLEXA.training, batch=8, warm_up=5, learning_rate=3e-3, ema=0.9)


def _network(tokens: str = "atoms") -> Network:
    torch.manual_seed(0)
    return Network(small_settings(tokens))


def _source() -> StageOneSource:
    return StageOneSource(StageOneData(largest=4, block=2), 8, "cpu", 1)


def _weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _without_dropped_step(run: TrainingRun) -> TrainingRun:
    return replace(run, reports=[])


@pytest.mark.parametrize("tokens", ["atoms", "pairs"])
def test_a_fixed_batch_is_learned(tokens: str) -> None:
    network = _network(tokens)
    batch = _source()(0)
    recipe = replace(
        RECIPE, learning_rate=4e-3, uncertainty_weight=0.0, noise_std=0.3, noise_mean=0.0
    )
    run = TrainingRun(recipe, 150, report_every=15)
    train(network, lambda step: batch, run)
    assert run.reports[-1]["loss"] < 0.5 * run.reports[0]["loss"]


def test_stopping_and_resuming_equals_a_straight_run(tmp_path: Path) -> None:
    straight = _network()
    train(straight, _source(), TrainingRun(RECIPE, 8, seed=4))

    class StopError(Exception):
        pass

    source = _source()

    def stopping(step: int) -> Batch:
        if step == 5:
            raise StopError
        return source(step)

    plan = TrainingRun(
        RECIPE, 8, seed=4, checkpoint=tmp_path / "state.safetensors", checkpoint_every=3
    )
    with pytest.raises(StopError):
        train(_network(), stopping, plan)
    resumed = Network(small_settings("atoms"))
    done = train(resumed, _source(), _without_dropped_step(plan))
    assert done == 8
    for name, value in _weights(straight).items():
        torch.testing.assert_close(_weights(resumed)[name], value, rtol=0, atol=0, msg=name)


def test_the_uncertainty_stage_changes_nothing_else() -> None:
    network = _network()
    before = _weights(network)
    train(network, _source(), TrainingRun(replace(RECIPE, warm_up=0), 3, part="uncertainty"))
    changed = {name for name, value in _weights(network).items() if not value.equal(before[name])}
    assert changed
    assert all(name.startswith("uncertainty.") for name in changed)


def test_the_log_has_one_json_line_per_report(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    train(_network(), _source(), TrainingRun(RECIPE, 4, report_every=2, log=log))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert {"loss", "learning_rate", "molecules_per_s"} <= set(lines[0])


def _broken(source: Callable[[int], Batch], at: int) -> Callable[[int], Batch]:
    def give(step: int) -> Batch:
        batch = source(step)
        if step < at:
            return batch
        return replace(batch, momenta=batch.momenta * float("nan"))

    return give


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "state.safetensors"
    run = TrainingRun(RECIPE, 9, report_every=2, checkpoint=checkpoint, checkpoint_every=2)
    with pytest.raises(ComputationError, match="not a number at step 6") as caught:
        train(_network(), _broken(_source(), 4), run)
    assert str(checkpoint) in str(caught.value)
    kept = _network()
    assert train(kept, _source(), replace(run, steps=4, reports=[])) == 4
    assert all(torch.isfinite(value).all() for value in _weights(kept).values())


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "state.safetensors"
    train(_network(), _source(), TrainingRun(RECIPE, 1, checkpoint=checkpoint))
    other = Network(replace(small_settings("atoms"), width=64))
    with pytest.raises(WeightsError, match=r"another network \(width differ\)"):
        train(other, _source(), TrainingRun(RECIPE, 2, checkpoint=checkpoint))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "state.safetensors"
    checkpoint.write_bytes(b"\x10" * 100)
    with pytest.raises(WeightsError, match="not a readable checkpoint"):
        train(_network(), _source(), TrainingRun(RECIPE, 2, checkpoint=checkpoint))


def _checkpoint(path: Path) -> bytes:
    train(_network(), _source(), TrainingRun(RECIPE, 1, checkpoint=path))
    return path.read_bytes()


def _rewritten(
    path: Path, change: Callable[[dict[str, str], dict[str, torch.Tensor]], None]
) -> None:
    """A checkpoint as somebody wrote it who cares for no checksum."""
    with safe_open(path, framework="pt") as stream:
        metadata = dict(stream.metadata())
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    change(metadata, tensors)
    save_file(tensors, path, metadata=metadata)


def test_every_damage_to_a_checkpoint_is_found_and_nothing_of_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    good = _checkpoint(path)
    network = _network()
    before = _weights(network)
    for place in np.random.default_rng(1).integers(0, len(good), 25):
        broken = bytearray(good)
        broken[place] ^= 1 << int(place) % 8
        path.write_bytes(broken)
        with pytest.raises(WeightsError) as caught:
            train(network, _source(), TrainingRun(RECIPE, 2, checkpoint=path))
        assert "\n" not in str(caught.value)
    assert all(value.equal(before[name]) for name, value in _weights(network).items())


def _to_format_1(metadata: dict[str, str], _: object) -> None:
    about = json.loads(metadata["molexa"])
    metadata["molexa"] = json.dumps(about | {"format": 1})
    del metadata["checksum"]


def test_a_checkpoint_without_checksum_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    _checkpoint(path)
    _rewritten(path, _to_format_1)
    progress = CollectingProgress()
    assert train(_network(), _source(), TrainingRun(RECIPE, 1, checkpoint=path), progress=progress)
    (text,) = progress.warned
    assert "without checksum" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(min(t)), "lacks tensors or has others"),
        (lambda t: t.update({min(t): torch.zeros(3)}), "of another shape"),
        (lambda t: t[min(t)].view(-1)[:1].fill_(torch.nan), "not numbers"),
        (lambda t: t.update({"optimizer.900.step": torch.ones(())}), "no parameter 900"),
        (lambda t: t.update({"optimizer.0.exp_avg": torch.ones(3)}), "of another shape"),
        (lambda t: t.pop("optimizer.0.exp_avg"), "incomplete"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    path = tmp_path / "state.safetensors"
    _checkpoint(path)

    def all_of_it(metadata: dict[str, str], tensors: dict[str, torch.Tensor]) -> None:
        _to_format_1(metadata, tensors)
        change(tensors)

    _rewritten(path, all_of_it)
    with pytest.raises(WeightsError, match=message):
        train(_network(), _source(), TrainingRun(RECIPE, 2, checkpoint=path))


def test_a_checkpoint_without_permission_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.safetensors"
    _checkpoint(path)
    monkeypatch.setattr("molexa_core.base.storage.files.os.access", lambda *_: False)
    with pytest.raises(InputFileError, match="no permission to read") as caught:
        train(_network(), _source(), TrainingRun(RECIPE, 2, checkpoint=path))
    assert "elete" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "step", "wanted"),
    [
        (PAPER.training, 0, 1e-3),
        (PAPER.training, 999, 1e-3),
        (replace(RECIPE, warm_up=10), 4, None),
        (replace(RECIPE, warm_up=0), 1000, 0.0),
        (replace(RECIPE, warm_up=0), 500, 1.5e-3),
    ],
)
def test_learning_rate(settings: TrainingSettings, step: int, wanted: float | None) -> None:
    found = learning_rate(settings, step, 1000)
    if wanted is None:
        assert found == pytest.approx(0.5 * settings.learning_rate, rel=1e-3)
    else:
        assert found == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("tokens", ["atoms", "pairs"])
def test_the_gradients_do_not_depend_on_the_number_of_parts(tokens: str) -> None:
    recipe = replace(RECIPE, draws=2, uncertainty_weight=0.1, uncertainty_share=0.6)
    found = []
    for parts in (1, 3):
        network = _network(tokens)
        gradients = StepGradients(network, recipe)
        gradients.count = parts
        losses = gradients(_source()(0), 0, 0)
        found.append([losses, *(one.grad for one in network.parameters())])
    scale = max(float(one.abs().max()) for one in found[0])
    for whole, cut in zip(*found, strict=True):
        torch.testing.assert_close(cut, whole, rtol=1e-3, atol=1e-6 * scale)


def test_too_little_memory_trains_in_parts_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    condition = Network.condition

    def small_memory(network: Network, batch: Batch) -> Conditioning:
        if len(batch) > 3:
            raise torch.OutOfMemoryError
        return condition(network, batch)

    monkeypatch.setattr(Network, "condition", small_memory)
    listener = CollectingProgress()
    assert train(_network(), _source(), TrainingRun(RECIPE, 2), progress=listener) == 2
    assert len(listener.said) == 2
    assert "4 parts of 2" in listener.said[-1]


def test_memory_for_not_even_one_molecule_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(network: Network, batch: Batch) -> Conditioning:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Network, "condition", no_memory)
    with pytest.raises(ComputationError, match="does not hold the training of one molecule"):
        train(_network(), _source(), TrainingRun(RECIPE, 2))


def test_a_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "state.safetensors"
    run = TrainingRun(RECIPE, 4, checkpoint=checkpoint, checkpoint_every=2)
    train(_network(), _source(), replace(run, steps=2, reports=[]))
    good = checkpoint.read_bytes()

    def full(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(OutputError, match="step 4 cannot be saved: No space left"):
        train(_network(), _source(), run)
    assert checkpoint.read_bytes() == good
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_a_signal_saves_the_state_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is resumed equals a training that nobody interrupted."""
    straight = _network()
    train(straight, _source(), TrainingRun(RECIPE, 8, seed=4))
    checkpoint = tmp_path / "state.safetensors"
    plan = TrainingRun(RECIPE, 8, seed=4, checkpoint=checkpoint)
    source = _source()

    def asked_in_step_five(step: int) -> Batch:
        if step == 4:
            monkeypatch.setattr(interruption._REQUEST, "count", 1)
        return source(step)

    with pytest.raises(Interruption, match="after step 5; `resume=True` goes on from .*state"):
        train(_network(), asked_in_step_five, plan)
    assert list(tmp_path.iterdir()) == [checkpoint]
    monkeypatch.undo()
    resumed = _network()
    assert train(resumed, source, _without_dropped_step(plan)) == 8
    for name, value in _weights(straight).items():
        torch.testing.assert_close(_weights(resumed)[name], value, rtol=0, atol=0, msg=name)


def test_a_checkpoint_is_saved_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []

    def save(path: Path, *state: object) -> None:
        saved.append(int(str(state[-1])))

    monkeypatch.setattr(training, "save_checkpoint", save)
    plan = TrainingRun(RECIPE, 3, checkpoint=tmp_path / "state.safetensors")
    train(_network(), _source(), replace(plan, checkpoint_every_s=0.0))
    assert saved == [1, 2, 3]
    saved.clear()
    train(_network(), _source(), replace(plan, checkpoint_every_s=3600.0, reports=[]))
    assert saved == [3]


def test_a_log_on_a_full_disk(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot write: No space left"):
        train(_network(), _source(), TrainingRun(RECIPE, 2, log=log, report_every=1))
