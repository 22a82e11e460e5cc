"""The network of the surrogate: from fragments, setting and distances to how charges rise.

Two parts. The encoder sees elements, charges and the setting, not the geometry: a small transformer
over the atoms. The second part passes messages between pairs of atoms, which know their distance;
it is cheap, so that derivatives by positions are. Everything depends on distances only: results
turn with the molecule.

What is predicted (`Predicted`): window and middle of the rise of each atom, a small central force
impulse between each pair, and the uncertainty of these. Rises explode by `rises`; the conditional
mean over the charge histories of the Monte-Carlo model is close to one explosion with one rise for
each atom: fits to single entries leave 0.3 % (median, 5 atoms), where a common rise leaves 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import torch
from torch import Tensor, nn

from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.storage.bounded import Within
from molexa_core.physics.surrogate.absorption import CLOSED, SYMBOLS, AbsorptionTable

ATOM_FEATURES: Final = 10
GLOBAL_FEATURES: Final = 14
LEAST_PHOTONS: Final = -4.0
"""Smallest third of ln of the photons that an atom would absorb, as a feature."""
EXPANSION: Final = 3
"""Of the feed-forward blocks."""
MOST_CHARGE: Final = 17
SHORTEST: Final = 1.0
LONGEST: Final = 30.0
"""Distances, bohr, between which the functions of distance have their centres."""
SOFT_TRANSFER_FS: Final = 0.1
"""Transfer times well below this are as good as at once."""
WINDOW_PER_PULSE: Final = 3.7
"""Window of a rise over the duration of the pulse, if every charge follows the fluence."""
DECAY_FS: Final = 8.0
"""Typical time of the decays: no rise is much faster unless the network says so."""
MIDDLE_SHARE: Final = 0.2
"""Unit of the middles of rises, in windows."""
WIDEST: Final = 4.0
"""Largest change, in ln, of the window of a rise."""


@dataclass(frozen=True)
class NetworkSize:
    """Size of a `ChargeNetwork`.

    Attributes:
        width, layers, heads: of the encoder.
        radial: functions of the distance.
        pair: hidden width of the messages.
        channels: of the messages between atoms.
        hidden: width of the second part.
    """

    width: Annotated[int, Within(8, 1024)] = 128
    layers: Annotated[int, Within(1, 16)] = 3
    heads: Annotated[int, Within(1, 32)] = 4
    radial: Annotated[int, Within(2, 64)] = 16
    pair: Annotated[int, Within(8, 512)] = 96
    channels: Annotated[int, Within(2, 256)] = 48
    hidden: Annotated[int, Within(8, 512)] = 128

    def to_dict(self) -> dict[str, Any]:
        """As stored."""
        return asdict(self)


@dataclass(frozen=True)
class Encoded:
    """What the encoder says of B molecules of N atoms.

    Attributes:
        atoms: [B, N, width].
        pairs: [B, N, N, pair] of ordered pairs.
        start: [B, N, 2] rises before any distance is seen: ln of the window over its first guess,
            and the middle in units of `MIDDLE_SHARE` times the first guess.
        window: [B] first guess of the window, fs.
    """

    atoms: Tensor
    pairs: Tensor
    start: Tensor
    window: Tensor


@dataclass(frozen=True)
class Predicted:
    """What the network predicts for B molecules of N atoms.

    Attributes:
        log_tau: [B, N] ln of the windows in fs.
        middle: [B, N] middles of the rises, in units of `unit`.
        unit: [B] fs.
        impulse: [B, N, N] symmetric, zero on the diagonal: what is added to the momentum of i
            along r_i - r_j, in units of `pair_momentum`.
        hidden: [B, N, hidden] state of the atoms, for the heads of the uncertainty.
        atoms: [B, N, width] of the encoder.
    """

    log_tau: Tensor
    middle: Tensor
    unit: Tensor
    impulse: Tensor
    hidden: Tensor
    atoms: Tensor


def places_of(numbers: Tensor) -> Tensor:
    """Atomic numbers as places in `SYMBOLS`."""
    table = torch.zeros(128, dtype=torch.long, device=numbers.device)
    for place, symbol in enumerate(SYMBOLS):
        table[ELEMENTS[symbol].number] = place
    return table[numbers.long()]


def transfer_time(settings: Tensor) -> Tensor:
    """[B] fs, from the column of logarithms that is NaN or -inf for "at once"."""
    log_time = settings[:, 4]
    known = torch.isfinite(log_time)
    return torch.where(known, torch.where(known, log_time, 0.0).exp(), 0.0)


class EncoderLayer(nn.Module):
    """Attention between the atoms and a feed-forward block, each after a normalisation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, EXPANSION * width)
        self.down = nn.Linear(EXPANSION * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, width] to the same."""
        b, n, width = x.shape
        q, k, v = self.qkv(normalised(x)).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weight = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1)
        x = x + self.out((weight @ v).transpose(1, 2).reshape(b, n, width))
        passed: Tensor = x + self.down(nn.functional.silu(self.up(normalised(x))))
        return passed


def normalised(x: Tensor) -> Tensor:
    """Each atom's state with mean 0 and variance 1; factors are those of the next layer."""
    return nn.functional.layer_norm(x, x.shape[-1:])


