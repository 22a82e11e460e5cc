"""The folder of a command's units: finished ones, failed ones, and what is to be computed.

NAME.units/                beside the result NAME; removed when the result is written
phase-DIGEST.json        what is computed; read by the processes that compute
KEY.unit, KEY.failed     a finished unit; why one failed
log-*.txt                what the processes printed
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, OutputError, UsageError
from molexa_core.base.interruption import Interruption
from molexa_core.base.progress import Progress
from molexa_core.base.storage.files import atomic_path, make_folder
from molexa_core.base.storage.json_file import read_json
from molexa_core.base.storage.lock import locked
from molexa_core.pipeline.output_guard import discards
from molexa_core.pipeline.work.failures import Failure
from molexa_core.pipeline.work.unit import Content, Phase
from molexa_core.pipeline.work.unit_file import read_unit, write_unit

SUFFIX: Final = ".units"
_UNIT, _FAILED = ".unit", ".failed"
_LARGEST: Final = 256 * 2**20
_REMOVERS: Final = 4


class UnitFolder:
    """Units of work in a folder.

    Attributes:
        path: the folder.
        complete: whether all units are finished, so that an error that follows is none of theirs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete = False

    @classmethod
    @contextmanager
    def of_result(cls, result: Path, progress: Progress, *, keep: bool) -> Iterator[UnitFolder]:
        """The folder beside a result, for one command; see `held`.

        Args:
            result: the file that is made of the units.
            progress: told about the folder.
            keep: whether it stays when the result is written.
        """
        if discards(result):
            with tempfile.TemporaryDirectory(prefix="molexa-units-") as scratch:
                yield cls(Path(scratch))
            return
        folder = cls(result.absolute().with_name(f"{result.name}{SUFFIX}"))
        with folder.held(progress, keep=keep):
            yield folder

    @contextmanager
    def held(self, progress: Progress, *, keep: bool = False) -> Iterator[None]:
        """The folder for one command alone; made if it is not there.

        It is removed when the block ends, and where it ends with an error that another attempt
        would meet again. It stays where there are finished units from which another attempt goes
        on: after a signal, on a full disk, where a unit failed.

        Args:
            progress: told where they are.
            keep: it stays in any case.

        Raises:
            UsageError: another process works on this result.
            OutputError: the folder cannot be made.
        """
        make_folder(self.path)
        busy: list[bool] = []
        with locked(self.path, longest_s=0.0, waiting=lambda: busy.append(True)) as mine:
            if not mine and busy:
                raise UsageError(
                    "another molexa is making this result",
                    where=self.path,
                    do="Wait for it, or name another output.",
                )
            self._forget_failures()
            try:
                yield
            except BaseException as error:
                final = self.complete and not isinstance(error, OutputError | Interruption)
                if not keep and (final or not self._finished()):
                    self.remove()
                elif self._finished():
                    progress.say(
                        f"{self._finished()} finished units stay in {self.path}; the same command "
                        "goes on from there"
                    )
                raise
            if not keep:
                self.remove()

    def _finished(self) -> int:
        return sum(1 for _ in self.path.glob(f"*{_UNIT}"))

    def unit(self, key: str) -> Path:
        """Where the result of a unit is, or will be."""
        return self.path / f"{key}{_UNIT}"

    def has(self, key: str) -> bool:
        """Whether a unit is finished."""
        return self.unit(key).exists()

    def write(self, key: str, content: Content) -> None:
        """Keep the result of a unit.

        Raises:
            OutputError: it cannot be written.
        """
        write_unit(self.unit(key), key, content)
        (self.path / f"{key}{_FAILED}").unlink(missing_ok=True)

    def read(self, key: str) -> Content | None:
        """The result of a unit; None where it is not there, or damaged (then it is removed)."""
        path = self.unit(key)
        try:
            return read_unit(path, key)
        except FileNotFoundError:
            return None
        except (InputFileError, ValueError, KeyError):
            path.unlink(missing_ok=True)
            return None

    def forget(self, key: str) -> None:
        """Let a unit be computed again."""
        self.unit(key).unlink(missing_ok=True)

    def write_failure(self, key: str, label: str, failure: Failure) -> None:
        """Keep why a unit failed; left out where the disk is full."""
        with suppress(OSError), atomic_path(self.path / f"{key}{_FAILED}") as temporary:
            temporary.write_text(json.dumps({"unit": label, **failure.as_values()}))

    def failure(self, key: str) -> Failure | None:
        """Why a unit failed; None if it did not."""
        try:
            values = read_json(
                self.path / f"{key}{_FAILED}", largest=_LARGEST, what="a failed unit", do=""
            )
        except InputFileError:
            return None
        values.pop("unit", None)
        return Failure(**values)

    def _forget_failures(self) -> None:
        """Forget which units failed, so that they are computed again."""
        for path in self.path.glob(f"*{_FAILED}"):
            path.unlink(missing_ok=True)

    def write_phase(self, phase: Phase) -> Path:
        """The file with what is to be computed.

        Raises:
            OutputError: it cannot be written.
        """
        text = json.dumps(phase.as_values(), sort_keys=True)
        path = self.path / f"phase-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        if not path.exists():
            with atomic_path(path) as temporary:
                temporary.write_text(text)
        return path

    def remove(self) -> None:
        """Remove the folder with all that is in it; its files by several threads."""
        with suppress(OSError), ThreadPoolExecutor(_REMOVERS, "molexa-remove") as pool:
            list(pool.map(_removed, list(self.path.iterdir())))
        shutil.rmtree(self.path, ignore_errors=True)


def _removed(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def read_phase(path: Path) -> dict[str, Any]:
    """What `UnitFolder.write_phase` wrote."""
    values: dict[str, Any] = json.loads(path.read_text())
    return values
