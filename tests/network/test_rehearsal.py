"""A training that is given a time: its steps are counted first, and nothing else changes."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from molexa_core.network.batch import Batch
from molexa_core.network.config import MOLEXA
from molexa_core.network.network import Network
from molexa_core.network.training import loop as training
from molexa_core.network.training import rehearsal
from molexa_core.network.training.loop import TrainingRun, train
from molexa_core.network.training.rehearsal import steps_within
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource
from tests.fakes.networks import small_settings

RECIPE = replace(MOLEXA.training, batch=8, warm_up=2, ema=0.9)
STEP_S = 0.5


def _network() -> Network:
    torch.manual_seed(0)
    return Network(small_settings("atoms"))


def _source() -> StageOneSource:
    return StageOneSource(StageOneData(largest=3, block=2), 8, "cpu", 1)


class _Clock:
    """Time that passes by `STEP_S` at every batch, and at the first ones by much more."""

    def __init__(self, source: StageOneSource, first: int) -> None:
        self.now, self.calls = 0.0, 0
        self._source, self._first = source, first

    def __call__(self, step: int) -> Batch:
        self.calls += 1
        self.now += 60.0 if self.calls <= self._first else STEP_S
        return self._source(step)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    passing = _Clock(_source(), first=3)
    fake = SimpleNamespace(monotonic=passing.monotonic, time=time.time)
    monkeypatch.setattr(training, "time", fake)
    monkeypatch.setattr(rehearsal, "time", fake)
    return passing


def test_the_first_slow_steps_do_not_count(clock: _Clock) -> None:
    run = TrainingRun(RECIPE, 0)
    steps = steps_within(_network(), clock, run, 100.0, first_steps=3, timed_s=2.0)
    assert steps == round(100.0 / STEP_S)
    # Even a time shorter than one step gives a step.
    assert steps_within(_network(), clock, run, 0.01, first_steps=1, timed_s=2.0) == 1


def test_the_timed_steps_are_a_tenth_within_limits(clock: _Clock) -> None:
    run = TrainingRun(RECIPE, 0)
    for seconds, low in ((1.0, 2.0), (50.0, 5.0), (3600.0, 20.0)):
        before = clock.calls
        steps_within(_network(), clock, run, seconds, first_steps=3)
        # Whether time is over is looked at every ten steps.
        counted = clock.calls - before - 3
        assert low / STEP_S < counted <= low / STEP_S + 10


def test_a_rehearsed_training_is_that_of_the_same_steps() -> None:
    straight, rehearsed = _network(), _network()
    run = TrainingRun(RECIPE, 6, seed=3)
    train(straight, _source(), run)
    source = _source()
    before = {name: value.clone() for name, value in rehearsed.state_dict().items()}
    steps_within(rehearsed, source, run, 1.0, first_steps=2, timed_s=0.01)
    for name, value in rehearsed.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, msg=name)
    train(rehearsed, source, replace(run, reports=[]))
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(rehearsed.state_dict()[name], value, rtol=0, atol=0, msg=name)
