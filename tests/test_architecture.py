"""The shape of the source: import directions, sizes, where constants and field names may stand."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from molexa_core.base import fields

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "io",
    "detector",
    "reduction",
    "observables",
    "frame",
    "geometry",
    "physics",
    "network",
    "report",
)
ONLY_IN = {
    "torch": {"network", "physics", "pipeline"},
    "uproot": {"io"},
    "awkward": {"io"},
    "h5py": {"io", "pipeline"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "typer": {"molexa_cli"},
    "rich": {"molexa_cli"},
}
"""Heavy packages and the only rooms that may import them."""
CONSTANTS = (
    *(0.529177210544, 27.211386245981, 0.024188843265864, 2.18769126216, 5.14220675112),
    *(1.99285191545, 1822.888486, 5.485799090441e-4, 3.1668115634564, 4.5563352529132),
    *(7.2973525643e-3, 137.035999, 1.602176634, 1.66053906892, 9.1093837139, 1836.152673),
    *(6.62607015, 1.054571817, 1.380649, 2.99792458, 8.617333262, 14.3996454, 931.49410372),
    *(124.38, 8.8541878188, 6.02214076, 1.25663706127, 41.341373),
)
"""Values that only `base/units.py` may write down, whatever the power of ten."""
SOURCES = sorted(
    path
    for package in ("molexa_core", "molexa_cli")
    for path in (ROOT / package).rglob("*.py")
    if "shipped" not in path.parts
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            yield node.module or ""


def room_of(module: str) -> str:
    """`molexa_cli`, or the room of `molexa_core` that a module belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "molexa_core" and len(parts) > 1 else parts[0]


def own_room(path: Path) -> str:
    return room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


@every_source
def test_imports_point_one_way(path: Path) -> None:
    room = own_room(path)
    allowed = {"base", "molexa_core"}
    if room in ROOMS:
        allowed |= {room}
    elif room in {"pipeline", "molexa_cli"}:
        allowed |= {*ROOMS, "pipeline"} | ({"molexa_cli"} if room == "molexa_cli" else set())
    ours = [name for name in imports(path) if name.split(".")[0] in {"molexa_core", "molexa_cli"}]
    wrong = [name for name in ours if room_of(name) not in allowed]
    assert not wrong, f"{name_of(path)} must not import {wrong}"


@every_source
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    for name in imports(path):
        package = name.split(".")[0]
        if package in ONLY_IN:
            assert own_room(path) in ONLY_IN[package], f"{name_of(path)} imports {package}"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if own_room(path) == "molexa_cli"], ids=name_of
)
def test_commands_import_the_library_when_they_run(path: Path) -> None:
    for node in tree(path).body:
        if isinstance(node, ast.ImportFrom):
            rooms = {"pipeline", *ROOMS}
            module = node.module or ""
            ours = module.split(".")[0] in {"molexa_core", "molexa_cli"}
            assert not ours or room_of(module) not in rooms, f"line {node.lineno}"


