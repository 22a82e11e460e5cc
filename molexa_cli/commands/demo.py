"""`molexa demo`: the whole analysis on a virtual experiment."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molexa_cli.app import Debug, Quiet, Seed
from molexa_cli.console import SWITCHES, write
from molexa_cli.wording import line_of
from molexa_core.base.errors import MolexaError

if TYPE_CHECKING:
    from molexa_core.pipeline.chain.demo import Demo, DemoStep


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("demo")(demo)


def demo(
    molecule: Annotated[str, typer.Argument(help="The molecule: water, cf4 or ethanol.")] = "water",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer shots: half a minute.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to create. Default: demo-MOLECULE, numbered if taken."),
    ] = None,
    seed: Seed = 1,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run the whole analysis on a virtual experiment with a known molecule.

    Creates a folder, then runs mock, reduce, align, centroid, reconstruct and report in it, and
    shows each command as you would type it. Ends with the error of the structure.

    Example: molexa demo water --quick
    """
    from molexa_core.pipeline.chain.demo import demo_verdict, prepare_demo

    started = time.monotonic()
    prepared = prepare_demo(molecule, out=out, quick=quick, seed=seed)
    _say(f"Demo of {prepared.molecule} in the new folder {prepared.folder}/")
    if prepared.remark:
        _say(prepared.remark)
    _say(f"\n$ cd {shlex.quote(str(prepared.folder))}")
    _run_steps(prepared)
    verdict = demo_verdict(prepared.folder)
    write(f"\n{_verdict(prepared.molecule, verdict.errors)}")
    write(f"Report: {verdict.report} ({time.monotonic() - started:.0f} s in all)")


def _verdict(molecule: str, errors: dict[str, Any]) -> str:
    """The error of the structure relative to the known one, as a sentence."""
    from molexa_core.base.units import BOHR_ANGSTROM

    mae = errors["mae"]
    distance = [errors[f"{kind}_distance_error"] for kind in ("mean", "max")]
    angle = [errors[f"{kind}_angle_error"] for kind in ("mean", "max")]
    return (
        f"Against the {molecule} that was exploded, coordinates are off by "
        f"{mae * BOHR_ANGSTROM:.3f} Å ({mae:.3f} a.u.) on average (MAE);\n"
        f"distances by {distance[0] * BOHR_ANGSTROM:.3f} Å on average, "
        f"{distance[1] * BOHR_ANGSTROM:.3f} at most; "
        f"angles by {angle[0]:.1f} degrees on average, {angle[1]:.1f} at most."
    )


def _run_steps(prepared: Demo) -> None:
    """Run the commands in this process, in the folder of the demo."""
    arguments = sys.argv
    try:
        with contextlib.chdir(prepared.folder):
            for number, step in enumerate(prepared.steps, start=1):
                _run(number, len(prepared.steps), step)
    finally:
        sys.argv = arguments


def _run(number: int, total: int, step: DemoStep) -> None:
    from molexa_cli.main import build_app
    from molexa_core.base.storage.provenance import made_by

    words = line_of(step.name, step.inputs, step.settings)
    line = shlex.join(("molexa", *words))
    _say(f"\n[{number}/{total}] {step.title}\n$ {line}")
    quiet, debug = SWITCHES.quiet, SWITCHES.debug
    switches = ["--quiet"] * quiet + ["--debug"] * debug
    sys.argv = ["molexa", *words]
    where = f"step {number} of {total}, `{line}`"
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(made_by(line))
            if quiet:
                nothing = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nothing))
            build_app()([*words, *switches], prog_name="molexa")
    except MolexaError as error:
        error.where = where if error.where is None else f"{where}: {error.where}"
        raise
    except SystemExit as leave:
        if leave.code:
            raise MolexaError("the step failed", where=where, do="See the lines above.") from leave
    finally:
        SWITCHES.quiet, SWITCHES.debug = quiet, debug


def _say(text: str) -> None:
    if not SWITCHES.quiet:
        write(text)
        sys.stdout.flush()
