"""Momenta, derivatives, errors and yields from the networks of the surrogate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.family import Fragments, Linearised
from molexa_core.physics.surrogate.absorption import SYMBOLS
from molexa_core.physics.surrogate.charge_network import (
    ChargeNetwork,
    Encoded,
    Predicted,
    SurrogateNetwork,
    impulses,
    log_distances,
    pair_momentum,
)
from molexa_core.physics.surrogate.covariance import distance_matrix, error_factors
from molexa_core.physics.surrogate.rises import QUICK, ROUGH, explode_rises
from molexa_core.physics.surrogate.slopes import Slopes, by_distances, by_settings

MOST_ATOMS: Final = 9
LEAST_ERROR: Final = 2e-3
"""Relative error of the momenta that is always left: nine in ten entries of the training, and of
what its errors were compared with, have statistical errors of 0.18 % or more, so that no smaller
claim was ever tested. The momentum of the whole is left out."""
ROUNDING: Final = 5e-4
"""Relative error of all components alike, which keeps covariances positive definite."""
SIZE_OF_ERROR: Final = (-0.07, 0.083, 0.77)
"""Logarithm of the factor of the claimed covariance: for five atoms and an error of `USUAL`, its
change with each further atom, and with ln of the relative error that the networks claim. What they
claim is too much where it is little and too little where it is much, and says too little of how
momenta differ from one another in large molecules. Fitted, with the tails (`xray_family`), to whole
entries of molecules that no training saw: `pipeline.evaluation.surrogate_tails`."""
SIZE_OF_YIELD_ERROR: Final = 0.89
"""Factor of the errors of yields, fitted with their tails."""
USUAL: Final = math.exp(-4.5)
CLAIMS: Final = (math.exp(-6.3), math.exp(-2.0))
"""Relative errors between which this was fitted."""
CLOSEST: Final = 0.3
"""Distance, bohr, below which two atoms are in one place."""
STEPS_END: Final = 1.4
"""Photon energy over the K edge of a neutral atom at which its last ion can lose a K electron."""
_TOGETHER: Final = 96
"""Molecules in one pass, so that what is computed stays in the processor's cache."""


