"""A channel that a call is given: an object, a name, a file, a formula, or ions."""

from __future__ import annotations

from pathlib import Path

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.settings import Channel, load_channel, load_project
from molexa_core.pipeline.starting.new_channel import described_channel


def channel(
    what: Channel | str | Path | None = None, *, ions: str | None = None, charge: int = 1
) -> Channel:
    """The ions that are looked for.

    Args:
        what: a channel by name or file; a molecule (`ocs`), a formula (`CH3OH`), an XYZ file, or
            ions (`O+ C+ 2 H+`); that of `molexa.yaml` if not given.
        ions: the ions, where they are not all atoms with `charge`.
        charge: of every atom of a molecule, formula or structure.

    Raises:
        InputFileError: no such channel, molecule, formula, file or ions.
        SettingsError: ions that cannot be a channel.

    Example:
        >>> [str(ion) for ion in channel("O+ C+ S+").all_ions]
        ['O+', 'C+', 'S+']
    """
    if isinstance(what, Channel):
        return what
    if what is None:
        what = load_project().channel
        if what is None:
            raise UsageError("no channel is given", do="Give `channel=`, or make molexa.yaml.")
    if not isinstance(what, str | Path):
        raise UsageError(f"no channel: {type(what).__name__}", do="Give its name or its ions.")
    if ions is None and charge == 1 and "+" not in str(what):
        try:
            return load_channel(str(what))
        except InputFileError as missing:
            if Path(what).exists() and Path(what).suffix.lower() != ".xyz":
                raise
            first = missing
    else:
        first = None
    try:
        return described_channel(str(what), ions=ions, charge=charge)
    except InputFileError as error:
        raise first or error from error
