"""No result destroys what a command reads: every pair of input and output of every command."""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import typer
import yaml

from molexa_cli.main import build_app, main
from molexa_cli.parameters import option_name
from molexa_core.base.known_explosion import BuildUpExplosion, LaserExplosion, XrayExplosion
from molexa_core.base.parameter import parameters
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.base.tables import Geometry
from molexa_core.base.uncertain import Uncertain
from molexa_core.io.xyz import write_xyz
from molexa_core.pipeline.datasets.blocks import plan, resolve
from tests.fakes.chain import make_folder

READ, WRITTEN, FOLDER, NEW, NONE = "read", "written", "folder", "new", "none"
FIGURE = "figure"
UNCERTAIN = {
    option_name(one.parameter): NONE
    for of in (XrayExplosion, LaserExplosion, BuildUpExplosion)
    for one in parameters(of).values()
    if one.kind is Uncertain and one.parameter.option is not None
}
"""Numbers with an uncertainty, which are typed as text."""
SELECTION = dict.fromkeys(("gate", "regions", "where"), NONE)
"""What a stage takes; the file with the regions is tried in tests/pipeline/chain."""
NAMES_OF_COLUMNS = dict.fromkeys(("region", "x", "y", "time", "shot", "count", "tree", "tag"), NONE)
"""A file that is NEW is made only where there is none, and replaces nothing."""
ROLES: dict[str, dict[str, str]] = {
    "demo": {"molecule": NONE, "out": FOLDER},
    "mock": {"channel": READ, "geometry": READ, "setup": READ, "out": WRITTEN, "truth": WRITTEN},
    "inspect": {"files": READ, "setup": READ, "numbers": NONE},
    "convert": {"runs": READ, "setup": READ, "out": WRITTEN},
    "calibrate detector": {"runs": READ, "setup": READ, "out": WRITTEN, "picture": WRITTEN},
    "calibrate spectrometer": {
        "runs": READ,
        "channel": READ,
        "setup": READ,
        "peak": NONE,
        "numbers": NONE,
        "free": NONE,
        "fix": NONE,
        "out": WRITTEN,
        "picture": WRITTEN,
    },
    "calibrate explosion": {
        "more": NONE,
        "reference": NONE,
        "yields": NONE,
        "setup": READ,
        "out": WRITTEN,
    },
    "reduce": {"runs": READ, "channel": READ, "setup": READ, "out": WRITTEN}
    | dict.fromkeys(("rivals", "numbers", "dask", "slurm_option", "device"), NONE)
    | SELECTION,
    "join": {"events": READ, "out": NONE},
    "gate": dict.fromkeys(
        ("box", "ellipse", "polygon", "name", "x", "y", "channel", "events", "html", "out"), NONE
    )
    | SELECTION,
    "spectrum": {"events": READ, "x": NONE, "y": NONE, "out": NONE} | SELECTION,
    "covariance": dict.fromkeys(
        ("axes", "beside", "control", "channel", "runs", "setup", "out", "dask", "slurm_option"),
        NONE,
    ),
    "update": dict.fromkeys(("numbers", "dask", "slurm_option"), NONE),
    "runs add": dict.fromkeys(("files", "target", "channel", "setup", "catalogue"), NONE),
    "runs list": dict.fromkeys(("runs", "target", "catalogue"), NONE),
    "runs show": {"catalogue": NONE},
    "runs mark": dict.fromkeys(("runs", "quality", "comment", "target", "catalogue"), NONE),
    "runs export": {"catalogue": NONE},
    "watch": dict.fromkeys(("folder", "channel", "setup", "state", "listen", "live"), NONE),
    "align": {
        "events": READ,
        "channel": READ,
        "out": WRITTEN,
        "reference": NONE,
        "second": NONE,
        "plane": NONE,
    }
    | SELECTION,
    "centroid": {"aligned": READ, "out": WRITTEN}
    | SELECTION
    | dict.fromkeys(("background", "bins", "by", "dask", "slurm_option"), NONE),
    "reconstruct": {
        "source": READ,
        "weights": READ,
        "truth": READ,
        "setup": READ,
        "prior": READ,
        "out": WRITTEN,
        "device": NONE,
    }
    | UNCERTAIN
    | SELECTION
    | dict.fromkeys(("background", "bins", "by", "dask", "slurm_option"), NONE),
    "compare": {"first": READ, "second": READ, "second_where": NONE} | SELECTION,
    "score": {"structure": READ, "known": READ},
    "report": {
        "folder": READ,
        "out": WRITTEN,
        "title": NONE,
        "compare": READ,
        "second_where": NONE,
    }
    | SELECTION,
    "movie": {"files": READ, "out": WRITTEN, "known": READ, "at": NONE, "unit": NONE},
    "simulate": {
        "geometry": READ,
        "out": WRITTEN,
        "trajectory": WRITTEN,
        "figure": WRITTEN,
        "charges": NONE,
        "device": NONE,
    },
    "atom": {"element": NONE, "occupation": NONE},
    "molecules": {"name": NONE, "elements": NONE, "atoms": NONE, "xyz": WRITTEN},
    "dataset build": {"recipe": READ, "out": FOLDER}
    | dict.fromkeys(("device", "dask", "slurm_option"), NONE),
    "dataset resolve": {"recipe": READ, "out": WRITTEN},
    "dataset info": {"folder": READ},
    "dataset check": {"folder": READ},
    "dataset pack": {"folder": READ, "out": FOLDER},
    "dataset fit-tau": {"folder": READ, "split": NONE},
    "train": {
        "out": FOLDER,
        "weights": READ,
        "init": READ,
        "data": READ,
        "stage": NONE,
        "preset_name": NONE,
        "elements": NONE,
        "name": NONE,
        "split_by": NONE,
        "recipe": NONE,
        "device": NONE,
    },
    "evaluate": {
        "weights": READ,
        "data": READ,
        "setup": NONE,
        "out": WRITTEN,
        "figures": FOLDER,
        "split": NONE,
        "names": NONE,
        "device": NONE,
    },
    "weights list": {},
    "weights show": {"name": READ},
    "weights verify": {"name": READ},
    "weights calibrate": {"name": READ, "data": READ, "device": NONE},
    "weights recognise": {"name": READ, "device": NONE},
    "weights shrink": {"name": READ, "out": FOLDER},
    "channels": {},
    "completion": {"shell": NONE},
    "plot": {
        "what": NONE,
        "file": READ,
        "beside": READ,
        "style": READ,
        "out": FIGURE,
        **dict.fromkeys(("x", "y", "ions", "plane", "width", "second_where"), NONE),
    }
    | SELECTION,
    "check": {"run": READ, "setup": READ, "channel": READ},
    "new setup": {"run": READ, "out": NEW} | NAMES_OF_COLUMNS,
    "new channel": {"what": NONE, "ions": NONE, "setup": READ, "out": NEW},
    "new recipe": {"molecules": NONE, "name": NONE, "out": NEW},
    "new project": {"what": NONE, "run": READ, "ions": NONE} | NAMES_OF_COLUMNS,
}
"""What the parameters of each command are that take a path or a text."""
FILES = {
    "mock": {
        "channel": "channel.yaml",
        "geometry": "nitrogen.xyz",
        "setup": "setup.yaml",
        "out": "new.root",
    },
    "convert": {"runs": "run.root", "setup": "setup.yaml"},
    "calibrate detector": {"runs": "run.lmf", "setup": "setup.yaml"},
    "calibrate spectrometer": {
        "runs": "run.root",
        "channel": "channel.yaml",
        "setup": "setup.yaml",
    },
    "calibrate explosion": {"setup": "setup.yaml"},
    "reduce": {"runs": "run.root", "channel": "channel.yaml", "setup": "setup.yaml"},
    "align": {"events": "run.events.h5", "channel": "water.yaml"},
    "centroid": {"aligned": "run.aligned.h5"},
    "reconstruct": {
        "source": "channel.csv",
        "weights": "card.json",
        "truth": "known.xyz",
        "setup": "setup.yaml",
        "prior": "nitrogen.xyz",
    },
    "report": {"folder": "channel.csv", "compare": "nitrogen.xyz"},
    "movie": {"files": "nitrogen.xyz", "known": "nitrogen.xyz"},
    "simulate": {"geometry": "nitrogen.xyz"},
    "dataset resolve": {"recipe": "recipe.yaml"},
    "evaluate": {"weights": "card.json", "data": "data/recipe.json"},
}
"""A file that each input can be."""
MORE: dict[str, list[str]] = {
    "mock": ["--events", "100"],
    "simulate": ["--charges", "N+,N+"],
    "convert": ["--format", "root"],
    "calibrate explosion": ["--reference", "run.events.h5=N2"],
    "molecules": ["water"],
    "align": ["--ref", "O+"],
}
ARGUMENTS = {
    "channel",
    "files",
    "runs",
    "events",
    "aligned",
    "source",
    "folder",
    "geometry",
    "name",
}
OWN_TESTS = {"join", "gate", "spectrum", "covariance", "watch"}
"""Commands whose outputs are tried in the tests of their stages."""
Command = Callable[..., None]