@dataclass(frozen=True)
class SurrogateModel:
    """The surrogate for one processor core.

    Settings are those of `entries.FamilyEntries`.

    Attributes:
        network: its networks.
        error_factor: of the predicted errors, found on molecules that were set aside.
        yield_error_factor: of those of the yields.
        photon_ev: photon energies that it was trained at, ascending; between them it interpolates.
        weights: name and SHA-256 of the file with the numbers; none where it was not read from one.
    """

    network: SurrogateNetwork
    error_factor: float = 1.0
    yield_error_factor: float = 1.0
    photon_ev: tuple[float, ...] = ()
    weights: tuple[str, str] | None = None

    def between_tables(self, fragments: Fragments, log_energy: FloatArray) -> FloatArray:
        """(n) how far photon energies are from those of the training where that matters.

        0 at the energies of the training, 1 in the middle between two. Above the K edge of an atom
        each further charge closes its K shell at a higher photon energy: only there do charges
        and yields depend on the photon energy in steps that no neighbouring energy tells.

        Args:
            fragments: the ions.
            log_energy: (n) ln of photon energies in eV.
        """
        if len(self.photon_ev) < 2:
            return np.zeros(len(log_energy))
        known = np.log(self.photon_ev)
        inside = np.clip(log_energy, known[0], known[-1])
        right = np.clip(np.searchsorted(known, inside), 1, len(known) - 1)
        half = 0.5 * (known[right] - known[right - 1])
        apart = np.minimum(inside - known[right - 1], known[right] - inside) / half
        places = [SYMBOLS.index(symbol) for symbol in fragments.symbols if symbol != "H"]
        edges = self.network.momenta.low[places, 0].double().numpy()
        above = log_energy[:, None] - edges
        matters = ((above > 0.0) & (above < math.log(STEPS_END))).any(axis=1)
        return np.asarray(np.where(matters, apart, 0.0))

    def explode(
        self, fragments: Fragments, positions: FloatArray, settings: FloatArray
    ) -> FloatArray:
        """(n, N, 3) momenta in a.u. of positions (n, N, 3) in bohr in settings (n, 9)."""
        momenta = np.empty(positions.shape)
        with torch.no_grad(), _one_thread():
            for part in _parts(len(positions)):
                batch = _Batch(fragments, positions[part], settings[part])
                momenta[part] = batch.momenta(self.network.momenta)
        momenta[_in_one_place(positions)] = np.nan
        return momenta

    def linearise(
        self,
        fragments: Fragments,
        positions: FloatArray,
        settings: FloatArray,
        columns: tuple[int, ...],
    ) -> Linearised:
        """The same with derivatives by positions and these columns of the settings."""
        n, atoms = positions.shape[:2]
        size = 3 * atoms
        momenta = np.empty(positions.shape)
        moved, changed = np.empty((n, size, size)), np.empty((n, size, len(columns)))
        with torch.no_grad(), _one_thread():
            for part in _parts(n):
                batch = _Batch(fragments, positions[part], settings[part])
                found = batch.linearise(self.network.momenta, columns)
                momenta[part], moved[part], changed[part] = found
        momenta[_in_one_place(positions)] = np.nan
        return Linearised(momenta, moved, changed)

    def error(
        self, fragments: Fragments, positions: FloatArray, settings: FloatArray
    ) -> FloatArray:
        """(n, 3 N, 3 N) covariance of the momenta, a.u."""
        n, atoms = positions.shape[:2]
        size = 3 * atoms
        covariance = np.empty((n, size, size))
        with torch.no_grad(), _one_thread():
            for part in _parts(n):
                batch = _Batch(fragments, positions[part], settings[part])
                found = batch.predict(self.network.momenta)
                exploded = explode_rises(
                    *batch.given, *_rises(found), derivatives="rises", accuracy=ROUGH
                )
                changes = exploded.by_rises
                if changes is None:
                    continue
                changes[..., atoms:] *= found.unit.double().numpy()[:, None, None]
                base = torch.from_numpy(exploded.momenta).float()
                atom, whole = self.network.uncertainty(found)
                factors = error_factors(
                    *(atom, whole, torch.from_numpy(changes).float(), base),
                    *(batch.positions, batch.charges, batch.masses),
                )
                product = (factors @ factors.transpose(1, 2)).double().numpy()
                square = (exploded.momenta**2).mean(axis=(1, 2))
                claimed = self.error_factor**2 * product
                least = square[:, None, None] * _least(atoms)
                factor = _size(claimed + least, square)[:, None, None]
                # What is always left is no claim of the networks: it becomes no smaller.
                covariance[part] = claimed * factor + least * np.maximum(factor, 1.0)
                covariance[part] += square[:, None, None] * ROUNDING**2 * np.eye(size)
        covariance[_in_one_place(positions)] = np.nan
        return covariance

    def log_yield(
        self, fragments: Fragments, positions: FloatArray, settings: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(n) ln of the share of the explosions, and its standard error."""
        share, error = np.empty(len(positions)), np.empty(len(positions))
        with torch.no_grad(), _one_thread():
            for part in _parts(len(positions)):
                batch = _Batch(fragments, positions[part], settings[part])
                found = batch.predict(self.network.yields)
                share[part] = self.network.shares(found)[0].double().numpy()
                error[part] = self.network.share_errors(found).exp().double().numpy()
        return share, error * self.yield_error_factor * SIZE_OF_YIELD_ERROR

    def spread(
        self, fragments: Fragments, positions: FloatArray, settings: FloatArray
    ) -> FloatArray:
        """(n, N) standard deviation over explosions of each momentum, rms over directions.

        Relative to the rms over atoms and directions of the mean momenta.
        """
        spread = np.empty(positions.shape[:2])
        with torch.no_grad(), _one_thread():
            for part in _parts(len(positions)):
                batch = _Batch(fragments, positions[part], settings[part])
                found = batch.predict(self.network.yields)
                spread[part] = self.network.shares(found)[1].exp().double().numpy()
        return spread


_Key = tuple[int, tuple[str, ...], tuple[float, ...], bytes]
_Place = tuple[_Key, bytes, bytes]
K = TypeVar("K")
V = TypeVar("V")


class _Kept(Generic[K, V]):
    """What was computed last, since searches ask for several things of the same molecules.

    The network itself is kept as well, so that its number stays its own.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[K, tuple[ChargeNetwork, V]] = {}

    def get(self, key: K) -> V | None:
        found = self._found.get(key)
        return None if found is None else found[1]

    def put(self, key: K, model: ChargeNetwork, value: V) -> V:
        while len(self._found) >= self._most:
            self._found.pop(next(iter(self._found)), None)
        self._found[key] = model, value
        return value


_ENCODED_ONE: Final[_Kept[_Key, Encoded]] = _Kept(64)
"""Of one setting, which a search may ask for all the time."""
_ENCODED: Final[_Kept[_Key, Encoded]] = _Kept(12)
"""Of several settings."""
_PREDICTED: Final[_Kept[_Place, Predicted]] = _Kept(36)
_MOMENTA: Final[_Kept[_Place, FloatArray]] = _Kept(36)


class _Batch:
    """Molecules of one kind, for one pass."""

    def __init__(self, fragments: Fragments, positions: FloatArray, settings: FloatArray) -> None:
        require_covered(fragments)
        self.given = (positions, fragments.charges, fragments.masses)
        n = len(positions)
        rows, which = _different(settings)
        self.symbols = fragments.symbols
        self.settings_key = rows.tobytes()
        self.places = which.tobytes(), positions.tobytes()
        self.elements = torch.tensor([[SYMBOLS.index(s) for s in fragments.symbols]])
        self.elements = self.elements.expand(len(rows), -1)
        charges = torch.from_numpy(fragments.charges).float()
        self.rows = torch.from_numpy(rows).float()
        self.which = torch.from_numpy(which)
        self.few_charges = charges.expand(len(rows), -1)
        self.charges = charges.expand(n, -1)
        self.masses = torch.from_numpy(fragments.masses).float().expand(n, -1)
        self.positions = torch.from_numpy(np.ascontiguousarray(positions)).float()
        self.log_distance = log_distances(self.positions)

    def encode(self, model: ChargeNetwork) -> Encoded:
        few = self._encode_few(model)
        if len(self.rows) == 1:
            n = len(self.which)
            return Encoded(
                few.atoms.expand(n, -1, -1),
                few.pairs.expand(n, -1, -1, -1),
                few.start.expand(n, -1, -1),
                few.window.expand(n),
            )
        return Encoded(
            few.atoms[self.which],
            few.pairs[self.which],
            few.start[self.which],
            few.window[self.which],
        )

    def _key(self, model: ChargeNetwork) -> _Key:
        charges = tuple(self.few_charges[0].tolist())
        return id(model), self.symbols, charges, self.settings_key

    def _encode_few(self, model: ChargeNetwork) -> Encoded:
        """Of the settings that differ."""
        kept = _ENCODED if len(self.rows) > 1 else _ENCODED_ONE
        found = kept.get(key := self._key(model))
        if found is None:
            found = model.encode(self.elements, self.few_charges, self.rows)
            kept.put(key, model, found)
        return found

    def predict(self, model: ChargeNetwork) -> Predicted:
        found = _PREDICTED.get(key := (self._key(model), *self.places))
        if found is None:
            found = _PREDICTED.put(key, model, model(self.encode(model), self.log_distance))
        return found

    def momenta(self, model: ChargeNetwork) -> FloatArray:
        kept = _MOMENTA.get(key := (self._key(model), *self.places))
        if kept is None:
            found = self.predict(model)
            exploded = explode_rises(*self.given, *_rises(found), accuracy=QUICK)
            kept = _MOMENTA.put(key, model, exploded.momenta + self.added(found).numpy())
        return kept

    def added(self, found: Predicted) -> Tensor:
        return impulses(found.impulse, self.positions, self.charges, self.masses)

    def linearise(
        self, model: ChargeNetwork, columns: tuple[int, ...]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        found, near = by_distances(model, self.encode(model), self.log_distance)
        key = (self._key(model), *self.places)
        _PREDICTED.put(key, model, found)
        exploded = explode_rises(*self.given, *_rises(found), derivatives="all", accuracy=QUICK)
        moved, risen = exploded.by_positions, exploded.by_rises
        if moved is None or risen is None:  # the engine was asked for both
            raise AssertionError
        n, atoms = self.positions.shape[:2]
        size = 3 * atoms
        one, two = torch.triu_indices(atoms, atoms, 1)
        distance = distance_matrix(self.positions)
        apart = self.positions.unsqueeze(2) - self.positions.unsqueeze(1)
        unit = apart / distance.unsqueeze(-1)
        along = (unit / distance.unsqueeze(-1))[:, one, two]  # of ln r by the first atom
        place = torch.arange(len(one))
        by_atom = torch.zeros(n, len(one), atoms, 3)
        by_atom[:, place, one] = along
        by_atom[:, place, two] = -along
        strength = pair_momentum(self.charges, self.masses, distance)
        kick = strength.unsqueeze(-1) * unit
        # The impulse itself, at fixed strength of the network: c r^(-3/2) d.
        c = (found.impulse * strength / distance)[..., None, None]
        turn = c * (torch.eye(3) - 1.5 * unit.unsqueeze(-1) * unit.unsqueeze(-2))
        turn[:, torch.arange(atoms), torch.arange(atoms)] = 0.0
        own = -turn.permute(0, 1, 3, 2, 4).contiguous()
        own[:, torch.arange(atoms), :, torch.arange(atoms)] += turn.sum(dim=2).transpose(0, 1)

        def chain(slopes: Slopes) -> Tensor:
            """[n, 3 N, K] momenta by whatever the slopes are by."""
            rises = torch.cat([slopes.log_tau, slopes.middle], dim=1)
            through = torch.from_numpy(risen).float() @ rises
            kicked = torch.einsum("bijk,bijc->bick", slopes.impulse, kick)
            return through + kicked.reshape(n, size, -1)

        total = chain(near) @ by_atom.reshape(n, len(one), size) + own.reshape(n, size, size)
        changed = np.zeros((n, size, 0))
        if columns:
            far = by_settings(
                model, self.elements, self.few_charges, self.rows, self.which, self.log_distance,
                columns,
            )  # fmt: skip
            changed = chain(far).double().numpy()
        momenta = exploded.momenta + self.added(found).double().numpy()
        _MOMENTA.put(key, model, momenta)
        return momenta, moved + total.double().numpy(), changed


def size_of_error(claimed: FloatArray, atoms: int) -> FloatArray:
    """Factor of the claimed covariance, see `SIZE_OF_ERROR`.

    Args:
        claimed: rms claimed error over rms momentum.
        atoms: their number.
    """
    middle, by_atom, by_claim = SIZE_OF_ERROR
    beyond = np.log(np.clip(claimed, *CLAIMS) / USUAL)
    return np.exp(middle + by_atom * (atoms - 5) + by_claim * beyond)


def require_covered(fragments: Fragments) -> None:
    """Check that the surrogate was trained on such fragments.

    Raises:
        UsageError: other elements, too many atoms, or charges that are none of ions.
    """
    unknown = [symbol for symbol in dict.fromkeys(fragments.symbols) if symbol not in SYMBOLS]
    if unknown:
        raise UsageError(
            f"the surrogate of the Monte-Carlo model does not know {listing(unknown)}",
            do=f"It knows {listing(SYMBOLS)}; describe the explosion as a build-up of the charges.",
        )
    if not 2 <= len(fragments) <= MOST_ATOMS:
        raise UsageError(
            f"the surrogate of the Monte-Carlo model is for 2 to {MOST_ATOMS} atoms, not for "
            f"{len(fragments)}",
            do="Describe the explosion as a build-up of the charges.",
        )
    for symbol, charge in zip(fragments.symbols, fragments.charges.tolist(), strict=True):
        if charge != int(charge) or not 1 <= charge <= ELEMENTS[symbol].number:
            raise UsageError(
                f"{symbol} with a charge of {charge:g}: in the Monte-Carlo model each fragment is "
                "an ion with 1 to all of its electrons taken"
            )


def _least(atoms: int) -> FloatArray:
    """(3 N, 3 N) smallest covariance, of momenta of rms 1."""
    apart = (np.eye(atoms) - 1.0 / atoms) * atoms / (atoms - 1)
    least = LEAST_ERROR**2 * np.kron(apart, np.eye(3))
    return np.asarray(least)


def _size(claimed: FloatArray, square: FloatArray) -> FloatArray:
    """(n) factor of covariances (n, 3 N, 3 N), from mean squares (n) of momenta."""
    size = claimed.shape[1]
    relative = np.sqrt(np.trace(claimed, axis1=1, axis2=2) / (size * square.clip(1e-300)))
    return size_of_error(relative, size // 3)


def _different(settings: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The settings that differ, and which of them each row is."""
    if len(settings) and (settings == settings[:1]).all():
        return settings[:1], np.zeros(len(settings), dtype=np.int64)
    rows, which = np.unique(settings, axis=0, return_inverse=True)
    return rows, which.reshape(-1).astype(np.int64)


def _rises(found: Predicted) -> tuple[FloatArray, FloatArray]:
    middle = found.middle * found.unit.unsqueeze(1)
    return found.log_tau.double().numpy(), middle.double().numpy()


def _in_one_place(positions: FloatArray) -> FloatArray:
    one, two = np.triu_indices(positions.shape[1], 1)
    r2 = ((positions[:, one] - positions[:, two]) ** 2).sum(axis=2).min(axis=1)
    return np.asarray(~(r2 > CLOSEST**2))


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, _TOGETHER):
        yield slice(start, start + _TOGETHER)


class _one_thread:  # noqa: N801  (used as a context, like a function)
    """Compute with one thread: for such small arrays threads mostly wait for each other."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
