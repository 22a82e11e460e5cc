"""Limits of a channel: is the break-up complete, and can the network reconstruct its ions?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from molexa_core.base.errors import InputFileError, MolexaError, listing
from molexa_core.base.fields import WARNINGS
from molexa_core.base.settings import Channel, parse_settings
from molexa_core.base.storage.provenance import Provenance
from molexa_core.network.config import ELEMENTS, MOLEXA
from molexa_core.physics.molecules.library import molecule

_DO = (
    "A structure needs the momenta of all ions: `molexa centroid` finds their means in the events "
    "of a partial channel, or reduce the run with a channel that asks for all ions (leave out "
    "`detected`)."
)


def require_complete(
    channel: Channel | None, where: object, *, ions: Sequence[object] | None = None
) -> None:
    """Check that there is every ion of the break-up of a channel.

    Args:
        channel: the channel, None if it is not known.
        where: the file, for the message.
        ions: the ions that are there; those that an event of the channel has if None.

    Raises:
        InputFileError: ions are missing; the momenta of some of the ions do not determine a
            molecule.
    """
    if channel is None or channel.is_complete:
        return
    if ions is not None and sorted(map(str, ions)) == sorted(map(str, channel.all_ions)):
        return
    missing = [
        f"{entry.wanted} of {entry.count} {entry.ion}"
        for entry in channel.ions
        if entry.wanted < entry.count
    ]
    raise InputFileError(
        f"the events are of the partial channel {channel.name} ({listing(missing)} per event); "
        "they are not the momenta of a whole molecule",
        where=where,
        do=_DO,
    )


def channel_of_record(record: Provenance | None) -> Channel | None:
    """The channel of the events from which a file was made, if its provenance records it."""
    if record is None:
        return None
    for step in (record.own_record(), *reversed(record.history)):
        settings = step.get("settings")
        values = settings.get("channel") if isinstance(settings, Mapping) else None
        if isinstance(values, Mapping):
            try:
                return parse_settings(Channel, dict(values), where="provenance")
            except MolexaError:
                return None
    return None


def beyond_network(channel: Channel) -> list[str]:
    """Sentences on ions of a channel that cannot be reconstructed later."""
    ions = channel.all_ions
    most = MOLEXA.network.max_atoms
    found = []
    molecular = sorted({str(ion) for ion in ions if not ion.is_atomic})
    strange = sorted({ion.element.symbol for ion in ions if ion.is_atomic} - set(ELEMENTS))
    if molecular:
        found.append(f"{listing(molecular)} is a molecule, only atomic ions can be reconstructed")
    if strange:
        found.append(f"the network does not know {listing(strange)}, only {listing(ELEMENTS)}")
    if len(ions) > most:
        found.append(f"there are {len(ions)} ions, the network takes up to {most}")
    return found


def other_molecule(channel: Channel) -> str | None:
    """A sentence if the ions of a channel are not the atoms of the molecule that it names.

    Also if there is no shipped molecule of this name.
    """
    if channel.molecule is None:
        return None
    try:
        symbols = molecule(channel.molecule).geometry.symbols
    except MolexaError as error:
        return (
            f"channel {channel.name} names the molecule {channel.molecule}: {error.what}; its ions "
            "cannot be compared with it: correct `molecule`, or leave it out if it does not ship"
        )
    atoms = Counter(symbols)
    ions: Counter[str] = Counter()
    for ion in channel.all_ions:
        for element, count in ion.elements:
            ions[element.symbol] += count
    if ions == atoms:
        return None
    lacking = listing(f"{n} {symbol}" for symbol, n in sorted((atoms - ions).items()))
    more = listing(f"{n} {symbol}" for symbol, n in sorted((ions - atoms).items()))
    if not ions - atoms:
        return (
            f"channel {channel.name} lacks {lacking} for its molecule {channel.molecule}: what is "
            "not detected belongs into the channel too, with `count` and `detected`, or a "
            "structure is wrong"
        )
    lacks = f" and lacks {lacking}" if atoms - ions else ""
    return (
        f"channel {channel.name} has {more} too many{lacks} for its molecule {channel.molecule}: "
        "no break-up of it gives these ions; correct `ions` or `molecule` of the channel"
    )


def inherited(meta: Mapping[str, Any]) -> list[str]:
    """The warnings of earlier stages in the metadata of events."""
    stored = meta.get(WARNINGS)
    return [str(text) for text in stored] if isinstance(stored, list | tuple) else []
