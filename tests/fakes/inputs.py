"""A small healthy input of every kind that molexa reads, made by the project's own code.

Each kind names the file that is damaged, the commands that read it, and, for formats of molexa
itself, a reader: what it gives from a damaged file that was accepted must be what it gave before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import awkward as ak
import h5py
import numpy as np
import pandas as pd
import torch
import uproot
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.storage.checksums import CHECKSUM
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.storage.resources import find
from molexa_core.io.results.channels_h5 import read_channels, write_channels
from molexa_core.io.results.events import read_events, read_spectra
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.results.structures import EventStructures, read_structures, write_structures
from molexa_core.io.results.truth_file import read_truth
from molexa_core.network.config import MOLEXA
from molexa_core.network.network import Network
from molexa_core.network.training.loop import TrainingRun, train
from molexa_core.network.weights import load_network, read_card, save_weights
from molexa_core.pipeline.datasets.build import build
from molexa_core.pipeline.datasets.info import pack
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.datasets.recipe import Recipe, Variations, read_recipe
from molexa_core.pipeline.runs.mock import mock
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource
from tests.fakes.chain import make_folder
from tests.fakes.facility import write_flash, write_xfel
from tests.fakes.lmf_files import make_events, make_header, write
from tests.fakes.mcmd import fake_explosions

SHOTS: Final = 400
RUNS: Final = ("root", "root-jagged", "hdf5", "parquet", "csv", "xfel", "lmf", "lmf-raw", "edges",
               "root-edges")  # fmt: skip
Command = Sequence[str] | Callable[[], None]


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: of the kind.
        file: the one that is damaged, in the folder of the kind.
        make: writes the input into an empty folder.
        commands: arguments of `molexa`, or functions, that read it; run in the folder.
        text: whether damages of texts are tried.
        values: of formats of molexa: everything that is read from the file in the folder.
    """

    name: str
    file: str
    make: Callable[[Path], object]
    commands: tuple[Command, ...]
    text: bool = False
    values: Callable[[], object] | None = None


def fingerprint(value: object) -> str:
    """A digest of everything in a value: numbers, texts, arrays, tensors, dataclasses."""
    state = sha256()

    def add(item: object) -> None:
        state.update(type(item).__name__.encode() + b"(")
        if isinstance(item, torch.Tensor):
            item = item.detach().float().numpy()
        if isinstance(item, np.ndarray) and item.dtype != object:
            state.update(
                f"{item.dtype}{item.shape}".encode() + np.ascontiguousarray(item).tobytes()
            )
        elif is_dataclass(item) and not isinstance(item, type):
            for field in fields(item):
                add((field.name, getattr(item, field.name)))
        elif isinstance(item, Mapping):
            for key in item:
                add((key, item[key]))
        elif isinstance(item, pd.DataFrame):
            state.update(item.to_json().encode())
        elif isinstance(item, np.ndarray | list | tuple | set | frozenset):
            for one in sorted(item) if isinstance(item, set | frozenset) else item:
                add(one)
        else:
            state.update(repr(item).encode())
        state.update(b")")

    add(value)
    return state.hexdigest()


def kinds() -> dict[str, Kind]:
    """Every kind by name."""
    own = [*_results(), *_data_sets(), *_networks()]
    # Digests of the shards stood in the card from the beginning.
    before = [_without_checksum(kind) for kind in own if kind.name != "weights"]
    every = [*_runs(), *_other_runs(), *own, *before, *_texts()]
    return {kind.name: kind for kind in every}


def _without_checksum(kind: Kind) -> Kind:
    """The same file in the form of molexa 0.1, where a changed value cannot be seen."""

    def make(folder: Path) -> None:
        kind.make(folder)
        path = folder / kind.file
        if path.suffix == ".json":
            values = json.loads(path.read_text(encoding="utf-8"))
            del values[CHECKSUM]
            if "format" in values:
                values["format"] = 1
            path.write_text(json.dumps(values, indent=1), encoding="utf-8")
        elif path.suffix == ".h5":
            with h5py.File(path, "r+") as file:
                del file.attrs[CHECKSUM]
        elif kind.name == "checkpoint":
            with safe_open(path, framework="pt") as stream:
                about = json.loads(stream.metadata()["molexa"])
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            save_file(tensors, path, metadata={"molexa": json.dumps(about | {"format": 1})})

    return replace(kind, name=f"{kind.name} (0.1)", make=make, values=None)


