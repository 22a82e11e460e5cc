"""`molexa.yaml` in the working folder: default setup, channel and weights."""

from __future__ import annotations

from molexa_core.base.settings.schema import Schema


class Project(Schema):
    """Defaults of a working folder.

    Attributes:
        setup: path of the setup file, relative to the folder.
        channel: name or path of the channel.
        weights: name or path of the network weights.
    """

    setup: str | None = None
    channel: str | None = None
    weights: str | None = None
