"""Messages of the library in the words of the command line: settings become options.

The library names a setting as an argument of a function, such as `gate_sum=` or `device='cpu'`.
Here it becomes what is typed for it in the running command: `--gate-sum`, `--device cpu`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from molexa_core.base.errors import MolexaError, StreamError

_SETTING: Final = re.compile(r"`([a-z]\w*)(?:=([^`]*)|\(\))`")
_COMMAND: Final = re.compile(r"`molexa ([a-z ]+) ([a-z]\w*)=([^`]*)`")
_LIBRARY_NAMES: Final[dict[str, set[str]]] = {"--force": {"replacing_foreign"}}
"""What the library calls an option, where that is not the name of the command's parameter."""


@dataclass(frozen=True)
class Option:
    """How a setting is typed.

    Attributes:
        on: its option, or the name of an argument in capitals.
        off: the option that switches it off, where there is one.
    """

    on: str
    off: str | None = None

    def typed(self, value: str) -> str:
        """The option with a value in the notation of Python; empty for the option alone."""
        if value == "False" and self.off is not None:
            return self.off
        plain = value.strip("'\"")
        return self.on if plain in ("", "True", "False") else f"{self.on} {plain}"


_running: dict[str, Option] = {}


def name_in_library(option: str, name: str) -> None:
    """State what the library calls the setting of an option."""
    _LIBRARY_NAMES.setdefault(option, set()).add(name)


def running(command: Any) -> None:
    """State the command whose options messages name from here on."""
    _running.clear()
    _running.update(options_of(command))


def options_of(command: Any) -> dict[str, Option]:
    """The options and arguments of a command, by the names that the library has for them."""
    options: dict[str, Option] = {}
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            options[parameter.name] = Option(parameter.name.upper())
            continue
        option = Option(parameter.opts[0], next(iter(parameter.secondary_opts), None))
        for name in (parameter.name, *_LIBRARY_NAMES.get(option.on, ())):
            options[name] = option
    return options


def as_typed(text: str) -> str:
    """A message with settings written as options of the running command.

    Settings that the command does not have stay as they are.
    """

    def option(match: re.Match[str]) -> str:
        known = _running.get(match[1])
        return match[0] if known is None else known.typed(match[2] or "")

    return _SETTING.sub(option, _COMMAND.sub(_other_command, text))


def sentence(error: BaseException) -> str:
    """The sentence of an error, with settings written as options."""
    text = str(error)
    if isinstance(error, MolexaError):
        where, setting = error.where or "", error.setting or ""
        if setting in _running and (where == setting or where.endswith(f": {setting}")):
            place = where.removesuffix(setting) + _running[setting].on
            text = place + text.removeprefix(where)
        if isinstance(error, StreamError) and "json" in _running:
            text = f"{text.removesuffix('.')}; {_running['json'].on} prints the numbers."
    return as_typed(text)


def line_of(name: str, inputs: Iterable[str], settings: Mapping[str, str]) -> list[str]:
    """A command as it is typed behind `molexa`: its name, what it works on, and its options."""
    options = options_of(_command(name))
    typed = [[options[setting].on, value] for setting, value in settings.items()]
    return [*name.split(), *inputs, *chain.from_iterable(typed)]


def _other_command(match: re.Match[str]) -> str:
    """A command with one setting, as it is typed."""
    option = options_of(_command(match[1]))[match[2]]
    return f"`molexa {match[1]} {option.typed(match[3])}`"


def _command(name: str) -> Any:
    """The command of this name, such as `dataset build`."""
    import typer

    from molexa_cli.main import build_app

    command: Any = typer.main.get_command(build_app())
    for word in name.split():
        command = command.commands[word]
    return command