def _runs() -> list[Kind]:
    """Virtual runs; they carry their setup and channel with them."""
    reading = (("reduce", "run.dat", "--out", "o.events.h5"), ("inspect", "run.dat", "--verify"))

    def maker(layout: str) -> Callable[[Path], object]:
        return lambda folder: mock("water", SHOTS, out=folder / "run.dat", seed=4, layout=layout)

    found = [Kind(name, "run.dat", maker(name), reading, text=name == "csv") for name in RUNS]
    to_text = (("convert", "run.dat", "out.csv"), ("convert", "run.dat", "out.root"))
    return [
        replace(kind, commands=(*kind.commands, to_text[n % 2])) for n, kind in enumerate(found)
    ]


def _other_runs() -> list[Kind]:
    looking = (("inspect", "run.dat", "--verify"), ("inspect", "run.dat"))
    setup = ("--setup", "setup.yaml", "--channel", "water")
    reading = (("reduce", "run.dat", "--out", "o.events.h5", *setup), *looking)

    def with_setup(write_run: Callable[[Path], object]) -> Callable[[Path], None]:
        def make(folder: Path) -> None:
            shutil.copy(find("templates", "setup", ".yaml"), folder / "setup.yaml")
            write_run(folder / "run.dat")

        return make

    def lmf(path: Path) -> None:
        header = make_header()
        write(path, header, [make_events(header, 20)])

    made = with_setup
    return [
        Kind("lmf-full", "run.dat", made(lmf), looking),
        Kind("xfel-facility", "run.dat", made(_facility), looking),
        Kind("flash", "run.dat", made(write_flash), looking),
        Kind("root-sp8", "run.dat", made(_sp8), reading),
        Kind("root-lma2root", "run.dat", made(_lma2root), reading),
        Kind("numpy", "run.dat", made(_npy), reading),
    ]


def _facility(path: Path) -> object:
    return write_xfel(path, [2, 0, 3], energy_trains=[0, 2], delay=True)


def _hits(path: Path) -> pd.DataFrame:
    """A row for every hit of a virtual run: `shot`, `x_mm`, `y_mm`, `t_ns`."""
    mock("water", SHOTS, out=path.with_suffix(".csv"), seed=4, layout="csv")
    return pd.read_csv(path.with_suffix(".csv"), comment="#")


def _npy(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, _hits(path).to_records(index=False))


def _sp8(path: Path) -> None:
    table = _hits(path)
    shots, row, counts = np.unique(table["shot"], return_inverse=True, return_counts=True)
    slot = np.arange(len(table)) - (np.cumsum(counts) - counts)[row]
    columns = {"IonNum": counts.astype(np.int32)}
    for k in range(int(counts.max())):
        for name, ours in (("IonX", "x_mm"), ("IonY", "y_mm"), ("IonT", "t_ns")):
            column = columns[f"{name}{k}"] = np.zeros(len(shots))
            column[row[slot == k]] = table[ours].to_numpy()[slot == k]
        columns[f"IonFlag{k}"] = np.zeros(len(shots), np.int32)
    with uproot.recreate(path) as file:
        file.mktree("resortedData", {key: values.dtype for key, values in columns.items()})
        file["resortedData"].extend(columns)


def _lma2root(path: Path) -> None:
    table = _hits(path)
    counts = np.unique(table["shot"], return_counts=True)[1]
    leaves = (("x_mm", "fX_mm"), ("y_mm", "fY_mm"), ("t_ns", "fTof"))
    columns = {
        f"fDetektors[0].fDetektors_fHits.{leaf}": ak.unflatten(table[ours].to_numpy(), counts)
        for ours, leaf in leaves
    }
    with uproot.recreate(path) as file:
        file.mktree("SortedEvent", dict.fromkeys(columns, "var * float64"))
        file["SortedEvent"].extend(columns)


