"""Units and constants: molexa computes in atomic units and converts on input and output.

Values: CODATA 2022 recommended values. All physical constants of molexa are defined here.
Multiply by `X_Y` to convert from atomic units of X to Y: `energy_ev = energy_hartree * HARTREE_EV`.
"""

from __future__ import annotations

from typing import Final

BOHR_ANGSTROM: Final = 0.529177210544
"""Length: 1 bohr in angstrom."""
BOHR_MM: Final = BOHR_ANGSTROM * 1e-7
"""Length: 1 bohr in millimetre."""
BOHR2_BARN: Final = BOHR_ANGSTROM**2 * 1e8
"""Area: 1 bohr^2 in barn."""
HARTREE_EV: Final = 27.211386245981
"""Energy: 1 hartree in electronvolt."""
HARTREE_JOULE: Final = 4.3597447222060e-18
"""Energy: 1 hartree in joule."""
ATOMIC_TIME_FS: Final = 0.024188843265864
"""Time: 1 atomic unit in femtosecond."""
ATOMIC_TIME_NS: Final = ATOMIC_TIME_FS * 1e-6
"""Time: 1 atomic unit in nanosecond."""
ATOMIC_VELOCITY_MM_NS: Final = 2.18769126216
"""Velocity: 1 atomic unit in mm/ns."""
ATOMIC_VELOCITY_M_S: Final = 2.18769126216e6
"""Velocity: 1 atomic unit in m/s."""
ATOMIC_FIELD_V_CM: Final = 5.14220675112e9
"""Electric field: 1 atomic unit in V/cm."""
ATOMIC_MOMENTUM_SI: Final = 1.99285191545e-24
"""Momentum: 1 atomic unit in kg m/s."""
DALTON_ME: Final = 1.0 / 5.485799090441e-4
"""Mass: 1 dalton in electron masses (atomic units of mass)."""
BOLTZMANN_HARTREE_K: Final = 3.1668115634564e-6
"""Boltzmann constant in hartree per kelvin."""
WAVENUMBER_HARTREE: Final = 4.5563352529132e-6
"""Energy of 1/cm in hartree."""
FINE_STRUCTURE: Final = 7.2973525643e-3
"""Fine-structure constant."""

ACCELERATION_MM_NS2: Final = ATOMIC_VELOCITY_MM_NS / ATOMIC_TIME_NS / ATOMIC_FIELD_V_CM
"""Acceleration in mm/ns^2 of charge 1 and mass 1 (atomic units) in a field of 1 V/cm."""
CYCLOTRON_RAD_NS: Final = 1.75882000838e-2
"""Cyclotron frequency in rad/ns of charge 1 and mass 1 (atomic units) in 1 gauss: e / m_e."""
