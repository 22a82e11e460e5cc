"""Names, shapes and units of all fields in molexa's files, each stated once.

Column names are part of the file contracts (docs/files.md); code refers to these constants.
"""

from __future__ import annotations

from typing import Final

# --- channel.csv: one row per ion -----------------------------------------------------------
ION: Final = "ion"
"""Ion notation, such as `O+`."""
MOMENTUM: Final = ("px", "py", "pz")
"""Mean momentum components, a.u."""
MOMENTUM_ERROR: Final = ("px_err", "py_err", "pz_err")
"""Standard errors of the means, a.u."""
COUNT: Final = "count"
"""Effective number of coincidences behind the row."""
LABEL: Final = "label"
"""Free text that distinguishes like ions, such as `H+ #2`."""

# --- events.h5 and aligned.h5 ----------------------------------------------------------------
EVENT_GROUP: Final = "events"
EVENT_ID: Final = "event_id"
"""(n) int64, identifies the coincidence; repeated where an event enters with several
assignments of like ions (aligned tables only)."""
EVENT_MOMENTUM: Final = "momentum"
"""(n, ions, 3) float, a.u."""
EVENT_ION: Final = "ion"
"""(ions) strings."""
EVENT_DETECTOR: Final = {"tof_ns": "ns", "x_mm": "mm", "y_mm": "mm"}
"""(n, ions) float, what the detector measured of each ion, by name with its unit: time of flight
with the time zero removed, position with the centre removed, rotated and scaled as calibrated."""
EVENT_WEIGHT: Final = "weight"
"""(n) float, aligned tables: 1 / number of equivalent assignments of the event."""
FALSE_GROUP: Final = "false"
"""Group of the false coincidences, built from hits of different shots, with the columns of
`EVENT_GROUP` and `EVENT_SOURCE`; the weight is the expected number of false coincidences that a row
stands for, negative where it corrects others."""
EVENT_SOURCE: Final = "source"
"""(n, ions) int64, false coincidences only: shot from which the hit of each ion was taken."""
EVENT_TAG: Final = "tag"
"""Group of per-event tags: `shot`, and delay, pulse energy, ... where the run has them."""
TAG_SHOT: Final = "shot"
"""(n) int64, number of the shot in the run (in the order of the files given)."""
TAG_RUN: Final = "run"
"""(n) int64, number of the run among those that were joined."""
TAG_HITS: Final = "hits"
"""(n) int64, hits of the shot that can be ions."""
TAG_PROBABILITY: Final = "probability"
"""That the hits of a coincidence have these roles; see docs/coincidences.md."""
TAG_TIMESTAMP: Final = "timestamp"
"""(n) float, s, time of the shot as the acquisition stamped it."""
TAG_BUNCH: Final = "bunchmarker"
"""(n) float, ns, time of the light pulse within the acquisition's window."""
TAG_SCAN: Final = "scanval"
"""Prefix of values that are scanned (Cobold's parameters 901 ...): `scanval0`, ..."""
TAG_TRAIN: Final = "train_id"
TAG_PULSE: Final = "pulse_id"
TAG_FEL: Final = "fel"
"""(n) 1 where the free-electron laser fired."""
TAG_PUMP: Final = "pump_laser"
"""(n) 1 where the pump laser fired."""
TAG_PULSE_ENERGY: Final = "pulse_energy_uj"
TAG_DELAY: Final = "delay_fs"
"""(n) float, pump-probe delay."""
TAG_TURN: Final = ("turn_x", "turn_y", "turn_z")
"""(n) float, rad, rotation vector from the laboratory to the molecular frame (partial channels)."""
TAG_UNITS: Final = {
    TAG_TIMESTAMP: "s",
    TAG_BUNCH: "ns",
    TAG_PULSE_ENERGY: "uJ",
    TAG_DELAY: "fs",
    **dict.fromkeys(TAG_TURN, "rad"),
}
"""Units of tags whose meaning is known; others have an empty unit."""
META: Final = "meta"
WARNINGS: Final = "warnings"
UNITS: Final = "units"
"""HDF5 attribute on each dataset."""
PROVENANCE: Final = "provenance"
"""HDF5 attribute of `meta`, JSON of `base.storage.provenance.Provenance`."""
FORMAT: Final = "format"
FORMAT_VERSION: Final = 1
SHOTS: Final = "shots"
"""Group with one row per shot of the run, those without a coincidence included: `shots/NAME
(shots)` of every tag. It says how many shots were taken under a condition."""
GATES: Final = "gates"
"""Name in `meta`, and key in settings of provenance: every gate that was applied, in order, with
the rows it saw and kept."""
SPECTRA: Final = "spectra"
"""Group of histograms: `spectra/NAME/{counts, edges0, edges1}`, attributes `labels`, `units`,
`marks` (JSON)."""

# --- spectra that `reduce` stores ------------------------------------------------------------
SPECTRUM_TOF: Final = "tof"
SPECTRUM_IMAGE: Final = "detector_image"
SPECTRUM_PIPICO: Final = "pipico"
SPECTRUM_SUM: Final = ("momentum_sum_x", "momentum_sum_y", "momentum_sum_z")
SPECTRUM_KER: Final = "ker"