def _chain(folder: Path) -> None:
    make_folder(folder, events=80)


def _results() -> list[Kind]:
    def truth(folder: Path) -> None:
        mock("water", 200, out=folder / "run.root", seed=2, truth=folder / "truth.h5")

    def structures(folder: Path) -> None:
        rng = np.random.default_rng(3)
        ions = tuple(parse_ion(name) for name in ("O+", "H+", "H+"))
        places = [rng.normal(size=(40, 3, 3)) for _ in range(2)]
        found = EventStructures(
            ions, np.arange(40), places[0], np.abs(places[1]), rng.random(40), np.ones(40)
        )
        write_structures(folder / "structures.h5", found, Provenance.of("test"))

    def channels(folder: Path) -> None:
        write_channels(folder / "channels.h5", _outcomes(), Provenance.of("test"))

    def events(name: str) -> Callable[[], object]:
        return lambda: (read_events(name), read_spectra(name))

    return [
        Kind("events.h5", "run.events.h5", _chain,
             (("align", "run.events.h5", "--out", "o.aligned.h5"), ("inspect", "run.events.h5")),
             values=events("run.events.h5")),
        Kind("aligned.h5", "run.aligned.h5", _chain,
             (("centroid", "run.aligned.h5", "--out", "o.csv"), ("inspect", "run.aligned.h5")),
             values=events("run.aligned.h5")),
        Kind("truth.h5", "truth.h5", truth, (("inspect", "truth.h5"),),
             values=lambda: read_truth("truth.h5")),
        Kind("structures.h5", "structures.h5", structures,
             (lambda: _use(read_structures("structures.h5")), ("inspect", "structures.h5")),
             values=lambda: read_structures("structures.h5")),
        Kind("channels.h5", "channels.h5", channels,
             (lambda: _use(read_channels("channels.h5")), ("inspect", "channels.h5")),
             values=lambda: read_channels("channels.h5")),
        Kind("geom.json", "geom.json", _chain,
             (("report", ".", "--out", "o.html"),), text=True,
             values=lambda: read_geometry_json("geom.json")),
    ]  # fmt: skip


def _use(value: object) -> None:
    del value


def _outcomes() -> Outcomes:
    water = np.array([[0.0, 0.0, 0.0], [1.11, 0.0, 1.43], [1.11, 0.0, -1.43]])
    (found,) = fake_explosions(
        ("O", "H", "H"), water[None], None, None, None, trajectories=200, seed=1
    )
    return found


def _data_sets() -> list[Kind]:
    recipe = Recipe(
        name="small", seed=3, molecules=("water", "nitrogen"), variations=Variations(displaced=1),
        trajectories=500, minimum_count=12,
    )  # fmt: skip

    def small(folder: Path) -> None:
        build(recipe, folder / "set", engine=fake_explosions)
        first = min((folder / "set").glob("*.h5"))
        first.rename(folder / "set" / "shard.h5")

    def packed(folder: Path) -> None:
        build(recipe, folder / "made", engine=fake_explosions)
        pack(folder / "made", folder / "set")

    def whole() -> object:
        return read_dataset("set"), read_recipe("set/recipe.json")

    looking = (("dataset", "check", "set"), ("dataset", "info", "set"))
    return [
        Kind("pack", "set/pack-000.h5", packed, looking, values=whole),
        Kind("shard", "set/shard.h5", small, looking, values=whole),
        Kind("recipe.json", "set/recipe.json", small,
             (*looking, ("dataset", "resolve", "--recipe", "set/recipe.json")),
             text=True, values=lambda: read_recipe("set/recipe.json")),
    ]  # fmt: skip


