"""A planar molecule whose momenta are exact: the surrogate explains what its own model made."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.uncertain import Uncertain
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments
from molexa_core.physics.mcmd.trajectories import run_trajectories
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.surrogate.xray_family import xray_prior
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, infer

CHARGES = (5, 7, 1, 1)


@pytest.mark.slow
def test_formaldehyde_is_explained() -> None:
    known = molecule("formaldehyde").geometry
    pulse = Pulse(photon_ev=1000.0, duration_fs=20.0, fluence_um2=6e11)
    model = ModelOptions(transfer="neutral", focus="axis")
    found = run_trajectories(
        known.positions[None], known.symbols, pulse, model, trajectories=6000, seed=3, workers=1
    )
    rows = (found.charges.reshape(-1, 4) == np.array(CHARGES)).all(axis=1)
    momenta = found.momenta.reshape(-1, 4, 3)[rows].astype(np.float64)
    assert len(momenta) > 100
    momenta -= momenta.mean(axis=1, keepdims=True)
    flat = momenta.reshape(len(momenta), -1)
    ions = [parse_ion(f"{s}{q}+") for s, q in zip(known.symbols, CHARGES, strict=True)]
    channel = MeasuredChannel(
        Fragments.of(ions), momenta.mean(axis=0), np.cov(flat.T) / len(momenta)
    )
    told = XrayExplosion(
        photon_ev=Uncertain(1000.0),
        duration_fs=Uncertain(20.0),
        fluence_um2=Uncertain(6e11),
        transfer="neutral",
        transfer_time_fs=Uncertain(1.0),
        recapture=False,
        shake_off=Uncertain(0.0),
        double_auger=Uncertain(0.0),
        focus="axis",
    )
    knowledge = ExplosionKnowledge(xray_prior(told), "a pulse", "told")
    answer = infer([channel], knowledge, geometry=GeometryPrior.of(known.symbols), seed=1)
    assert answer.p_value > 0.5
    assert answer.misfit.significance < 2.0
    right = pair_distances(known.positions[None])[0]
    summary = answer.distances()
    assert np.all(np.abs(summary.median - right) < 3.0 * summary.half_width)
