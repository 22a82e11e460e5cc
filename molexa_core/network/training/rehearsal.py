"""Time per training step on a device, measured before the training begins.

A training of a given duration needs its number of steps beforehand, since the schedule of the
learning rate depends on it. The first steps are therefore run at learning rate zero, which does not
change the network: some until everything is compiled, then more that are timed. The result is the
same as that of a training with this number of steps.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import torch

from molexa_core.base.progress import SILENT, Progress
from molexa_core.network.network import Network
from molexa_core.network.training.loop import BatchSource, TrainingRun, train
from molexa_core.network.training.team import ALONE, Team

FIRST_STEPS: Final = 48
"""Untimed steps, in which graphs are compiled and every size of molecule occurs."""
TIMED_SHARE: Final = 0.1
"""Duration of the timed steps as a share of the training ..."""
TIMED_LIMITS: Final = (2.0, 20.0)
"""... and its limits in seconds. Many steps are needed, since the size of molecules varies."""
_ENDLESS: Final = 10**9


def steps_within(
    network: Network,
    source: BatchSource,
    run: TrainingRun,
    seconds: float,
    *,
    team: Team = ALONE,
    progress: Progress = SILENT,
    first_steps: int = FIRST_STEPS,
    timed_s: float | None = None,
) -> int:
    """The number of steps that fit into a given time; the same in all processes.

    Args:
        network: on the device of the training; it is compiled if the plan says so, and its
            weights do not change.
        source: returns the batches of the training.
        run: the plan; its number of steps, checkpoint and log are not used.
        seconds: duration of the training, compilation not counted.
        team: the processes of this training.
        progress: display of the progress.
        first_steps: number of untimed steps; a few are enough if nothing is compiled.
        timed_s: duration of the timed steps in seconds; from `TIMED_SHARE` if not given.

    Raises:
        ComputationError: the loss is not a number, or another process has ended.
    """
    low, high = TIMED_LIMITS
    wanted = min(max(TIMED_SHARE * seconds, low), high) if timed_s is None else timed_s
    still = replace(
        run,
        settings=replace(run.settings, learning_rate=0.0),
        steps=first_steps,
        checkpoint=None,
        log=None,
        report_every=_ENDLESS,
        checkpoint_every_s=None,
        stop_after_s=None,
        reports=[],
    )
    progress.say(f"measuring how many steps take {seconds:g} s")
    train(network, source, still, team=team)
    timed = replace(still, steps=_ENDLESS, stop_after_s=wanted, compile=False, reports=[])
    began = time.monotonic()
    done = train(network, source, timed, team=team)
    # The clock is right here: the last report has waited for the device.
    each = (time.monotonic() - began) / done
    device = next(network.parameters()).device
    mean = team.mean(torch.tensor(each, device=device))
    team.send_from_leader([mean])
    return max(1, round(seconds / mean.item()))