# --- truth.h5 of a virtual run -----------------------------------------------------------------
TRUTH_MOLECULES: Final = "molecules"
"""Group with one row per exploded molecule."""
TRUTH_HITS: Final = "hits"
"""Group with one row per hit of the run, in the order of the run."""
TRUTH_EQUILIBRIUM: Final = "equilibrium"
"""Group with the equilibrium geometry, one row per ion."""
TRUTH_POSITION: Final = "position"
"""(n, ions, 3) or (ions, 3) float, bohr."""
TRUTH_ELEMENT: Final = "element"
"""(ions) strings."""
TRUTH_CHARGE: Final = "charge"
"""(n, ions) int8, final charge of each atom, 0 for one that stayed neutral."""
TRUTH_DETECTED: Final = "detected"
"""(n, ions) whether the ion gave a hit that is in the run."""
TRUTH_MOLECULE: Final = "molecule"
"""(hits) int64, row of the molecule that the hit came from, -1 for background."""

# --- data sets of simulated explosions: shards and packs ---------------------------------------
DATASET_KIND: Final = "dataset"
"""Attribute `kind` of `meta`."""
KIND: Final = "kind"
RECIPE_DIGEST: Final = "recipe"
"""Attribute of `meta`: digest of the recipe."""
BLOCKS: Final = "blocks"
"""Group with one row per block of geometries that were computed together."""
MOLECULES: Final = "molecules"
"""Group with one row per molecule, `number` ragged over its atoms."""
GEOMETRIES: Final = "geometries"
"""Group with one row per exploded geometry, `position` ragged over its atoms."""
ENTRIES: Final = "entries"
"""Group with one row per combination of charges, `charge`, `momentum`, `error` ragged."""
NAME: Final = "name"
DIGEST: Final = "digest"
BLOCK: Final = "block"
MOLECULE: Final = "molecule"
ATOMS: Final = "atoms"
ATOMIC_NUMBER: Final = "number"
VARIATION: Final = "variation"
"""(geometries) int32, number of the variation within its molecule."""
VARIATION_KIND: Final = "kind"
"""(geometries) uint8, place in `VARIATION_KINDS`."""
VARIATION_KINDS: Final = ("equilibrium", "displaced", "zero-point", "thermal", "trajectory")
DISPLACED: Final = "displaced"
"""(geometries) uint8, number of displaced atoms."""
POSITION: Final = "position"
TRAJECTORIES: Final = "trajectories"
COMBINATIONS: Final = "combinations"
"""(geometries) int32, number of charge combinations that occurred."""
NEUTRAL: Final = "neutral"
LOST: Final = "lost"
NOT_COUNTED: Final = -1
"""Value of `LOST` where lost explosions were not counted, but are among the others."""
"""(geometries) int64, explosions in which an atom stayed neutral."""
PHOTONS: Final = "photons"
"""(geometries) float32, mean number of photons absorbed."""
GEOMETRY: Final = "geometry"
CHARGE: Final = "charge"
ERROR: Final = "error"
"""Standard error of each mean momentum component, a.u."""
SPLIT: Final = "split"
"""(entries) uint8, place in `SPLITS`."""
SPLITS: Final = ("train", "validation", "test", "set_aside")
HELD_OUT: Final = "held_out"
"""(molecules) whether the second split holds this molecule out."""

# --- channels.h5: every combination of charges of one geometry ---------------------------------
CHANNELS_KIND: Final = "channels"
COVARIANCE: Final = "covariance"
"""(combinations, atoms, 3, 3) of each ion's momentum over explosions, a.u.^2."""
CHARGE_STATES: Final = "charge_states"
"""(atoms, charges) explosions in which the atom ended with this charge."""
SPREAD: Final = "spread"
"""Standard deviation of each momentum component over explosions, a.u."""
RELEASE: Final = "release"
"""Mean kinetic energy release, hartree."""
RELEASE_SPREAD: Final = "release_spread"

SCATTER: Final = "scatter_au"
"""Standard deviation of a momentum component of each ion in single events, beside the energies of a
table of mean momenta."""
FRAME: Final = "frame"
"""Settings of the molecular frame: in `meta` of aligned events, in the settings of a record of
provenance, in the `attrs` of a table of mean momenta."""

# --- what is known about the explosion ---------------------------------------------------------
EXPLOSION: Final = "explosion"
"""Block of `setup.yaml`, of a file of its own, of the settings in a record of provenance, of the
`attrs` of a table of momenta, and of `geom.json`."""

# --- structures of single events -----------------------------------------------------------------
STRUCTURES: Final = "structures"
"""Group of `structures.h5`."""

# --- mean momenta --------------------------------------------------------------------------------
ENERGY: Final = "energy"
PARTIAL: Final = "partial"
"""In the `attrs` of a table of momenta and a comment of `channel.csv`: kinetic energy release of
the means over the mean one."""
