"""One grammar for the device of every command."""

from __future__ import annotations

import pytest

from molexa_core.base.device import Device
from molexa_core.base.errors import UsageError
from molexa_core.pipeline.devices import take_device


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:7"])
def test_names_come_back(name: str) -> None:
    assert str(Device.parse(name)) == name


@pytest.mark.parametrize("name", ["tpu", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cpu:0", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="Choose auto, cpu, cuda or cuda:N"):
        Device.parse(name)


def test_what_there_is_decides() -> None:
    assert Device.parse("auto").among(0) == Device("cpu")
    assert Device.parse("auto").among(2) == Device("cuda", 0)
    assert Device.parse("cuda").among(2, current=1) == Device("cuda", 1)
    assert Device.parse("cuda:1").among(2) == Device("cuda", 1)
    assert Device.parse("cpu").among(2) == Device("cpu")
    with pytest.raises(UsageError, match="no CUDA device found"):
        Device.parse("cuda").among(0)
    with pytest.raises(UsageError, match=r"no CUDA device 2 found.* There are 2"):
        Device.parse("cuda:2").among(2)


def test_a_stage_takes_its_device() -> None:
    assert take_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="no device named 'tpu'"):
        take_device("tpu")
