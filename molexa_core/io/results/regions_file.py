"""Files of named regions: `regions.yaml`, and copies of a channel with further regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from molexa_core.base.settings import Channel, Region
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.provenance import REGIONS_MARK, Provenance


def write_regions(path: Path | str, regions: Mapping[str, Region], provenance: Provenance) -> None:
    """Write a file of regions.

    Raises:
        OutputError: the file cannot be written.
    """
    _write(path, {"regions": {name: plain(one) for name, one in regions.items()}}, provenance)


def write_channel(path: Path | str, channel: Channel, provenance: Provenance) -> None:
    """Write a channel with its regions.

    Raises:
        OutputError: the file cannot be written.
    """
    _write(path, channel.model_dump(mode="json", exclude_defaults=True), provenance)


def plain(region: Region) -> dict[str, object]:
    """A region as plain values, as it is written in YAML."""
    return region.model_dump(mode="json", exclude_defaults=True)


def block_of(name: str, region: Region) -> str:
    """The YAML block of one region."""
    return _dumped({"regions": {name: plain(region)}})


def _write(path: Path | str, values: object, provenance: Provenance) -> None:
    text = f"{REGIONS_MARK}{provenance.to_json()}\n{_dumped(values)}"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=UNWRITABLE)


def _dumped(values: object) -> str:
    text: str = yaml.safe_dump(
        values, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100
    )
    return text
