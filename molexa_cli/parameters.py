"""Options of commands made from the classes that state parameters (`base.parameter`).

`with_parameters` gives a command one option for each field that has a name on the command line. The
command gets those that were typed as one mapping from field to value for each class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, Final, get_type_hints

import typer

from molexa_cli.wording import name_in_library
from molexa_core.base.errors import UsageError, listing
from molexa_core.base.parameter import Parameter, Stated, parameters
from molexa_core.base.uncertain import Uncertain

UNCERTAIN: Final = "NUMBER [+- NUMBER]"
"""How the help shows a number with its uncertainty."""
Given = Mapping[str, Any]
"""The given fields of a class with their values."""


def with_parameters(
    *,
    behind: str,
    prefix: str = "",
    but: Collection[str] = (),
    **classes: type,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that replaces parameters of a command by the options of classes.

    Args:
        behind: name of the parameter after which the options appear in the help.
        but: options that the command defines itself.
        prefix: prefix of the explanations, such as `mcmd`.
        classes: the class by name of the parameter of the command that receives its fields.

    Example:
        >>> @with_parameters(behind="out", pulse=Pulse)  # doctest: +SKIP
        ... def explode(out: Path, pulse: Given) -> None: ...
    """
    for of in classes.values():
        for stated in parameters(of).values():
            if stated.parameter.option is not None:
                name_in_library(stated.parameter.option, stated.name)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        options = {
            option_name(stated.parameter): (taker, stated)
            for taker, of in classes.items()
            for stated in parameters(of).values()
            if stated.parameter.option is not None and stated.parameter.option not in but
        }

        def run(**values: Any) -> None:
            given: dict[str, dict[str, Any]] = {taker: {} for taker in classes}
            for name, (taker, stated) in options.items():
                value = values.pop(name)
                if value is not None:
                    given[taker][stated.name] = value
            command(**values, **given)

        known: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(command).parameters.items():
            if name in classes:
                continue
            known.append(parameter.replace(annotation=hints[name]))
            if name == behind:
                known += [
                    inspect.Parameter(
                        option,
                        inspect.Parameter.POSITIONAL_OR_KEYWORD,
                        default=None,
                        annotation=option_of(stated, prefix),
                    )
                    for option, (_, stated) in options.items()
                ]
        run.__signature__ = inspect.Signature(known)  # type: ignore[attr-defined]  # read by typer
        run.__annotations__ = {one.name: one.annotation for one in known}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def option_of(stated: Stated, prefix: str = "") -> Any:
    """The annotation of typer's option for a parameter; the option is None if not given.

    A number with an uncertainty is given as text.
    """
    option = stated.parameter.option
    if option is None:
        msg = f"{stated.name} has no option"
        raise ValueError(msg)
    kind, metavar = stated.kind | None, None
    if stated.kind is Uncertain:
        kind, metavar = str | None, UNCERTAIN
    if stated.kind is bool and stated.may_be_none:
        option = f"{option}/--no-{option.removeprefix('--')}"
    text = explanation(stated.parameter, stated.default, prefix)
    return Annotated[kind, typer.Option(option, metavar=metavar, help=text)]


def explanation(parameter: Parameter, default: object, prefix: str = "") -> str:
    """The help text of the option of a parameter: meaning, unit and default."""
    text = parameter.meaning + (f" in {parameter.unit}" if parameter.unit else "")
    text = f"{prefix}: {text}" if prefix else text[:1].upper() + text[1:]
    if parameter.note:
        text += f"; {parameter.note}"
    if default is None or isinstance(default, bool):
        return f"{text}."
    shown = f"{default:g}" if isinstance(default, int | float) else str(default)
    return f"{text}. Default {shown}."


def option_name(parameter: Parameter) -> str:
    """The name of the parameter of the command for an option."""
    return (parameter.option or "").removeprefix("--").replace("-", "_")


def refuse(model: str, given: Iterable[str]) -> None:
    """Refuse options that do not apply to a model.

    Args:
        model: name of the model.
        given: the given options that do not apply, as they are typed.

    Raises:
        UsageError: there is such an option.
    """
    extra = list(given)
    if extra:
        raise UsageError(
            f"{listing(extra)} has no meaning for the model {model}",
            do="Leave it out, or choose another --model.",
        )


def typed(given: Given, of: type) -> list[str]:
    """The given fields as options of the command line."""
    stated = parameters(of)
    return [option for name in given if (option := stated[name].parameter.option) is not None]
