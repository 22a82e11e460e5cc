"""Completion of a command line by the shell: options, channels, molecules, weights, columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, get_type_hints

import typer

from molexa_cli.app import ASKED
from molexa_cli.declared import declared, leaves

SHELLS: Final = ("bash", "zsh", "fish")
_BASH: Final = """_molexa_completion() {
  local IFS=$'\\n' place
  COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
    _MOLEXA_COMPLETE=complete_bash $1 2>/dev/null ) )
  case "${COMP_WORDS[COMP_CWORD]}" in
    [\\'\\"]*) ;;
    *) for place in "${!COMPREPLY[@]}"; do
         printf -v "COMPREPLY[$place]" %q "${COMPREPLY[$place]}"
       done ;;
  esac
  return 0
}
complete -o default -F _molexa_completion molexa
"""
_ZSH: Final = """#compdef molexa
_molexa_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" \\
    _MOLEXA_COMPLETE=complete_zsh molexa 2>/dev/null)
}
compdef _molexa_completion molexa
"""
_FISH: Final = """complete --command molexa --no-files --arguments \\
  "(env _MOLEXA_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
  _TYPER_COMPLETE_ARGS=(commandline -cp) molexa 2>/dev/null)" \\
  --condition "env _MOLEXA_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=is-args \\
  _TYPER_COMPLETE_ARGS=(commandline -cp) molexa 2>/dev/null"
"""
SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
Source = Callable[[str], Iterable[str]]


def asked() -> bool:
    """Whether a shell asks for completions, not a person for a command."""
    return ASKED in os.environ


def teach(app: typer.Typer) -> None:
    """Tell the parameters of all commands where their values come from."""
    for words, command in leaves(app):
        # Annotations written as text would be made anew by typer, without what is told here.
        command.callback.__annotations__ = get_type_hints(command.callback, include_extras=True)
        for one in declared(command.callback):
            source = _source(words, one.name, one.options)
            if source is not None and one.info.autocompletion is None:
                one.info.autocompletion = _beginning(source)


def _source(words: tuple[str, ...], name: str, options: tuple[str, ...]) -> Source | None:
    if options:
        return _BY_OPTION.get(options[0])
    return _BY_ARGUMENT.get((*words, name))


def _beginning(source: Source) -> Callable[[str], list[str]]:
    def values(incomplete: str) -> list[str]:
        return [value for value in source(incomplete) if value.startswith(incomplete)]

    return values


def _channels(incomplete: str) -> Iterable[str]:
    from molexa_core.base.storage.resources import available

    return [*sorted(available("channels", ".yaml")), *_files(incomplete, ".yaml")]


def _molecules(incomplete: str) -> Iterable[str]:
    from molexa_core.physics.molecules.library import molecule_names

    return [*molecule_names(), *_files(incomplete, ".xyz")]


def _weights(incomplete: str) -> Iterable[str]:
    from molexa_core.base.storage.resources import available

    return [*sorted(available("weights", ".json")), *_files(incomplete, ".json")]


def _recipes(incomplete: str) -> Iterable[str]:
    from molexa_core.base.storage.resources import available

    return [*sorted(available("templates", ".yaml")), *_files(incomplete, ".yaml")]


def _figures(incomplete: str) -> Iterable[str]:
    from molexa_core.pipeline.chain.plot import PLOTS

    del incomplete
    return PLOTS


def _setups(incomplete: str) -> Iterable[str]:
    return _files(incomplete, ".yaml")


def _files(incomplete: str, suffix: str) -> list[str]:
    """Folders, and files with a suffix, that begin with what was typed."""
    folder = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        f"{path}/" if path.is_dir() else str(path)
        for path in entries
        if not path.name.startswith(".") and (path.is_dir() or path.suffix == suffix)
    ]


def _columns(incomplete: str) -> Iterable[str]:
    """Columns of the runs, or observables of the coincidences, that are named so far."""
    from molexa_core.base.errors import MolexaError
    from molexa_core.io.column_list import columns_of

    del incomplete
    typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    found: list[str] = []
    for word in typed.split():
        if Path(word).is_file():
            with suppress(MolexaError):
                found += _observables(word) or columns_of(word)
    return found


def _observables(path: str) -> list[str]:
    """Observables and tags of a file of coincidences; none of other files."""
    from molexa_core.base.errors import MolexaError
    from molexa_core.base.tables import ion_labels
    from molexa_core.io.results.events import EventsFile
    from molexa_core.observables.catalogue import CATALOGUE

    try:
        events = EventsFile(path)
    except MolexaError:
        return []
    whole = [one.name for one in CATALOGUE.values() if one.ions == 0]
    of_ion = [one.name for one in CATALOGUE.values() if one.ions == 1]
    labels = ion_labels(events.ions)
    return [*whole, *(f"{name}({ion})" for name in of_ion for ion in labels), *events.none.tags]


_BY_OPTION: Final[Mapping[str, Source]] = {
    "--channel": _channels,
    "--weights": _weights,
    "--init": _weights,
    "--setup": _setups,
    "--recipe": _recipes,
    "--geometry": _molecules,
    "--truth": _molecules,
} | dict.fromkeys(("--x", "--y", "--time", "--shot", "--count", "--tag"), _columns)
_BY_ARGUMENT: Final[Mapping[tuple[str, ...], Source]] = {
    ("mock", "channel"): _channels,
    ("simulate", "geometry"): _molecules,
    ("molecules", "name"): _molecules,
    ("new", "channel", "what"): _molecules,
    ("new", "project", "what"): _molecules,
    ("new", "recipe", "molecules"): _molecules,
    ("score", "known"): _molecules,
    ("score", "structure"): _molecules,
    ("compare", "first"): _molecules,
    ("compare", "second"): _molecules,
    ("plot", "what"): _figures,
    ("weights", "show", "name"): _weights,
    ("weights", "verify", "name"): _weights,
}
