"""Settings files: `setup.yaml`, `channels/*.yaml`, `molexa.yaml`, as closed schemas.

An unknown key, a wrong unit or an impossible value is an error that names file, key, what was
found and what is allowed. The unit is part of the key (`length_mm`).
"""

from molexa_core.base.settings.anode import Anode, DetectorFile
from molexa_core.base.settings.channel import Channel, ChannelIon, Frame, Gates
from molexa_core.base.settings.explosion_block import Calibrated, Explosion
from molexa_core.base.settings.load import (
    load_channel,
    load_detector,
    load_explosion,
    load_project,
    load_regions,
    load_setup,
    parse_settings,
)
from molexa_core.base.settings.project import Project
from molexa_core.base.settings.region import Region
from molexa_core.base.settings.setup import Setup
from molexa_core.base.settings.virtual import VirtualExperiment

__all__ = [
    "Anode",
    "Calibrated",
    "Channel",
    "ChannelIon",
    "DetectorFile",
    "Explosion",
    "Frame",
    "Gates",
    "Project",
    "Region",
    "Setup",
    "VirtualExperiment",
    "load_channel",
    "load_detector",
    "load_explosion",
    "load_project",
    "load_regions",
    "load_setup",
    "parse_settings",
]
