"""Progress: silent by default, and remarks can be collected."""

from __future__ import annotations

import pytest

from molexa_core.base.progress import SILENT, CollectingProgress


def test_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with SILENT.task("reading", 10, "shots") as task:
        task.advance(3)
        task.note("loss 1")
    SILENT.say("a remark")
    assert capfd.readouterr() == ("", "")


def test_remarks_are_kept_in_order() -> None:
    progress = CollectingProgress()
    with progress.task("reading", None, "shots") as task:
        task.advance()
        progress.say("one")
    progress.say("two")
    assert progress.said == ["one", "two"]