class ChargeNetwork(nn.Module):
    """The encoder and the part that sees distances; molecules without padding.

    Args:
        size: its size.
        table: cross sections, kept with the weights.
    """

    low: Tensor
    log_sigma: Tensor
    electrons: Tensor
    valence: Tensor
    centres: Tensor

    def __init__(self, size: NetworkSize, table: AbsorptionTable | None = None) -> None:
        super().__init__()
        self.size = size
        w, r, c, h = size.width, size.radial, size.channels, size.hidden
        empty = AbsorptionTable(torch.zeros(9, 3), torch.zeros(9, 3, 40))
        known = table or empty
        self.register_buffer("low", known.low.clone())
        self.register_buffer("log_sigma", known.log_sigma.clone())
        electrons = torch.tensor([float(ELEMENTS[s].number) for s in SYMBOLS])
        self.register_buffer("electrons", electrons, persistent=False)
        inner = torch.where(electrons > 10, 10.0, torch.where(electrons > 2, 2.0, 0.0))
        self.register_buffer("valence", electrons - inner, persistent=False)
        centres = torch.linspace(math.log(SHORTEST), math.log(LONGEST), r)
        self.register_buffer("centres", centres, persistent=False)
        self.element = nn.Embedding(len(SYMBOLS), w)
        self.charge_state = nn.Embedding(len(SYMBOLS) * MOST_CHARGE, w)
        nn.init.zeros_(self.charge_state.weight)
        self.atom_in = nn.Linear(ATOM_FEATURES, w)
        self.global_in = nn.Sequential(
            nn.Linear(GLOBAL_FEATURES, 2 * w), nn.SiLU(), nn.Linear(2 * w, 2 * w), nn.SiLU(),
            nn.Linear(2 * w, w),
        )  # fmt: skip
        self.layers = nn.ModuleList(EncoderLayer(w, size.heads) for _ in range(size.layers))
        self.left = nn.Linear(w, size.pair)
        self.right = nn.Linear(w, size.pair, bias=False)
        self.start = nn.Linear(w, 2)
        self.near = nn.Linear(r, size.pair, bias=False)
        self.message = nn.Linear(size.pair, 2 * c + 1)
        self.atom_hidden = nn.Linear(w, h)
        self.first = nn.Linear(c, h, bias=False)
        self.mix = nn.Linear(h, h)
        self.send = nn.Linear(h, c)
        self.receive = nn.Linear(c, h, bias=False)
        self.mix2 = nn.Linear(h, h)
        self.mix3 = nn.Linear(h, h)
        self.rise = nn.Linear(h, 2)
        self.to_pair = nn.Linear(h, 16)
        for head in (self.start, self.rise):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        nn.init.normal_(self.to_pair.weight, std=0.02)
        with torch.no_grad():
            self.message.weight[-1].mul_(0.05)

    @property
    def absorption(self) -> AbsorptionTable:
        """The cross sections."""
        return AbsorptionTable(self.low, self.log_sigma)

    def encode(self, elements: Tensor, charges: Tensor, settings: Tensor) -> Encoded:
        """The part that does not see the geometry.

        Args:
            elements: [B, N] places in `SYMBOLS`.
            charges: [B, N] final charges.
            settings: [B, 9] as `entries.FamilyEntries.settings`.
        """
        atom, whole = self.features(elements, charges, settings)
        x = self.embed(elements, charges, atom, self.global_in(whole))
        for layer in self.layers:
            x = layer(x)
        return self.encoded(normalised(x), settings)

    def embed(self, elements: Tensor, charges: Tensor, atom: Tensor, whole: Tensor) -> Tensor:
        """[B, N, width] from elements, charges, features of the atoms, and of the setting."""
        state = elements * MOST_CHARGE + (charges.long() - 1).clamp(0, MOST_CHARGE - 1)
        x = self.element(elements) + self.charge_state(state)
        embedded: Tensor = x + self.atom_in(atom) + whole.unsqueeze(1)
        return embedded

    def encoded(self, x: Tensor, settings: Tensor) -> Encoded:
        """What the second part needs of the encoder's state."""
        duration = settings[:, 2].exp()
        window = WINDOW_PER_PULSE * (duration.square() + DECAY_FS**2).sqrt()
        return Encoded(
            atoms=x,
            pairs=self.left(x).unsqueeze(2) + self.right(x).unsqueeze(1),
            start=self.start(x),
            window=window,
        )

    def forward(self, encoded: Encoded, log_distance: Tensor) -> Predicted:
        """The part that sees the distances.

        Args:
            encoded: of `encode`.
            log_distance: [B, N, N] ln of the distances in bohr; the diagonal counts as anything.
        """
        n, c = log_distance.shape[1], self.size.channels
        off = 1.0 - torch.eye(n, dtype=log_distance.dtype, device=log_distance.device)
        near = self.near(self.bells(log_distance))
        message = self.message(nn.functional.silu(encoded.pairs + near)) * off.unsqueeze(-1)
        state = self.atom_hidden(encoded.atoms)
        u = nn.functional.silu(state + self.first(message[..., :c].sum(dim=2)))
        u = u + nn.functional.silu(self.mix(u))
        gathered = (message[..., c : 2 * c] * self.send(u).unsqueeze(1)).sum(dim=2)
        v = u + nn.functional.silu(self.mix2(u) + self.receive(gathered))
        v = v + nn.functional.silu(self.mix3(v))
        rise = self.rise(v) + encoded.start
        change = WIDEST * torch.tanh(rise[..., 0] / WIDEST)
        # Far apart, no impulse: it decays as the potential does.
        decay = (-log_distance).clamp_max(0.0).exp() * off
        direct = message[..., 2 * c] * decay
        sides = self.to_pair(v)
        product = (sides.unsqueeze(2) * sides.unsqueeze(1)).sum(-1) * decay
        return Predicted(
            log_tau=encoded.window.log().unsqueeze(1) + change,
            middle=rise[..., 1],
            unit=MIDDLE_SHARE * encoded.window,
            impulse=direct + direct.transpose(1, 2) + product,
            hidden=v,
            atoms=encoded.atoms,
        )

    def bells(self, log_distance: Tensor) -> Tensor:
        """[..., radial] functions of the distance."""
        width = (math.log(LONGEST) - math.log(SHORTEST)) / (self.size.radial - 1)
        return (-0.5 * ((log_distance.unsqueeze(-1) - self.centres) / width).square()).exp()

    def features(
        self, elements: Tensor, charges: Tensor, settings: Tensor
    ) -> tuple[Tensor, Tensor]:
        """[B, N, ATOM_FEATURES] and [B, GLOBAL_FEATURES], of the order of one."""
        energy, fluence, duration = settings[:, 0], settings[:, 1], settings[:, 2]
        photons = self.absorption.log_photons(elements, energy, fluence)
        electrons, valence = self.electrons[elements], self.valence[elements]
        atom = torch.cat(
            [
                nn.functional.softplus(photons) / 2.0 - 1.0,
                (photons.exp().sum(-1, keepdim=True).log() / 3.0).clamp_min(LEAST_PHOTONS),
                torch.stack(
                    [
                        charges / 4.0,
                        charges / electrons,
                        charges.log(),
                        (valence - charges) / 4.0,
                        (charges - valence).clamp_min(0.0) / 2.0,
                        1.0 / charges,
                    ],
                    dim=-1,
                ),
            ],
            dim=-1,
        )
        rule = settings[:, 3]
        time = (transfer_time(settings) + SOFT_TRANSFER_FS).log()
        count = charges.shape[1]
        whole = torch.stack(
            [
                (energy - 7.4) / 1.1,
                (fluence - 26.5) / 2.7,
                (duration - 2.0) / 1.2,
                (rule == 0).to(energy.dtype),
                (rule == 1).to(energy.dtype),
                (rule == 2).to(energy.dtype),
                (time + 0.3) / 1.2,
                settings[:, 5],
                settings[:, 6] / 0.1,
                settings[:, 7] / 0.075,
                settings[:, 8],
                torch.full_like(energy, (count - 5) / 2.0),
                charges.mean(dim=1) / 3.0,
                (photons.exp().sum(dim=(1, 2)) + 1e-3).log() / 3.0,
            ],
            dim=-1,
        )
        return atom, whole

    def feature_slopes(
        self, elements: Tensor, settings: Tensor, columns: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Derivatives of `features` by columns of the settings.

        Returns:
            [K, B, N, ATOM_FEATURES] and [K, B, GLOBAL_FEATURES].
        """
        table = self.absorption
        photons = table.log_photons(elements, settings[:, 0], settings[:, 1])
        open_ = (photons > CLOSED).to(photons.dtype)
        by_column = {0: table.slopes(elements, settings[:, 0]) * open_, 1: open_}
        absorbed = photons.exp()
        total = absorbed.sum(-1, keepdim=True)
        seen = (total.log() / 3.0 > LEAST_PHOTONS).to(photons.dtype)
        whole_total = absorbed.sum(dim=(1, 2)) + 1e-3
        time = transfer_time(settings)
        direct: dict[int, tuple[int, Tensor | float]] = {
            0: (0, 1.0 / 1.1),
            1: (1, 1.0 / 2.7),
            2: (2, 1.0 / 1.2),
            4: (6, time / (time + SOFT_TRANSFER_FS) / 1.2),
            6: (8, 1.0 / 0.1),
            7: (9, 1.0 / 0.075),
        }
        atoms, wholes = [], []
        for column in columns:
            atom = photons.new_zeros(*elements.shape, ATOM_FEATURES)
            whole = photons.new_zeros(len(settings), GLOBAL_FEATURES)
            place, slope = direct[column]
            whole[:, place] = slope
            if column in by_column:
                change = by_column[column]
                atom[..., :3] = 0.5 * photons.sigmoid() * change
                of_all = (absorbed * change).sum(-1)
                atom[..., 3] = of_all / total[..., 0] / 3.0 * seen[..., 0]
                whole[:, -1] = of_all.sum(dim=1) / whole_total / 3.0
            atoms.append(atom)
            wholes.append(whole)
        return torch.stack(atoms), torch.stack(wholes)


def pair_momentum(charges: Tensor, masses: Tensor, distance: Tensor) -> Tensor:
    """[B, N, N] momentum of each pair if it exploded alone: sqrt(2 mu q_i q_j / r), a.u."""
    mu = masses.unsqueeze(2) * masses.unsqueeze(1) / (masses.unsqueeze(2) + masses.unsqueeze(1))
    return (2.0 * mu * charges.unsqueeze(2) * charges.unsqueeze(1) / distance).sqrt()


def impulses(predicted: Tensor, positions: Tensor, charges: Tensor, masses: Tensor) -> Tensor:
    """[B, N, 3] momenta that the impulses between pairs add; their sum is zero.

    Args:
        predicted: [B, N, N] `Predicted.impulse`.
        positions: [B, N, 3] bohr.
        charges: [B, N].
        masses: [B, N] electron masses.
    """
    apart = positions.unsqueeze(2) - positions.unsqueeze(1)
    eye = torch.eye(positions.shape[1], dtype=positions.dtype, device=positions.device)
    distance = (apart.square().sum(-1) + eye).sqrt()
    strength = predicted * pair_momentum(charges, masses, distance) * (1.0 - eye)
    return (strength.unsqueeze(-1) * apart / distance.unsqueeze(-1)).sum(dim=2)


class UncertaintyHead(nn.Module):
    """How far predicted rises may be off, and what rises cannot say.

    The covariance of the momenta is that of the rises, each atom apart and all together, carried
    through the explosion, and a floor in proportion to the momenta.
    """

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        self.atom = _perceptron(size, 3)
        self.whole = _perceptron(size, 2)

    def forward(self, predicted: Predicted) -> tuple[Tensor, Tensor]:
        """([B, N, 3], [B, 2]) ln of standard deviations.

        Of each atom: its ln tau, its middle (in units), and its own floor relative to the rms
        momentum; of the molecule: a common change of all ln tau, and of all momenta (relative).
        """
        state = torch.cat([predicted.hidden, predicted.atoms], dim=-1)
        atom = self.atom(state) + state.new_tensor([-3.0, -3.0, -5.5])
        whole = self.whole(state.mean(dim=1)) + state.new_tensor([-3.5, -5.5])
        return atom.clamp(-12.0, 1.0), whole.clamp(-12.0, 1.0)


class YieldHead(nn.Module):
    """Share of the explosions that end in these charges, and the spread of their momenta."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        self.atom = _perceptron(size, 2)
        self.whole = _perceptron(size, 1)

    def forward(self, predicted: Predicted) -> tuple[Tensor, Tensor]:
        """[B] ln of the share, [B, N] ln of the relative spread.

        The spread is the rms over directions of the standard deviation over trajectories, relative
        to the rms momentum of the molecule.
        """
        state = torch.cat([predicted.hidden, predicted.atoms], dim=-1)
        atom = self.atom(state)
        share = self.whole(state.mean(dim=1))[:, 0] + atom[..., 0].sum(dim=1) - 2.0
        return share.clamp(-30.0, 0.0), (atom[..., 1] - 2.0).clamp(-9.0, 3.0)


class YieldErrorHead(nn.Module):
    """Relative error of the predicted share."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        self.whole = _perceptron(size, 1)

    def forward(self, predicted: Predicted) -> Tensor:
        """[B] ln of the standard error of ln of the share."""
        state = torch.cat([predicted.hidden, predicted.atoms], dim=-1).mean(dim=1)
        found: Tensor = self.whole(state)[:, 0] - 1.5
        return found.clamp(-6.0, 3.0)


def _perceptron(size: NetworkSize, outputs: int) -> nn.Sequential:
    last = nn.Linear(size.hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(size.hidden + size.width, size.hidden), nn.SiLU(), last)


class SurrogateNetwork(nn.Module):
    """All networks of the surrogate: momenta, their uncertainty, yields."""

    def __init__(
        self, momenta: NetworkSize, yields: NetworkSize, table: AbsorptionTable | None = None
    ) -> None:
        super().__init__()
        self.momenta = ChargeNetwork(momenta, table)
        self.uncertainty = UncertaintyHead(momenta)
        self.yields = ChargeNetwork(yields, table)
        self.shares = YieldHead(yields)
        self.share_errors = YieldErrorHead(yields)

    @property
    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(value.numel() for value in self.parameters())


def log_distances(positions: Tensor) -> Tensor:
    """[B, N, N] ln of the distances; 0 on the diagonal."""
    apart = positions.unsqueeze(2) - positions.unsqueeze(1)
    eye = torch.eye(positions.shape[1], dtype=positions.dtype, device=positions.device)
    return 0.5 * (apart.square().sum(-1) + eye).log()
