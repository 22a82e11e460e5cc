"""Entries of the Monte-Carlo model: what a surrogate learns from.

An entry is one charge combination of one geometry in one setting: the mean momenta of the
trajectories that ended so, how sure the means are, and how many of all trajectories they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.storage.files import atomic_path

SETTINGS: Final = (
    "ln_photon_ev",
    "ln_fluence_um2",
    "ln_duration_fs",
    "rule",
    "ln_transfer_time_fs",
    "recapture",
    "shake_off",
    "double_auger",
    "focus",
)
"""Columns of `FamilyEntries.settings`."""
RULES: Final = ("neutral", "low", "full")
"""Transfer rules by their number in the column `rule`."""
FOCI: Final = ("axis", "volume")
"""By their number in the column `focus`: fluence as on the axis, or averaged over the focus."""
_TYPES: Final = {
    "numbers": torch.int8,
    "charges": torch.int8,
    "positions": torch.float32,
    "momenta": torch.float32,
    "errors": torch.float32,
    "spread": torch.float32,
    "count": torch.int32,
    "trajectories": torch.int32,
    "geometry": torch.int64,
    "molecule": torch.int64,
    "settings": torch.float32,
}


@dataclass(frozen=True)
class FamilyEntries:
    """M entries of molecules with up to N atoms; momenta and positions in atomic units.

    Atoms are the first ones of each row; what follows is padding, with zeros everywhere. All atoms
    of an entry are charged: an entry with a neutral atom cannot be measured.

    Attributes:
        numbers: [M, N] int8 atomic numbers, 0 for padding.
        charges: [M, N] int8 final charges, at least 1.
        positions: [M, N, 3] float32 bohr, about their mean.
        momenta: [M, N, 3] float32, means over the trajectories of this combination.
        errors: [M, N, 3] float32 standard errors of the means.
        spread: [M, N, 3] float32 standard deviations over the trajectories.
        count: [M] int32 trajectories that ended so.
        trajectories: [M] int32 trajectories of this geometry in this setting.
        geometry: [M] int64 number of the pair of geometry and setting.
        molecule: [M] int64 number of the molecule.
        settings: [M, 9] float32, columns as in `SETTINGS`: logarithms of photon energy (eV),
            fluence on the axis (photons per um^2) and duration (fs); number of the rule in `RULES`;
            logarithm of the transfer time (fs), NaN or -inf for at once; recapture 0 or 1; shares
            of shake-off and double Auger; number of the focus in `FOCI`.

    Raises:
        UsageError: shapes that do not fit together.
    """

    numbers: Tensor
    charges: Tensor
    positions: Tensor
    momenta: Tensor
    errors: Tensor
    spread: Tensor
    count: Tensor
    trajectories: Tensor
    geometry: Tensor
    molecule: Tensor
    settings: Tensor

    def __post_init__(self) -> None:
        m, n = self.numbers.shape
        shapes: dict[str, tuple[int, ...]] = {"charges": (m, n), "settings": (m, len(SETTINGS))}
        shapes |= dict.fromkeys(("positions", "momenta", "errors", "spread"), (m, n, 3))
        shapes |= dict.fromkeys(("count", "trajectories", "geometry", "molecule"), (m,))
        for name, shape in shapes.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise UsageError(f"{name} of the entries have the shape {found}, not {shape}")

    def __len__(self) -> int:
        """Number of entries."""
        return int(self.numbers.shape[0])

    @property
    def width(self) -> int:
        """Number of atoms with the padding."""
        return int(self.numbers.shape[1])

    @property
    def atoms(self) -> Tensor:
        """[M] number of atoms of each entry."""
        return (self.numbers > 0).sum(dim=1)

    def select(self, rows: Tensor) -> FamilyEntries:
        """These entries, by number or mask."""
        return self._map(lambda value: value[rows])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> FamilyEntries:
        """The entries on another device."""
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def narrowed(self, width: int | None = None) -> FamilyEntries:
        """Without padding that no entry needs, or padded to this width.

        Raises:
            UsageError: an entry has more atoms than that.
        """
        needed = int(self.atoms.max()) if len(self) else 0
        wanted = needed if width is None else width
        if wanted < needed:
            raise UsageError(f"entries of {needed} atoms do not fit into {wanted}")

        def fitted(value: Tensor) -> Tensor:
            missing = wanted - value.shape[1]
            if missing <= 0:
                return value[:, :wanted]
            return torch.cat([value, value.new_zeros(len(value), missing, *value.shape[2:])], 1)

        padded = {name: fitted(getattr(self, name)) for name in _PER_ATOM}
        return replace(self, **padded)

    def save(self, path: Path | str) -> None:
        """Write the entries as safetensors.

        Raises:
            OutputError: the file cannot be written.
        """
        tensors = {f.name: getattr(self, f.name).cpu().contiguous() for f in fields(self)}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, path: Path | str) -> FamilyEntries:
        """Read entries that `save` wrote.

        Raises:
            InputFileError: no such file, or not one of entries.
        """
        where = Path(path)
        try:
            tensors = load(where.read_bytes())
        except (OSError, SafetensorError) as error:
            raise InputFileError(f"entries cannot be read: {error}", where=where) from error
        if set(tensors) != set(_TYPES):
            raise InputFileError(
                "not a file of entries of the Monte-Carlo model",
                where=where,
                do="Make it anew with the generator of entries.",
            )
        return cls(**{name: value.to(_TYPES[name]) for name, value in tensors.items()})

    def _map(self, change: Any) -> FamilyEntries:
        return FamilyEntries(**{f.name: change(getattr(self, f.name)) for f in fields(self)})


_PER_ATOM: Final = ("numbers", "charges", "positions", "momenta", "errors", "spread")


def concatenate(parts: Sequence[FamilyEntries]) -> FamilyEntries:
    """All entries of several blocks, padded to the largest; numbers of geometries are kept.

    Raises:
        UsageError: no blocks.
    """
    if not parts:
        raise UsageError("no entries to put together", do="Give at least one block.")
    width = max(part.width for part in parts)
    wide = [part.narrowed(width) for part in parts]
    return FamilyEntries(
        **{f.name: torch.cat([getattr(part, f.name) for part in wide]) for f in fields(parts[0])}
    )
