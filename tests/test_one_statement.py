"""Each concept is stated once: arguments, settings, recipes and options come from one class."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from molexa_cli.main import build_app
from molexa_cli.parameters import Given, explanation, with_parameters
from molexa_core.base.device import DEVICE
from molexa_core.base.errors import SettingsError, UsageError
from molexa_core.base.forward_model import (
    MASSES,
    TAU,
    TAU_FS,
    ChargeBuildUp,
    ModelOptions,
    Pulse,
)
from molexa_core.base.parameter import SEED, Parameter, Parameters, of_plain, parameters
from molexa_core.base.settings import VirtualExperiment, parse_settings
from molexa_core.base.settings.schema import Schema
from molexa_core.physics.molecules.draws import Variations
from molexa_core.pipeline.datasets.recipe import Explosions, Recipe, Splits
from molexa_core.pipeline.datasets.recipe_file import RecipeFile

ROOT = Path(__file__).resolve().parent.parent
STATED = (Pulse, ChargeBuildUp, ModelOptions, Variations, Splits, Explosions)
"""The classes that state parameters."""
ALONE = {"tau_fs": (TAU, TAU_FS), "seed": (SEED, 0), "device": (DEVICE, "auto")}
"""Parameters that several classes and commands share: name, and default where there is one."""
OWN = {
    "name",
    "growth",
    "accuracy",
    "until_fs",
    "velocities",
    "test",
    "validation",
    "focus",
    "temperature_k",
    "displaced",
}
"""Names of parameters that mean something else in other places."""


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def every_option() -> Iterator[tuple[str, Any]]:
    app = typer.main.get_command(build_app())
    for name, command in commands(app):
        for option in command.params:
            if option.param_type_name == "option":
                yield name, option


def test_every_parameter_says_what_it_means_and_has_a_default_in_its_range() -> None:
    for of in STATED:
        stated = parameters(of)
        assert stated or of is Explosions
        for one in stated.values():
            assert one.parameter.meaning[:1].islower()
            if one.kind in (int, float) and one.default is not None:
                low, high = one.parameter.low, one.parameter.high
                assert low is None or low <= one.default
                assert high is None or one.default <= high
    for of in STATED[:-1]:
        assert [field.name for field in fields(of)] == list(parameters(of))


def test_settings_and_recipes_hold_the_classes_themselves() -> None:
    virtual = VirtualExperiment.model_fields
    assert virtual["pulse"].annotation is Pulse
    assert virtual["model"].annotation is ModelOptions
    assert virtual["tau_fs"].default == TAU_FS
    for recipe in (Recipe, RecipeFile):
        assert issubclass(recipe, Explosions)
        hints = get_type_hints(recipe)
        for name, of in (
            ("pulse", Pulse),
            ("model", ModelOptions),
            ("variations", Variations),
            ("splits", Splits),
        ):
            assert hints[name] is of
    own = {field.name for field in fields(RecipeFile)} - {
        field.name for field in fields(Explosions)
    }
    assert own == {"molecules", "movies"}


def test_the_same_values_are_refused_everywhere() -> None:
    """Python, a settings file, a resolved recipe: the same ranges."""
    tried = 0
    for of in STATED[:-1]:
        for name, one in parameters(of).items():
            if one.kind not in (int, float) or one.parameter.high is None:
                continue
            above = {name: one.kind(one.parameter.high + 1)}
            with pytest.raises(UsageError, match=name):
                of(**above)
            with pytest.raises(SettingsError, match=name):
                parse_settings(of, above, where="here")
            optional = [field.name for field in fields(of)]
            with pytest.raises(SettingsError, match=name):
                of_plain(of, above, where="here", key="block", optional=optional)
            tried += 1
    assert tried > 15


def test_options_are_made_from_the_parameters() -> None:
    known = {
        one.parameter.option: (one.parameter, one.default)
        for of in STATED
        for one in parameters(of).values()
        if one.parameter.option is not None and one.parameter not in (SEED, MASSES)
    }
    known |= {"--tau-fs": (TAU, TAU_FS)}
    of_classical = {one.parameter.option for one in parameters(ChargeBuildUp).values()}
    seen: set[str] = set()
    for name, option in every_option():
        for written in option.opts:
            if name in {"simulate", "mock"} and written in known:
                parameter, default = known[written]
                prefix = "classical" if written in of_classical else "mcmd"
                assert option.help == explanation(parameter, default, prefix), name
                seen.add(written)
            if written == "--seed":
                bounds = option if hasattr(option, "min") else option.type  # by version of typer
                assert (bounds.min, bounds.max) == (SEED.low, SEED.high), name
                assert option.help == f"{SEED.meaning.capitalize()}."
            if written == "--device":
                assert option.help.endswith(f"{DEVICE.note}."), name
    assert seen == set(known)


def test_no_default_is_typed_a_second_time() -> None:
    """No field or argument of the name of a parameter has a number as its default elsewhere."""
    names = {name for of in STATED for name in parameters(of)} - OWN | {"tau_fs"}
    at_home = {Path(sys.modules[of.__module__].__file__ or "") for of in STATED}
    found = []
    for package in ("molexa_core", "molexa_cli"):
        for path in (ROOT / package).rglob("*.py"):
            if path in at_home:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                for name, value in _defaults(node):
                    number = isinstance(value, ast.Constant) and type(value.value) in (int, float)
                    if name in names and number and name not in {"seed", "trajectories"}:
                        found.append((path.relative_to(ROOT).as_posix(), node.lineno, name))
    assert not found


def _defaults(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        yield node.target.id, node.value
    if isinstance(node, ast.FunctionDef):
        places = [*node.args.posonlyargs, *node.args.args]
        for argument, value in zip(places[::-1], node.args.defaults[::-1], strict=False):
            yield argument.arg, value
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if default is not None:
                yield argument.arg, default


@dataclass(frozen=True)
class PulseWithChirp(Pulse):
    """A pulse with one switch more."""

    chirp_fs2: Annotated[float, Parameter("chirp", "fs²", 0.0, 50.0, option="--chirp-fs2")] = 2.0


class Block(Schema):
    """A settings file with that pulse."""

    pulse: PulseWithChirp = PulseWithChirp()


def test_a_switch_more_is_one_field_more() -> None:
    """It is an argument, a key, an option with its help, and checked, without another line."""
    assert parse_settings(Block, {"pulse": {"chirp_fs2": 5}}, where="f").pulse.chirp_fs2 == 5.0
    with pytest.raises(SettingsError, match="pulse -> chirp_fs2: must be a number from 0.* to 50"):
        parse_settings(Block, {"pulse": {"chirp_fs2": 60}}, where="f")
    with pytest.raises(SettingsError, match=r"chirp_fs: unknown key \(did you mean chirp_fs2"):
        parse_settings(Block, {"pulse": {"chirp_fs": 60}}, where="f")
    with pytest.raises(UsageError, match="the chirp is 60 fs², which is out of range"):
        PulseWithChirp(chirp_fs2=60.0)

    def explode(out: str = "x", *, pulse: Given) -> None:
        typer.echo(PulseWithChirp(**pulse).chirp_fs2)

    app = typer.Typer()
    app.command()(with_parameters(behind="out", pulse=PulseWithChirp)(explode))
    done = CliRunner().invoke(app, ["--chirp-fs2", "7"])
    assert done.output == "7.0\n"
    assert CliRunner().invoke(app, []).output == "2.0\n"
    assert "Chirp in fs²" in CliRunner().invoke(app, ["--help"]).output


def test_values_of_the_wrong_kind_are_told() -> None:
    @dataclass(frozen=True)
    class Some(Parameters):
        on: Annotated[bool, Parameter("switch")] = True
        many: Annotated[int, Parameter("number of them", "", 0, 5)] = 1
        much: Annotated[float, Parameter("length", "mm", 0.0)] = 1.0

    for wrong, message in (
        ({"on": "yes"}, "on: on is 'yes'. Write true or false"),
        ({"many": 2.0}, "many: the number of them is 2.0. Give a whole number"),
        ({"many": True}, "many: the number of them is True"),
        ({"much": "3"}, "much: the length is '3'. Give a number"),
        ({"much": float("inf")}, "much: the length is inf"),
        ({"much": -1.0}, "much: the length is -1 mm, which is out of range. Choose 0 mm or more"),
    ):
        with pytest.raises(UsageError, match=message):
            Some(**wrong)  # type: ignore[arg-type]
