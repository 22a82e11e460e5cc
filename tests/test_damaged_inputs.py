"""Damaged inputs of every kind through the commands that read them: one sentence, or the same.

`tools/fuzz_inputs.py` searches further; `--faults 200` here does too.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.damage import BINARY, TEXT, damaged
from tests.fakes.fuzzing import GOOD, Trial
from tests.fakes.inputs import kinds

KINDS = kinds()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
@pytest.mark.parametrize("name", KINDS)
def test_damage_is_told_in_one_sentence(
    name: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    trial = Trial(KINDS[name], tmp_path / "trial")
    bad = []
    for seed in range(pytestconfig.getoption("--faults")):
        fault = trial.run(seed)
        if fault.verdict not in GOOD:
            bad.append(
                f"{fault.seed} ({fault.damage}, {fault.command}): {fault.verdict}\n{fault.said}"
            )
    assert not bad, "\n\n".join(bad)


def test_every_damage_changes_something_and_is_the_same_again() -> None:
    good = b"ion,px,py,pz\n" + b"".join(b"H+,%d,2.5,-1e3\n" % n for n in range(60))
    found: Counter[str] = Counter()
    for seed in range(400):
        for text in (False, True):
            data, name = damaged(good, "a kind", seed, text=text)
            assert data != good
            assert damaged(good, "a kind", seed, text=text) == (data, name)
            found[name] += 1
    assert found.keys() == {one.__name__ for one in (*BINARY, *TEXT)}
    assert damaged(good, "another", 1, text=True) != damaged(good, "a kind", 1, text=True)


def test_a_damage_fits_a_file_of_one_byte() -> None:
    rng = np.random.default_rng(0)
    for one in (*BINARY, *TEXT):
        for _ in range(20):
            one(b"7", rng)
