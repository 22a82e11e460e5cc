"""Demo: the whole analysis chain on a virtual experiment with a known molecule.

A demo is a folder and a list of commands with their settings. They are the commands that a user
would type in that folder, and `molexa demo` runs exactly these and computes nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from molexa_core.base.errors import OutputError, UsageError, listing, near_matches
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.known_explosion import block_of, simulated
from molexa_core.base.settings import Channel, Setup, load_channel, load_setup, parse_settings
from molexa_core.base.storage.provenance import SETUP_MARK, Provenance
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.xyz import write_xyz
from molexa_core.physics.molecules.library import molecule

SETUP: Final = "setup.yaml"
RUN: Final = "run.root"
EVENTS: Final = "run.events.h5"
ALIGNED: Final = "run.aligned.h5"
CHANNEL: Final = "channel.csv"
GEOMETRY: Final = "geom.xyz"
KNOWN: Final = "known.xyz"
REPORT: Final = "report.html"
_OF_DEMO: Final = "# What the virtual experiment explodes, so that the reconstruction knows it:\n"


@dataclass(frozen=True)
class Example:
    """An example of the demo.

    Attributes:
        channel: name of the channel.
        shots: number of shots of the virtual run.
        quick_shots: number of shots of a quick demo.
        changes: keys of the template `setup.yaml` with other values.
        remark: a note on this example for the reader.
    """

    channel: str
    shots: int
    quick_shots: int
    changes: dict[str, Any]
    remark: str = ""


EXAMPLES: Final = {
    "water": Example("water", 200_000, 50_000, {}),
    "cf4": Example("cf4", 200_000, 60_000, {}),
    "ethanol": Example(
        "ethanol",
        200_000,
        60_000,
        {"detection_efficiency": 0.95, "virtual": {"molecules_per_shot": 0.05}},
        "Nine ions in coincidence ask for more than a usual set-up gives: at 60 % detection "
        "efficiency per ion one explosion in a hundred would be complete. This virtual detector "
        "sees 95 % of the ions, and only one shot in twenty explodes a molecule, because the "
        "false combinations of nine ions grow fast with the rate.",
    ),
}
"""The molecules of the demo by name."""


@dataclass(frozen=True)
class DemoStep:
    """One command of the demo.

    Attributes:
        title: what the step does, in a few words.
        name: the command, such as `reduce`.
        inputs: what it works on: files, or the channel of the virtual experiment.
        settings: by the name of the argument, as text.
    """

    title: str
    name: str
    inputs: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Demo:
    """A prepared demo.

    Attributes:
        molecule: name of the molecule.
        folder: the folder with the input files of the steps.
        steps: the commands, to be run in the folder in this order.
        remark: a note on this example for the reader; may be empty.
    """

    molecule: str
    folder: Path
    steps: tuple[DemoStep, ...]
    remark: str


def prepare_demo(
    name: str = "water",
    *,
    out: Path | str | None = None,
    quick: bool = False,
    seed: int = 1,
) -> Demo:
    """Create a folder with the setup and the known structure, and list the commands to run in it.

    Args:
        name: one of `EXAMPLES`.
        out: the folder to create; by default `demo-NAME`, or `demo-NAME-2` and so on if it exists.
        quick: simulate fewer shots.
        seed: of the virtual experiment and of the sampler.

    Raises:
        UsageError: no such example.
        OutputError: the folder exists already and is not empty, or cannot be created.
    """
    if name not in EXAMPLES:
        near = near_matches(name, EXAMPLES)
        hint = f"Did you mean {listing(near)}? " if near else ""
        raise UsageError(
            f"no demo of {name!r}", do=f"{hint}There are: {listing(EXAMPLES)}; or molexa mock."
        )
    example = EXAMPLES[name]
    folder = _new_folder(name) if out is None else _empty_folder(Path(out))
    channel = load_channel(shipped_folder("channels") / f"{example.channel}.yaml")
    known = molecule(channel.molecule or channel.name)
    record = Provenance.of(settings={"molecule": known.name}, seed=seed)
    _write_setup(folder / SETUP, example, record)
    write_xyz(folder / KNOWN, [known.geometry], record)
    shots = example.quick_shots if quick else example.shots
    return Demo(name, folder, _steps(example, channel, shots, seed), example.remark)


@dataclass(frozen=True)
class Verdict:
    """The result of a demo.

    Attributes:
        errors: errors of the reconstructed structure relative to the known one, by name.
        report: path of the report.
    """

    errors: dict[str, Any]
    report: Path


def demo_verdict(folder: Path | str) -> Verdict:
    """Read the errors of the structure from the folder of a finished demo.

    Raises:
        InputFileError: the folder holds no finished demo.
    """
    record, _ = read_geometry_json((Path(folder) / GEOMETRY).with_suffix(".json"))
    return Verdict(dict(record.errors or {}), Path(folder) / REPORT)


def _steps(example: Example, channel: Channel, shots: int, seed: int) -> tuple[DemoStep, ...]:
    frame = {}
    if channel.frame is not None:
        frame["reference"] = channel.frame.reference
        if channel.frame.second:
            frame["second"] = channel.frame.second
        frame["plane"] = channel.frame.plane
    return (
        DemoStep(
            "a virtual experiment makes a raw run",
            "mock",
            (example.channel,),
            {"setup": SETUP, "events": str(shots), "seed": str(seed), "out": RUN},
        ),
        DemoStep("raw hits become momenta of coincidences", "reduce", (RUN,)),
        DemoStep("every event is turned into the molecular frame", "align", (EVENTS,), frame),
        DemoStep("momenta are averaged, one row per ion", "centroid", (ALIGNED,), {"out": CHANNEL}),
        DemoStep(
            "the network turns momenta into a structure",
            "reconstruct",
            (CHANNEL,),
            {"out": GEOMETRY, "truth": KNOWN, "seed": str(seed)},
        ),
        DemoStep("one page with every figure and number", "report", (), {"out": REPORT}),
    )


def _write_setup(path: Path, example: Example, record: Provenance) -> None:
    head = f"{SETUP_MARK}{record.to_json()}\n"
    template = shipped_folder("templates") / SETUP
    told = {EXPLOSION: block_of(simulated(load_setup(template).virtual.explosion))}
    if not example.changes:
        text = template.read_text(encoding="utf-8")
        said = yaml.safe_dump(told, sort_keys=False)
        path.write_text(f"{head}{text}{_OF_DEMO}{said}", encoding="utf-8")
        return
    values = load_setup(template).model_dump(mode="json", exclude_unset=True) | told
    changed = ", ".join(_change(values, example.changes))
    parse_settings(Setup, values, where=path)
    text = yaml.safe_dump(values, sort_keys=False)
    path.write_text(f"{head}# The setup template with {changed}.\n{text}", encoding="utf-8")


def _change(values: dict[str, Any], changes: dict[str, Any]) -> list[str]:
    """Set keys, also in nested blocks; returns descriptions of the changes."""
    said = []
    for key, value in changes.items():
        if isinstance(value, dict):
            said += _change(values.setdefault(key, {}), value)
        else:
            values[key] = value
            said.append(f"{key} {value}")
    return said


def _new_folder(name: str) -> Path:
    """Make `demo-NAME`, or the first of `demo-NAME-2`, `demo-NAME-3`, ... that is free."""
    number = 1
    while True:
        folder = Path(f"demo-{name}" if number == 1 else f"demo-{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        except OSError as error:
            raise OutputError(
                f"cannot make the folder: {error.strerror or error}",
                where=folder,
                do="Name another place with `out=`.",
            ) from error
        else:
            return folder


def _empty_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(
            f"cannot make the folder: {error.strerror or error}",
            where=folder,
            do="Name another place with `out=`.",
        ) from error
    if occupied:
        raise OutputError(
            "the folder is not empty", where=folder, do="Name a new one; nothing is overwritten."
        )
    return folder