@every_source
def test_functions_fit_a_screen_or_two(path: Path) -> None:
    """A habit more than a gate: code is counted, neither docstrings nor signatures."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 100, f"{node.name} has {lines} lines of code"


SAME_NAMES = {
    "align": "the frame of molecules, and the stage that turns a file into it",
    "centroid": "means of momenta, and the stage that writes them",
    "entries": "charge combinations and their mean momenta: those of a data set, those of a family",
    "file": "one file of a format, opened with every fault told: HDF5, ROOT",
    "kernel": "the compiled loop of a model: point charges, Monte Carlo on graphics cards",
    "run": "runs of one family of formats, and the door to all of them",
    "writer": "runs written in one family of formats: ROOT, list-mode",
}
"""Files of one name, and the one thing that they mean."""


def test_no_two_files_of_one_name_mean_different_things() -> None:
    seen: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.name != "__init__.py" and "commands" not in path.parts:
            seen.setdefault(path.stem, []).append(name_of(path))
    twice = {name: paths for name, paths in seen.items() if len(paths) > 1}
    assert set(twice) == set(SAME_NAMES), twice


def test_no_folder_holds_too_many_files() -> None:
    counts: dict[str, int] = {}
    for path in SOURCES:
        if path.name != "__init__.py" and path.parent.name != "commands":
            folder = path.parent.relative_to(ROOT).as_posix()
            counts[folder] = counts.get(folder, 0) + 1
    crowded = {folder: count for folder, count in counts.items() if count > 22}
    assert not crowded


@every_source
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path))


@every_source
def test_user_input_is_never_checked_by_assert(path: Path) -> None:
    lines = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]
    assert not lines


@every_source
def test_nothing_is_loaded_that_can_run_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"weights_only\s*=\s*False|yaml\.(unsafe_)?load\(|allow_pickle=True", text)
    assert not {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"} & set(imports(path))
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    assert not {"eval", "exec", "compile", "__import__"} & names


def mantissa(value: float) -> float:
    return abs(value) / 10 ** math.floor(math.log10(abs(value)))


def looks_like_a_constant(value: object) -> bool:
    """Whether a literal agrees with a physical constant in four digits."""
    if not isinstance(value, float) or value == 0 or not math.isfinite(value):
        return False
    if len(f"{mantissa(value):.12g}".replace(".", "")) < 4:
        return False
    return any(math.isclose(mantissa(value), mantissa(known), rel_tol=2e-4) for known in CONSTANTS)


def test_the_search_for_constants_finds_them() -> None:
    assert looks_like_a_constant(0.5292)
    assert looks_like_a_constant(1.602e-19)
    assert looks_like_a_constant(27.2114)
    assert not looks_like_a_constant(0.53)
    assert not looks_like_a_constant(1e-19)


@every_source
def test_physical_constants_stand_in_units_only(path: Path) -> None:
    tables = ("units", "matter/elements", "matter/isotopes")
    if name_of(path) in {f"molexa_core/base/{name}.py" for name in tables}:
        return
    found = [
        (node.lineno, node.value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and looks_like_a_constant(node.value)
    ]
    assert not found


@every_source
def test_column_names_stand_in_fields_only(path: Path) -> None:
    if name_of(path) == "molexa_core/base/fields.py":
        return
    names = {*fields.MOMENTUM, *fields.MOMENTUM_ERROR, fields.EVENT_ID}
    found = [
        (node.lineno, node.value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]
    assert not found


def test_the_architecture_page_names_every_room_and_only_what_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) < 90, "two screens"
    for room in ("base", *ROOMS, "pipeline"):
        assert f"`{room}/`" in page
    for folder in (ROOT / "molexa_core" / "pipeline").iterdir():
        if (folder / "__init__.py").is_file():
            assert f"`{folder.name}`" in page
    for named in re.findall(
        r"`((?:base|pipeline|io|report|reduction|frame|network)/[\w/]+\.py)`", page
    ):
        assert (ROOT / "molexa_core" / named).is_file(), named
    for wanted, file in (
        ("time-of-flight inversion", "reduction/momentum.py"),
        ("charge build-up", "physics/coulomb/build_up.py"),
        ("sum gate", "reduction/gate.py"),
        ("sampler", "network/diffusion.py"),
        ("report figures", "report/figures.py"),
        ("LMF header", "io/lmf/header.py"),
    ):
        rows = [line for line in page.splitlines() if wanted in line and f"`{file}`" in line]
        assert rows, f"nothing says that {wanted} is in {file}"


def defined(path: Path) -> Iterator[str]:
    """Names that a module defines itself: functions, classes, constants."""
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_every_public_name_is_used_somewhere() -> None:
    """By its own module or by one that imports it, tests and pages included."""
    folders = ("molexa_core", "molexa_cli", "molexa", "tests", "tools", "benchmarks", "docs")
    imported: set[str] = set()
    texts = []
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.*")):
        if path.suffix in (".py", ".md"):
            texts.append(text := path.read_text(encoding="utf-8"))
            for module, names in re.findall(r"from ([\w.]+) import (\([^)]*\)|.*)", text):
                imported |= {f"{module}.{name}" for name in re.findall(r"\w+", names)}
    unused = []
    for path in (path for path in SOURCES if "molexa_core" in path.parts):
        words = Counter(re.findall(r"\w+", path.read_text(encoding="utf-8")))
        module = name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        unused += [
            f"{module}.{name}"
            for name in defined(path)
            if not name.startswith("_")
            and f"{module}.{name}" not in imported
            and words[name] == 1
            and not (module in imported and any(f".{name}" in other for other in texts))
        ]
    assert not unused