def _networks() -> list[Kind]:
    settings = replace(
        MOLEXA.network, width=32, heads=4, dynamics_blocks=1, denoiser_blocks=1,
        uncertainty_blocks=1, embedding=8, uncertainty_bins=20,
        sampler=replace(MOLEXA.network.sampler, steps=3),
    )  # fmt: skip

    def weights(folder: Path) -> None:
        torch.manual_seed(1)
        made = Network(settings)
        about = {"kind": "stage 1, classical explosion", "tau_fs": 45.0}
        save_weights(folder, "small", made, data=about, training={"stage": "1"}, metrics={})
        rows = "O+,60,0,70\nH+,-30,40,-35\nH+,-30,-40,-35\n"
        (folder / "channel.csv").write_text(f"ion,px,py,pz\n{rows}")

    recipe = replace(MOLEXA.training, batch=4, warm_up=2)
    source = StageOneSource(StageOneData(largest=3, block=2), 4, "cpu", 1)

    def trained(folder: Path = Path(), steps: int = 1) -> Network:
        torch.manual_seed(0)
        network = Network(settings)
        state = folder / "checkpoint.safetensors"
        train(network, source, TrainingRun(recipe, steps, checkpoint=state))
        return network

    reading = (
        ("weights", "verify", "small.json"),
        ("reconstruct", "channel.csv", "--weights", "small.json", "--samples", "2", "--search", "0",
         "--out", "o.xyz"),
    )  # fmt: skip
    return [
        Kind("card", "small.json", weights, reading, text=True,
             values=lambda: read_card("./small.json")[0]),
        Kind("weights", "small-1of1.safetensors", weights, reading,
             values=lambda: dict(load_network("./small.json")[0].state_dict())),
        Kind("checkpoint", "checkpoint.safetensors", trained, (lambda: _use(trained(steps=1)),),
             values=lambda: dict(trained(steps=1).state_dict())),
    ]  # fmt: skip


def _texts() -> list[Kind]:
    def setup(folder: Path) -> None:
        mock("water", SHOTS, out=folder / "run.root", seed=4)
        for kind, name in (("templates", "setup"), ("channels", "water")):
            shutil.copy(find(kind, name, ".yaml"), folder / f"{name}.yaml")
        anode = yaml.safe_load((folder / "setup.yaml").read_text(encoding="utf-8"))["anode"]
        (folder / "detector.yaml").write_text(yaml.safe_dump({"anode": anode}))
        mock("water", SHOTS, out=folder / "run.lmf", seed=4, layout="lmf")
        values = yaml.safe_load((folder / "setup.yaml").read_text(encoding="utf-8"))
        (folder / "named.yaml").write_text(yaml.safe_dump(values | {"anode": "detector.yaml"}))

    def project(folder: Path) -> None:
        setup(folder)
        values = {"setup": "setup.yaml", "channel": "water.yaml", "weights": "molexa-stage1"}
        (folder / "molexa.yaml").write_text(yaml.safe_dump(values))

    def recipe(folder: Path) -> None:
        shutil.copy(find("templates", "stage2", ".yaml"), folder / "recipe.yaml")

    out = ("--out", "o.events.h5")
    given = ("--setup", "setup.yaml", "--channel", "water.yaml")
    return [
        Kind("channel.csv", "channel.csv", _chain,
             (("reconstruct", "channel.csv", "--samples", "2", "--search", "0", "--out", "o.xyz"),
              ("report", ".", "--out", "o.html")), text=True),
        Kind("xyz", "known.xyz", _chain,
             (("simulate", "known.xyz", "--charges", "O+,H+,H+"),
              ("score", "known.xyz", "known.xyz")), text=True),
        Kind("setup.yaml", "setup.yaml", setup,
             (("reduce", "run.root", *given, *out), ("mock", "water", "--events", "50", "--setup",
              "setup.yaml", "--out", "o.root")), text=True),
        Kind("channel.yaml", "water.yaml", setup, (("reduce", "run.root", *given, *out),),
             text=True),
        Kind("detector.yaml", "detector.yaml", setup,
             (("reduce", "run.lmf", "--setup", "named.yaml", "--channel", "water.yaml", *out),),
             text=True),
        Kind("molexa.yaml", "molexa.yaml", project, (("reduce", "run.root", *out),), text=True),
        Kind("recipe.yaml", "recipe.yaml", recipe,
             (("dataset", "resolve", "--recipe", "recipe.yaml"),), text=True),
    ]  # fmt: skip
