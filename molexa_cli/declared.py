"""What commands declare, and what every command gets beside it.

* `--csv` and `--tsv` for every command that has `--json`.
* Whole numbers may be written as 1e5.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import typer

from molexa_cli.console import SWITCHES, write_tables
from molexa_core.base.errors import UsageError

Separator = Literal[",", "\t"]
_WHOLE: Final = re.compile(r"\+?\d+(\.\d*)?[eE]\+?\d{1,2}")
_LARGEST: Final = 10**18


@dataclass(frozen=True)
class Declared:
    """A parameter of a command.

    Attributes:
        name: of the argument of its function.
        kind: its type without annotations and without None.
        info: what typer was told of it (`typer.Option` or `typer.Argument`).
    """

    name: str
    kind: Any
    info: Any

    @property
    def options(self) -> tuple[str, ...]:
        """What is typed for it, such as `--events`; none for an argument."""
        # Behind `Annotated`, typer keeps the first of them as if it were the default.
        said = (self.info.default, *(self.info.param_decls or ()))
        words = [part for text in said if isinstance(text, str) for part in text.split("/")]
        return tuple(word for word in words if word.startswith("-"))


def leaves(app: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it, those of groups included."""
    for command in app.registered_commands:
        yield (*words, str(command.name)), command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from leaves(group.typer_instance, (*words, str(group.name)))


def declared(command: Callable[..., None]) -> list[Declared]:
    """The parameters of a command."""
    hints = get_type_hints(command, include_extras=True)
    found = []
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints.get(name, parameter.annotation)
        if get_origin(hint) is not Annotated:
            continue
        kind, *notes = get_args(hint)
        info = next((note for note in notes if hasattr(note, "param_decls")), None)
        if info is None:
            continue
        others = [part for part in get_args(kind) if part is not type(None)]
        plain = others[0] if type(None) in get_args(kind) else kind
        found.append(Declared(name, plain, info))
    return found


def complete_commands(app: typer.Typer) -> None:
    """Give every command what it gets beside its own parameters."""
    for _, command in leaves(app):
        if "json" in inspect.signature(command.callback).parameters:
            command.callback = _with_separators(command.callback)


def _with_separators(command: Callable[..., None]) -> Callable[..., None]:
    """The command with `--csv` and `--tsv` behind `--json`."""
    hints = get_type_hints(command, include_extras=True)

    def run(**values: Any) -> None:
        csv, tsv = values.pop("csv"), values.pop("tsv")
        if sum((csv, tsv, bool(values["json"]))) > 1:
            raise UsageError("--json, --csv and --tsv exclude each other", do="Give one of them.")
        SWITCHES.separator = "," if csv else "\t" if tsv else None
        SWITCHES.tables.clear()
        try:
            command(**values)
        finally:
            separator, SWITCHES.separator = SWITCHES.separator, None
        if separator is not None:
            write_tables()

    known: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        known.append(parameter.replace(annotation=hints.get(name, parameter.annotation)))
        if name == "json":
            known += [
                inspect.Parameter(
                    word,
                    parameter.kind,
                    default=False,
                    annotation=Annotated[
                        bool, typer.Option(f"--{word}", help=f"Print the tables as {word.upper()}.")
                    ],
                )
                for word in ("csv", "tsv")
            ]
    run.__doc__, run.__name__ = command.__doc__, command.__name__
    run.__signature__ = inspect.Signature(known)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in known}
    return run


def plain_numbers(app: typer.Typer, typed: Sequence[str]) -> list[str]:
    """A command line with whole numbers such as 1e5 written out, where a whole number is wanted."""
    words = [word for word in typed if not word.startswith("-")]
    whole: set[str] = set()
    for name, command in leaves(app):
        if tuple(words[: len(name)]) == name:
            whole |= {
                option
                for one in declared(command.callback)
                if one.kind is int
                for option in one.options
            }
    plain, before = [], ""
    for word in typed:
        option, equals, value = word.partition("=")
        if before in whole:
            plain.append(_written_out(word))
        elif equals and option in whole:
            plain.append(f"{option}={_written_out(value)}")
        else:
            plain.append(word)
        before = word
    return plain


def _written_out(text: str) -> str:
    """A whole number in digits; any other text as it is."""
    if _WHOLE.fullmatch(text) is None:
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() and number < _LARGEST else text