def _commands(app: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Command]]:
    for one in app.registered_commands:
        assert one.callback is not None
        yield " ".join((*words, one.name or one.callback.__name__)), one.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, (*words, str(group.name)))


COMMANDS = dict(_commands(build_app()))


def _kinds(annotation: Any) -> set[type]:
    """The types that an annotation is made of."""
    inner = [kind for one in get_args(annotation) for kind in _kinds(one)]
    return {annotation, *inner} if isinstance(annotation, type) else set(inner)


def _hints(command: Command) -> dict[str, Any]:
    names = inspect.signature(command).parameters
    found = get_type_hints(command, include_extras=True)
    return {name: found[name] for name in names}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_known_as_input_or_output(name: str) -> None:
    texts = {
        parameter
        for parameter, hint in _hints(COMMANDS[name]).items()
        if _kinds(get_args(hint)[0]) & {Path, str}
    }
    assert texts <= set(ROLES[name]), f"say in ROLES what these are: {texts - set(ROLES[name])}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_writes_has_force(name: str) -> None:
    # A demo fills a new folder.
    writes = {WRITTEN, FOLDER, FIGURE} & set(ROLES[name].values()) and name != "demo"
    if name in OWN_TESTS:
        return
    assert ("force" in _hints(COMMANDS[name])) == bool(writes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of input, small."""
    place = tmp_path_factory.mktemp("inputs")
    make_folder(place)
    shutil.copy(shipped_folder("channels") / "nitrogen.yaml", place / "channel.yaml")
    shutil.copy(shipped_folder("channels") / "water.yaml", place / "water.yaml")
    shutil.copy(shipped_folder("templates") / "setup.yaml", place / "setup.yaml")
    shutil.copy(shipped_folder("templates") / "small.yaml", place / "recipe.yaml")
    card = min(shipped_folder("weights").glob("*.json"))
    shutil.copy(card, place / "card.json")
    pair = Geometry(("N", "N"), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.07]]))
    write_xyz(place / "nitrogen.xyz", [pair], Provenance.of("test"))
    (place / "data").mkdir()
    before = Path.cwd()
    os.chdir(place)
    try:
        for line in (
            "mock nitrogen --events 60 --out run.root",
            "mock nitrogen --events 60 --out run.lmf --format lmf",
            "dataset resolve --recipe recipe.yaml --out data/recipe.json",
        ):
            assert main([*line.split(), "-q"]) == 0
    finally:
        os.chdir(before)
    return place


def _words(name: str, files: dict[str, str]) -> list[str]:
    words = name.split()
    positional = [key for key in _hints(COMMANDS[name]) if _is_argument(name, key)]
    words += [files[key] for key in positional if key in files]
    for key, file in files.items():
        if key not in positional:
            words += [f"--{key.replace('_', '-')}", file]
    more = ["--model", "mcmd"] if "figure" in files else MORE.get(name, [])
    return [*words, *more, "-q"]


def _is_argument(name: str, key: str) -> bool:
    return any(
        type(one).__name__ == "ArgumentInfo" for one in get_args(_hints(COMMANDS[name])[key])
    )


def _state(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _pairs(role: str, other: str) -> list[tuple[str, str, str]]:
    return [
        (name, one, two)
        for name, roles in ROLES.items()
        for one, a in roles.items()
        for two, b in roles.items()
        if (a, b) == (role, other) and (role != other or one < two)
    ]


def _refused(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, code: int = 2
) -> str:
    """What the program says when it refuses, with every file as it was."""
    monkeypatch.chdir(folder)
    before = _state(folder)
    found = main(words)
    said = str(capsys.readouterr().err)
    assert found == code, (words, said)
    assert said.count("\n") == 1
    assert said.startswith("molexa: ")
    assert _state(folder) == before
    return said


@pytest.mark.parametrize("spelling", ["", "symlink", "hard"])
@pytest.mark.parametrize(("name", "read", "written"), _pairs(READ, WRITTEN))
def test_an_output_is_never_an_input(
    name: str,
    read: str,
    written: str,
    spelling: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = dict(FILES[name])
    file = files[read]
    other = folder / f"other{Path(file).suffix}"
    if spelling == "symlink":
        other.symlink_to(folder / file)
    elif spelling == "hard":
        os.link(folder / file, other)
    output = file if not spelling else str(other)
    if name == "report":
        files["folder"] = "."
    if name == "evaluate":
        files["data"] = "data"
    try:
        words = [*_words(name, {**files, written: output}), "--force"]
        said = _refused(words, folder, monkeypatch, capsys)
        assert "reads that file" in said or "does not end in" in said or "SVG" in said
    finally:
        other.unlink(missing_ok=True)


@pytest.mark.parametrize(("name", "one", "two"), _pairs(WRITTEN, WRITTEN))
def test_two_outputs_are_never_one_file(
    name: str,
    one: str,
    two: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    same = {one: "same.svg", two: "./data/../same.svg"}
    words = _words(name, {**FILES.get(name, {}), **same})
    said = _refused(words, folder, monkeypatch, capsys)
    # Other results of a simulation belong to different models, or differ by their suffix.
    apart = name == "simulate" and (one, two) != ("out", "trajectory")
    assert "the same file" in said or (apart and ("no meaning" in said or "no known form" in said))


OUTPUTS = [
    (name, key) for name, roles in ROLES.items() for key, role in roles.items() if role == WRITTEN
]
SUFFIXES = {
    ("movie", "out"): ".xyz",
    ("reconstruct", "out"): ".xyz",
    ("simulate", "figure"): ".svg",
}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _read_only(path: Path) -> None:
    path.write_text("mine", encoding="utf-8")
    path.chmod(0o444)


def _foreign(path: Path) -> None:
    path.write_text("mine", encoding="utf-8")


def _other_result(path: Path) -> None:
    """A result of molexa that no command makes as the output that is tried."""
    path.write_text('{"format": 1, "recipe": {"molecules": []}}', encoding="utf-8")


THINGS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "pipe": (_pipe, 1, "a pipe"),
    "folder": (Path.mkdir, 1, "a folder"),
    "device": (lambda path: path.symlink_to("/dev/zero"), 1, "a device"),
    "stream": (lambda path: path.symlink_to("/dev/stdout"), 1, "stream"),
    "dangling": (lambda path: path.symlink_to("nowhere"), 1, "does not exist"),
    "loop": (lambda path: path.symlink_to(path.name), 1, "leads back to itself"),
    "read-only": (_read_only, 1, "read-only"),
    "foreign": (_foreign, 2, "was not written by molexa"),
    "other result": (_other_result, 2, "resolved recipe of molexa"),
}


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize(("name", "written"), OUTPUTS)
def test_what_is_no_result_is_never_replaced(
    name: str,
    written: str,
    thing: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if thing == "other result" and name == "dataset resolve":
        pytest.skip("that is what it makes")
    make, code, sentence = THINGS[thing]
    files = dict(FILES.get(name, {}))
    if name == "report":
        files["folder"] = "."
    if name == "evaluate":
        files["data"] = "data"
    path = folder / f"there{SUFFIXES.get((name, written), '.root')}"
    make(path)
    try:
        words = _words(name, {**files, written: path.name})
        assert sentence in _refused(words, folder, monkeypatch, capsys, code)
        if thing != "foreign":
            assert sentence in _refused([*words, "--force"], folder, monkeypatch, capsys, code)
    finally:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_force_replaces_a_foreign_file_and_results_replace_their_kind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for words, name in (
        (["centroid", "run.aligned.h5", "--out"], "means.csv"),
        (["molecules", "water", "--xyz"], "molecule.xyz"),
        (["dataset", "resolve", "--recipe", "recipe.yaml", "--out"], "resolved.json"),
        (["report", ".", "--out"], "page.html"),
        (["align", "run.events.h5", "--out"], "turned.h5"),
    ):
        path = folder / name
        _foreign(path)
        assert main([*words, name, "-q"]) == 2
        assert path.read_text(encoding="utf-8") == "mine"
        assert main([*words, name, "-q", "--force"]) == 0, capsys.readouterr().err
        assert main([*words, name, "-q"]) == 0, capsys.readouterr().err
        path.unlink()


def test_an_empty_file_and_the_place_to_discard_take_every_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "empty.h5").touch()
    for name in ("empty.h5", "/dev/null"):
        assert main(["align", "run.events.h5", "--out", name, "-q"]) == 0
    (folder / "empty.h5").unlink()
    assert Path("/dev/null").is_char_device()


def test_what_molexa_yaml_names_is_an_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = folder / "molexa.yaml"
    project.write_text("setup: setup.yaml\nchannel: channel.yaml\n", encoding="utf-8")
    try:
        for name in ("molexa.yaml", "setup.yaml", "channel.yaml"):
            words = ["reduce", "run.root", "--out", name, "--force", "-q"]
            assert "reads that file" in _refused(words, folder, monkeypatch, capsys)
    finally:
        project.unlink()


def test_the_detector_of_a_setup_is_an_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = yaml.safe_load((folder / "setup.yaml").read_text(encoding="utf-8"))
    detector, named = {"anode": setup["anode"]}, {**setup, "anode": "detector.yaml"}
    (folder / "detector.yaml").write_text(yaml.safe_dump(detector), encoding="utf-8")
    (folder / "named.yaml").write_text(yaml.safe_dump(named), encoding="utf-8")
    words = ["reduce", "run.root", "--setup", "named.yaml", "--out", "detector.yaml", "-q"]
    said = _refused(words, folder, monkeypatch, capsys)
    assert "reads that file" in said


@pytest.mark.parametrize(
    "words",
    [
        ["demo", "water", "--out", "FILE"],
        ["dataset", "build", "--recipe", "recipe.yaml", "--out", "FILE"],
        ["dataset", "pack", "data", "--out", "FILE"],
        ["train", "--stage", "1", "--steps", "1", "--out", "FILE"],
        ["evaluate", "--weights", "card.json", "--figures", "FILE"],
        ["weights", "shrink", "card.json", "--out", "FILE"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_file_is_no_folder_for_results(
    words: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _refused([word.replace("FILE", "setup.yaml") for word in words], folder, monkeypatch, capsys, 1)
    below = [word.replace("FILE", "setup.yaml/below") for word in words]
    _refused(below, folder, monkeypatch, capsys, 1)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["dataset", "build", "--recipe", "recipe.yaml"], "BLOCK"),
        (["dataset", "pack", "data"], "recipe.json"),
        (["dataset", "pack", "data"], "pack-007.h5"),
        (["train", "--stage", "1", "--steps", "1"], "settings.json"),
        (["train", "--stage", "1", "--steps", "1"], "log.jsonl"),
        (["train", "--stage", "1", "--steps", "1", "--name", "mine"], "mine.json"),
        (["train", "--stage", "1", "--steps", "1", "--name", "mine"], "mine-1of1.safetensors"),
        (["evaluate", "--weights", "card.json"], "overview.svg"),
        (["evaluate", "--weights", "card.json"], "figures.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_foreign_files_in_a_folder_for_results_stay(
    words: list[str],
    name: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "BLOCK":
        name = f"{plan(resolve(folder / 'recipe.yaml'))[0].name}.h5"
    place = folder / "results"
    place.mkdir()
    _foreign(place / name)
    option = "--figures" if words[0] == "evaluate" else "--out"
    try:
        said = _refused([*words, option, "results"], folder, monkeypatch, capsys)
        assert "was not written by molexa" in said
        assert [path.name for path in place.iterdir()] == [name]
    finally:
        shutil.rmtree(place)


def test_weights_are_not_trained_onto_those_they_start_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--stage", "uncertainty", "--weights", "card.json", "--out", "."]
    said = _refused([*words, "--steps", "1", "--name", "card"], folder, monkeypatch, capsys)
    assert "reads that file" in said
