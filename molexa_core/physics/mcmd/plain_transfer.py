"""The state of all trajectories in plain numpy, and electron transfer between their atoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.tables import FloatArray
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.philox import philox_arrays, uniforms
from molexa_core.physics.mcmd.trajectories import Job


class PlainTransfer:
    """t trajectories of n atoms: state as in `state.State`, transfer as in `transfer.py`."""

    def __init__(self, job: Job, number: NDArray[np.int64]) -> None:
        count, n = len(number), len(job.tables.start)
        self.seed, self.number = job.seed, number
        self.config_int, self.move_int = job.model.config_int, job.model.move_int
        self.config_real = job.model.config_real.astype(np.float64)
        self.move_real = job.model.move_real.astype(np.float64)
        self.rules, self.mass = job.model.rules, job.model.mass
        self.accuracy = float(job.model.rules[at.ACCURACY])
        self.row = np.repeat(job.model.start[None].astype(np.int64), count, axis=0)
        self.charge = self.config_int[self.row, at.CHARGE].astype(np.float64)
        self.hazard, self.patience = np.zeros((count, n)), np.zeros((count, n))
        self.draws = np.zeros((count, n), dtype=np.int64)
        self.x, self.p = np.zeros((count, n, 3)), np.zeros((count, n, 3))
        self.inverse = np.zeros((count, n, n))
        self.counts = np.zeros((count, at.COUNTS), dtype=np.int64)
        self.energy = np.zeros((count, at.ENERGIES))

    def draw(self, t: int, a: int) -> FloatArray:
        """(4) the next uniform numbers of an atom."""
        words = philox_arrays(self.seed, self.number[t], int(self.draws[t, a]), a)
        self.draws[t, a] += 1
        return uniforms(words)

    def set_row(self, t: int, a: int, row: int) -> None:
        """Put an atom into a configuration."""
        self.row[t, a] = row
        self.charge[t, a] = self.config_int[row, at.CHARGE]

    def ion_mass(self) -> FloatArray:
        """(t, n) masses of the neutral atoms less the missing electrons."""
        mass: FloatArray = self.mass - self.charge
        return mass

    def measure_distances(self) -> None:
        """Inverse distances of all pairs, 0 on the diagonal."""
        d = np.linalg.norm(self.x[:, :, None] - self.x[:, None], axis=-1)
        every = np.arange(d.shape[1])
        d[:, every, every] = np.inf
        self.inverse = 1.0 / np.hypot(d, np.sqrt(at.NEAREST2))

    def watch(self, t: int, a: int) -> None:
        """Atom a has changed its charge: count it if it is an ion within the core of another."""
        near = (self.charge[t] > 0.0) & (self.inverse[t, a] * at.CORE_BOHR > 1.0)
        self.counts[t, at.CLOSE] += int(self.charge[t, a] > 0.0 and near.any())

    def potential(self) -> FloatArray:
        """(t, n) potential of the other ions at each atom."""
        values: FloatArray = np.einsum("tak,tk->ta", self.inverse, self.charge)
        return values

    def potential_at(self, t: int, a: int) -> float:
        """Potential of the other ions at one atom."""
        return float(self.inverse[t, a] @ self.charge[t])

    def push(self) -> tuple[FloatArray, FloatArray]:
        """(t, n, 3) forces, and (t) the largest squared frequency of an atom."""
        strength = self.charge[:, :, None] * self.charge[:, None] * self.inverse**3
        d = self.x[:, :, None] - self.x[:, None]
        return (strength[..., None] * d).sum(axis=2), (strength.sum(2) / self.ion_mass()).max(1)

    def transfers(self, step: NDArray[np.int64], h: FloatArray) -> NDArray[np.bool_]:
        """Electron transfer in a part of a step; returns whether electrons moved, (t)."""
        n, time = self.charge.shape[1], self.rules[at.TRANSFER_TIME]
        moved = np.zeros(len(h), dtype=bool)
        again = h > 0.0
        for _ in range(1 if time > 0.0 else 8 * n):
            now = again & (self.charge > 0.0).any(axis=1)
            again = np.zeros(len(h), dtype=bool)
            for turn in range(n):
                trajectories = np.flatnonzero(now)
                donors = (turn + step[trajectories]) % n
                acceptors = self.acceptors(trajectories, donors)
                open_ = acceptors >= 0
                trajectories, donors = trajectories[open_], donors[open_]
                acceptors = acceptors[open_]
                if time > 0.0:
                    self.patience[trajectories, donors] -= h[trajectories] / time
                    open_ = self.patience[trajectories, donors] <= 0.0
                else:
                    open_ = np.ones(len(donors), dtype=bool)
                for t, d, a in zip(
                    trajectories[open_], donors[open_], acceptors[open_], strict=True
                ):
                    self.move_electron(int(t), int(d), int(a))
                    again[t] = True
            moved |= again
            if not again.any():
                break
        return moved

    def acceptors(self, t: NDArray[np.int64], d: NDArray[np.int64]) -> NDArray[np.int64]:
        """For donor d of each trajectory t: the ion that takes an electron, or -1."""
        result = np.full(len(t), -1)
        able = (self.charge[t, d] <= self.rules[at.HIGHEST_DONOR]) & (
            self.config_int[self.row[t, d], at.REMOVED] >= 0
        )
        some = np.flatnonzero(able)
        if not len(some):
            return result
        t, d = t[some], d[some]
        every = np.arange(len(t))
        pair = bool(self.rules[at.PAIR])
        charge, inverse = self.charge[t], self.inverse[t]
        own, near = charge[every, d], inverse[every, d]  # near: inverse distances from the donor
        rows = self.row[t]
        bound = self.config_real[rows[every, d], at.BINDING]
        potential = np.einsum("tak,tk->ta", inverse, charge)
        capture = self.config_real[rows, at.CAPTURE]
        field = (-bound - potential[every, d])[:, None]
        after = -capture - potential - near
        level = -bound[:, None] - charge * near if pair else field
        s1, s2 = np.sqrt(own + 1.0)[:, None], np.sqrt(charge)
        barrier = -((s1 + s2) ** 2) * near
        if not pair:
            share = s1 / (s1 + s2)
            x = self.x[t]
            donor = x[every, d][:, None]
            saddle = donor + share[..., None] * (x - donor)  # (t, acceptor, 3)
            distance = np.linalg.norm(saddle[:, :, None] - x[:, None], axis=-1)
            distance = np.hypot(distance, np.sqrt(at.NEAREST2))
            others = np.repeat(charge[:, None], charge.shape[1], axis=1)
            others[every, :, d] = 0.0
            index = np.arange(charge.shape[1])
            others[:, index, index] = 0.0
            distance[others == 0.0] = np.inf
            barrier = barrier - (others / distance).sum(axis=-1)
        good = (charge > 0.0) & (self.config_int[rows, at.ADDED] >= 0)
        good &= (after < field) & (level >= barrier)
        good[every, d] = False
        best = np.where(good, after, np.inf).argmin(axis=1)
        result[some] = np.where(good.any(axis=1), best, -1)
        return result

    def move_electron(self, t: int, d: int, a: int) -> None:
        """An electron of trajectory t goes from d to a."""
        given = float(self.config_real[self.row[t, d], at.BINDING])
        rise = self.potential_at(t, d)
        self.set_row(t, d, int(self.config_int[self.row[t, d], at.REMOVED]))
        taken = float(self.config_real[self.row[t, a], at.CAPTURE])
        fall = self.potential_at(t, a)
        self.set_row(t, a, int(self.config_int[self.row[t, a], at.ADDED]))
        self.watch(t, d)
        self.watch(t, a)
        self.energy[t, at.ATOMS] += given - taken
        self.energy[t, at.COULOMB] += rise - fall
        self.energy[t, at.EXCESS] += taken + fall - given - rise
        self.counts[t, at.TRANSFERS] += 1
        self.patience[t, d] = -np.log(self.draw(t, d)[0])
