"""Interface for progress reports: the library reports, the command line decides what to show.

Every long job takes a `Progress` and is silent by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from molexa_core.base import interruption


class Task(Protocol):
    """One running job with a counter."""

    def advance(self, amount: float = 1.0) -> None:
        """Count `amount` more units as done; the place at which a signal stops the job.

        Raises:
            Interruption: a signal asked to stop (`base.interruption`).
        """

    def note(self, text: str) -> None:
        """Show a short remark beside the counter, such as the current loss."""


class Progress(Protocol):
    """Receiver of progress, remarks and warnings of a job."""

    def task(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Task]:
        """Open a job of `total` units (None: unknown) for the duration of a `with` block."""

    def say(self, text: str) -> None:
        """Tell the user something that is not an error: a choice made, a fallback taken."""

    def warn(self, text: str) -> None:
        """Tell the user that a result may be wrong, and why; `--quiet` does not hide it.

        Args:
            text: one sentence, without the word "warning" in front.
        """


class _SilentTask:
    def advance(self, amount: float = 1.0) -> None:
        del amount
        interruption.check()

    def note(self, text: str) -> None:
        del text


class SilentProgress:
    """A progress that shows nothing; the default everywhere."""

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """See `Progress.task`."""
        del label, total, unit
        yield _SilentTask()

    def say(self, text: str) -> None:
        """See `Progress.say`."""
        del text

    def warn(self, text: str) -> None:
        """See `Progress.warn`; results carry their warnings themselves."""
        del text


class CollectingProgress(SilentProgress):
    """A silent progress that keeps what was said, for tests and for notebooks.

    Attributes:
        said: the remarks in order.
        warned: the warnings in order.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str) -> None:
        """Keep the remark."""
        self.said.append(text)

    def warn(self, text: str) -> None:
        """Keep the warning."""
        self.warned.append(text)


class PartOf(SilentProgress):
    """The progress of a part of a job: its tasks count on the task of the whole.

    Args:
        whole: where remarks go.
        task: the task of the whole.
        unit: tasks in this unit count, others are not shown.
    """

    def __init__(self, whole: Progress, task: Task, unit: str) -> None:
        self._whole, self._task, self._unit = whole, task, unit

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """The task of the whole, or one that shows nothing."""
        del label, total
        yield self._task if unit == self._unit else _SilentTask()

    def say(self, text: str) -> None:
        """Hand the remark on."""
        self._whole.say(text)

    def warn(self, text: str) -> None:
        """Hand the warning on."""
        self._whole.warn(text)


SILENT: Progress = SilentProgress()
"""The shared silent progress."""
