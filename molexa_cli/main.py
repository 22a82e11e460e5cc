"""The `molexa` command: registers all commands, reports errors as one sentence and exit code.

Exit codes: 0 done; 1 the input or the computation failed, or a signal ended it; 2 wrong usage.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Final

import typer

from molexa_cli import completion
from molexa_cli.app import new_app
from molexa_cli.console import (
    SWITCHES,
    abandon_full_stderr,
    abandon_stdout,
    command_line,
    flush_stdout,
    open_streams,
    show_warnings,
    write,
)
from molexa_cli.declared import complete_commands, plain_numbers
from molexa_cli.usage import plain_words
from molexa_cli.wording import sentence
from molexa_core import __version__
from molexa_core.base import interruption
from molexa_core.base.errors import MolexaError
from molexa_core.base.storage.outputs import set_replacing
from molexa_core.base.storage.provenance import made_by

COMMANDS: Final = (
    "demo",
    "new",
    "check",
    "mock",
    "inspect",
    "convert",
    "calibrate",
    "reduce",
    "join",
    "gate",
    "spectrum",
    "covariance",
    "align",
    "centroid",
    "reconstruct",
    "score",
    "compare",
    "report",
    "update",
    "watch",
    "runs",
    "plot",
    "movie",
    "simulate",
    "atom",
    "molecules",
    "dataset",
    "train",
    "evaluate",
    "weights",
    "channels",
    "completion",
)
"""The command modules in the order of the help."""
_WITHOUT_COMMAND: Final = ("-h", "--help", "--version")
COLLECT_AFTER: Final = 100_000
"""Number of new objects between two garbage collections; the default of Python is 700."""


def build_app(arguments: Sequence[str] | None = None) -> typer.Typer:
    """The app with its commands registered.

    Options are made from type hints, which takes longer than importing the commands. So only the
    command that is run gets its options, and for the list of commands none does.

    Args:
        arguments: of the command line, behind the name of the program; all commands are complete
            if None.
    """
    app = new_app(
        "From a raw reaction-microscope run to the structure of the molecule that exploded."
    )

    @app.callback()
    def molexa(
        version: Annotated[
            bool,
            typer.Option(
                "--version", help="Print versions and exit.", is_eager=True, callback=_version
            ),
        ] = False,
    ) -> None:
        del version

    first = next(iter(arguments or ()), "--help")
    for name in [first] if first in COMMANDS else COMMANDS:
        module = importlib.import_module(f"molexa_cli.commands.{name}")
        if arguments is not None and first in _WITHOUT_COMMAND and hasattr(module, name):
            _register_name(app, name, getattr(module, name))
        else:
            module.register(app)
    complete_commands(app)
    if completion.asked():
        completion.teach(app)
    return app


def _register_name(app: typer.Typer, name: str, command: Callable[..., None]) -> None:
    """Register a command for the list of commands: its name and what it does, no options."""

    def without_options() -> None: ...

    without_options.__doc__ = command.__doc__
    app.command(name)(without_options)


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    if arguments is not None:
        sys.argv = ["molexa", *arguments]
    open_streams()
    _collect_seldom()
    interruption.listen()
    try:
        interruption.check()  # asked while the program was loaded
        code = _command()
        flush_stdout()
        show_warnings()
        interruption.stop_listening(leaving=arguments is None)
        interruption.check()  # asked too late for any block: it is not passed over all the same
    except BrokenPipeError:
        abandon_stdout()
        return 0
    except (MolexaError, interruption.Interruption) as error:
        return _report_error(sentence(error), error.exit_code)
    except MemoryError:
        return _report_error("the memory of this machine is not enough for this", 1)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return _report_error(f"{where}{error.strerror or error}", 1)
    finally:
        interruption.stop_listening(leaving=arguments is None)
        set_replacing(False)  # `--force` is of one command
        abandon_full_stderr()
    return code


def _command() -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] or ["--help"]
    app = build_app(None if completion.asked() else words)
    try:
        with made_by(command_line()):
            code = app(plain_numbers(app, words), prog_name="molexa", standalone_mode=False)
    except typer.Abort:
        return 1
    except Exception as error:
        show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
        if not callable(show) or not isinstance(code, int) or isinstance(error, MolexaError):
            raise
        if isinstance(error, typer.BadParameter):
            error.message = plain_words(error)
        show()
    return code if isinstance(code, int) else 0


def _report_error(text: str, code: int) -> int:
    """Report an error in one sentence, after earlier messages; returns the exit code."""
    show_warnings()
    with suppress(OSError):  # the terminal may have been closed
        if SWITCHES.debug:
            traceback.print_exc()
        sys.stderr.write(f"molexa: {text}\n")
    with suppress(OSError):
        flush_stdout()
    return code


def _collect_seldom() -> None:
    """Collect garbage less often, and not at all at exit.

    Imports create several hundred thousand permanent objects. Scanning them repeatedly, and once
    more at exit, takes 0.3 s or more in a command that needs torch.
    """
    gc.set_threshold(COLLECT_AFTER)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _version(value: bool) -> None:
    if not value:
        return
    from importlib import metadata

    names = ("torch", "numpy", "uproot", "h5py")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    write(f"molexa {__version__} (python {sys.version.split()[0]}, {versions})")
    raise typer.Exit


if __name__ == "__main__":
    sys.exit(main())
