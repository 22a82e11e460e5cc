"""How long a step of a training takes on its device, measured before the training begins.

A training that is given a time needs its number of steps beforehand, since the learning rate
follows from it and the result must follow from the settings. So its first steps are rehearsed at
learning rate zero, which leaves the network as it is: some until everything is compiled, more to
be timed. The training then is the one that the same number of steps would have given.
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
"""Steps that are not timed: graphs are compiled, and every size of molecule has come."""
TIMED_SHARE: Final = 0.1
"""Time of the timed steps as a share of the training ..."""
TIMED_LIMITS: Final = (2.0, 20.0)
"""... and its limits in seconds. Sizes of molecules vary from step to step, hence many steps."""
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
    """The number of steps that take this long; the same in all processes.

    Args:
        network: on the device of the training; it is compiled if the run asks for that, and its
            weights come out as they went in.
        source: of the training.
        run: the plan; its number of steps, checkpoint and log are not used.
        seconds: that the training may take, compilation not counted.
        team: the processes of this training.
        progress: where to show it.
        first_steps: steps that are not timed; few are enough where nothing is compiled.
        timed_s: time of the timed ones in seconds; by `TIMED_SHARE` where not given.

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
    # The last report waited for the device.
    each = (time.monotonic() - began) / done
    device = next(network.parameters()).device
    mean = team.mean(torch.tensor(each, device=device))
    team.send_from_leader([mean])
    return max(1, round(seconds / mean.item()))
