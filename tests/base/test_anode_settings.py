"""Settings of an anode: what cannot be is named."""

from __future__ import annotations

from typing import Any

import pytest

from molexa_core.base.errors import SettingsError
from molexa_core.base.settings import Anode, parse_settings
from tests.fakes.anodes import HEXANODE, QUAD, anode

CHANNELS = HEXANODE["channels"]
U = HEXANODE["u"]
FAULTS = [
    ({"channels": CHANNELS | {"u2": 0}}, "u2 and u1 are both channel 0"),
    ({"w": None}, "a hexanode needs the layer `w` and the channels `w1` and `w2`"),
    ({"kind": "quad"}, "a quad has no layer `w`"),
    ({"kind": "octanode"}, "kind: must be 'quad' or 'hexanode' (found 'octanode')"),
    ({"u": U | {"scale_mm_per_ns": -0.3}}, "u -> scale_mm_per_ns: must be a number above 0"),
    ({"u": U | {"time_summ_ns": 1.0}}, "unknown key (did you mean time_sum_ns,"),
    ({"u": U | {"time_sum_correction": [[0, 1]]}}, "a table needs two points or more, or none"),
    (
        {"u": U | {"time_sum_correction": [[5, 0], [1, 0]]}},
        "u -> time_sum_correction: the positions of a table must ascend",
    ),
    (
        {"v": HEXANODE["v"] | {"position_correction": [[0, 0], [1, -2]]}},
        "position_correction folds the layer",
    ),
    ({"max_method": 99}, "max_method: must be a whole number from 0 to 17 (found 99)"),
    ({"scale_of": "double"}, "'difference' or 'half_difference'"),
    ({"channels": {**CHANNELS, "mcp": 300}}, "mcp: must be a whole number from 0 to 255"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_impossible_anodes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(Anode, HEXANODE | changes, where="setup.yaml")
    assert message in str(caught.value)


def test_channels_and_layers_in_order() -> None:
    assert anode().signal_channels == (0, 1, 2, 3, 4, 5, 6)
    assert anode(QUAD).signal_channels == (0, 1, 2, 3, -1, -1, 6)
    assert len(anode(QUAD).layers) == 2
