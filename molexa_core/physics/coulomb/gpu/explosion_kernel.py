"""The GPU kernel of explosions of point charges: its source, its argument, its block shape."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from molexa_core.base.errors import UsageError
from molexa_core.physics.coulomb.build_up import FADES, STEEPNESS
from molexa_core.physics.coulomb.explosion import (
    NODES,
    POSITION_WEIGHTS,
    STAGES,
    VELOCITY_WEIGHTS,
)
from molexa_core.physics.coulomb.kernel import ASIDE

MOST_ATOMS: Final = 30
"""Largest number of atoms of a molecule."""
INSTANT: Final = 0
COMMON: Final = 1
PER_ATOM: Final = 2
"""Kinds of the build-up: charges there at once, with one rise, with a rise for each atom."""
_PASSED: Final = 6.5
"""Behind the middle of a rise, in its widths, charges are whole to the last digit."""
_ARRAYS: Final = ("positions", "charges", "masses", "tau", "onset", "momenta")
_SHAPES: Final = ((4, 128, 5), (6, 128, 4), (8, 128, 3), (MOST_ATOMS, 128, 2))
"""By largest number of atoms: threads of a block, blocks of a multiprocessor."""
_DOUBLE: Final = 2
"""In double precision a thread needs twice the registers."""


class Launch(ctypes.Structure):
    """The argument of the kernel: `struct Launch` of the source, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        *((name, ctypes.c_int64) for name in ("total", "charge_step", "mass_step", "rise_step")),
        *((name, ctypes.c_double) for name in ("fraction", "left")),
        ("steps", ctypes.c_int32),
    ]


@dataclass(frozen=True)
class Shape:
    """One compilation of the kernel.

    Attributes:
        atoms: atoms of a molecule.
        kind: `INSTANT`, `COMMON` or `PER_ATOM`.
        double: whether it computes in double precision.
    """

    atoms: int
    kind: int
    double: bool = False

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self._cut[0]

    @property
    def defines(self) -> tuple[str, ...]:
        """Options of the compiler."""
        threads, blocks = self._cut
        blocks = max(blocks // (_DOUBLE if self.double else 1), 1)
        whole = {"ATOMS": self.atoms, "THREADS": threads, "BLOCKS": blocks, "KIND": self.kind}
        whole["DOUBLE"] = int(self.double)
        reals = {"STEEPNESS": STEEPNESS, "FADES": FADES, "PASSED": _PASSED, "ASIDE": ASIDE}
        reals |= {f"N{n}": value for n, value in enumerate(NODES[1:], start=1)}
        for stage, row in enumerate(STAGES[1:], start=2):
            reals |= {f"A{stage}{n}": value for n, value in enumerate(row, start=1)}
        reals |= {f"X{n}": value for n, value in enumerate(POSITION_WEIGHTS, start=1)}
        reals |= {f"V{n}": value for n, value in enumerate(VELOCITY_WEIGHTS, start=1)}
        # In brackets: some are negative.
        return (
            *(f"-D{name}={value}" for name, value in whole.items()),
            *(f"-D{name}=({value!r})" for name, value in reals.items()),
        )

    @property
    def _cut(self) -> tuple[int, int]:
        return next((threads, blocks) for most, threads, blocks in _SHAPES if self.atoms <= most)


def shape_for(atoms: int, kind: int, *, double: bool = False) -> Shape:
    """The compilation for these molecules.

    Raises:
        UsageError: more atoms than the kernel supports.
    """
    if not 1 <= atoms <= MOST_ATOMS:
        raise UsageError(
            f"{atoms} atoms: the GPU kernel explodes molecules of 1 to {MOST_ATOMS}",
            do="Use `device='cpu'`.",
        )
    return Shape(atoms, kind, double)


def source() -> str:
    """The complete source, with its name for the messages of the compiler."""
    name = "explosion.cu"
    return f'#line 1 "{name}"\n{Path(__file__).with_name(name).read_text(encoding="utf-8")}'
