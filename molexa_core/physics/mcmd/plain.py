"""Reference implementation of `trajectory_loop.py` in plain numpy: slow, but easy to read.

All trajectories of a geometry are advanced together. Operations of every step are vectorized over
the trajectories; events, which are rare, are handled one by one. The random numbers are the same,
so that the trajectories are the same up to rounding.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.tables import FloatArray
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.motion import LATE, LATE_GROWTH, LATE_STEPS
from molexa_core.physics.mcmd.philox import MOLECULE, philox_arrays, uniforms
from molexa_core.physics.mcmd.plain_transfer import PlainTransfer
from molexa_core.physics.mcmd.trajectories import Job, Trajectories

_TINY: Final = 1e-300


def run_plain(job: Job) -> Trajectories:
    """Follow the trajectories of a job in plain numpy.

    Args:
        job: result of `job.prepare`.
    """
    runs = [PlainRun(job, geometry) for geometry in range(len(job.positions))]
    for run in runs:
        run.advance()
        run.decay_all()
        run.fly_out()
        run.add_remaining_impulse()
    return Trajectories(
        symbols=job.tables.symbols,
        mass=job.model.mass,
        charges=np.stack([run.charge.astype(np.int8) for run in runs]),
        momenta=np.stack([run.p.astype(np.float32) for run in runs]),
        fluence_factor=np.stack([run.factor.astype(np.float32) for run in runs]),
        counts=np.stack([run.counts.astype(np.int16) for run in runs]),
        energies=np.stack([run.energy.astype(np.float32) for run in runs]),
        rows=np.stack([run.row.astype(np.int32) for run in runs]),
    )


class PlainRun(PlainTransfer):
    """All trajectories of one geometry. t trajectories, n atoms; arrays as in `state.State`."""

    def __init__(self, job: Job, geometry: int) -> None:
        count = job.trajectories
        super().__init__(job, job.first + geometry * count + np.arange(count))
        n = len(job.tables.start)
        mass = job.model.mass
        self.grid = job.grid
        self.x = np.repeat(job.positions[geometry][None], count, axis=0)
        self.p = np.repeat((job.velocities[geometry] * mass[:, None])[None], count, axis=0)
        first = uniforms(philox_arrays(job.seed, self.number[:, None], 0, np.arange(n)[None]))
        self.hazard, self.patience = -np.log(first[..., 0]), -np.log(first[..., 1])
        self.draws[:] = 1
        own = uniforms(philox_arrays(job.seed, self.number, 0, MOLECULE))
        self.factor = job.lowest ** own[:, 0]
        self.fluence = job.fluence * self.factor

    def advance(self) -> None:
        """All steps of the grid; each trajectory divides them into parts as its motion requires."""
        count = len(self.number)
        self.measure_distances()
        force, squared = self.push()
        step, parts = np.full(count, -1), np.zeros(count, dtype=int)
        h, photo = np.zeros(count), np.zeros(count)
        while True:
            new = np.flatnonzero(parts == 0)
            step[new] += 1
            running = step < len(self.grid)
            if not running.any():
                return
            new = new[running[new]]
            length = self.grid.length[step[new]]
            wanted = np.ceil(length * np.sqrt(squared[new]) / self.accuracy)
            parts[new] = np.clip(wanted, 1, at.MOST_PARTS).astype(int)
            h[new] = length / parts[new]
            photo[new] = self.fluence[new] * self.grid.fraction[step[new]] / parts[new]
            parts[running] -= 1
            h[~running] = photo[~running] = 0.0  # finished trajectories do not move
            self.p += force * (0.5 * h)[:, None, None]
            self.x += self.p * (h[:, None] / self.ion_mass())[..., None]
            self.measure_distances()
            changed = self.cascades(photo, h)
            changed |= self.transfers(step, h)
            force, squared = self.push()
            limit = self.accuracy / np.sqrt(np.maximum(squared, _TINY))
            last = np.where(changed, np.minimum(h, limit), h)
            self.p += force * (0.5 * last)[:, None, None]

    def cascades(self, photo: FloatArray, h: FloatArray) -> NDArray[np.bool_]:
        """Events of all atoms in a part of a step; returns whether there were any, (t)."""
        changed = np.zeros(len(photo), dtype=bool)
        for a in range(self.charge.shape[1]):
            sums = self.config_real[self.row[:, a]]
            rate = sums[:, at.PHOTO_SUM] * photo + sums[:, at.DECAY_SUM] * h
            due = self.hazard[:, a] < rate
            self.hazard[~due, a] -= rate[~due]
            for t in np.flatnonzero(due):
                left = 1.0
                while True:
                    sums_now = self.config_real[self.row[t, a]]
                    now = sums_now[at.PHOTO_SUM] * photo[t] + sums_now[at.DECAY_SUM] * h[t]
                    if self.hazard[t, a] >= now * left:
                        self.hazard[t, a] -= now * left
                        break
                    left = max(left - self.hazard[t, a] / now, 0.0)
                    self.fire(int(t), a, float(photo[t]), float(h[t]))
            changed |= due
        return changed

    def fire(self, t: int, a: int, photo: float, decay: float) -> None:
        """One event of atom a of trajectory t."""
        u = self.draw(t, a)
        move = self.choose(int(self.row[t, a]), photo, decay, u[0])
        self.hazard[t, a] = -np.log(u[1])
        kind, target = int(self.move_int[move, at.KIND]), int(self.move_int[move, at.TARGET])
        energy = float(self.move_real[move, at.RELEASED])
        inner, kind = kind & at.INNER, kind & at.KIND_MASK
        if kind == at.FLUORESCENCE:
            self.set_row(t, a, target)
            self.counts[t, at.FLUORESCENCES] += 1
            self.energy[t, at.RADIATED] += energy
            self.energy[t, at.ATOMS] -= energy
            return
        photon = self.rules[at.PHOTON] if kind == at.PHOTO else 0.0
        self.counts[t, at.PHOTONS if kind == at.PHOTO else at.AUGERS] += 1
        self.energy[t, at.ABSORBED] += photon
        self.energy[t, at.ATOMS] += photon - energy
        probability = self.rules[at.SHAKE_OFF if kind == at.PHOTO else at.DOUBLE_AUGER]
        further = int(self.config_int[target, at.REMOVED])
        bound = float(self.config_real[target, at.BINDING])
        if inner and u[2] < probability and further >= 0 and energy > bound:
            self.counts[t, at.SECONDS] += 1
            self.energy[t, at.ATOMS] += bound
            self.release(t, a, target, 0.5 * (energy - bound))
            self.release(t, a, further, 0.5 * (energy - bound))
        else:
            self.release(t, a, target, energy)

    def choose(self, row: int, photo: float, decay: float, u: float) -> int:
        """The transition that u selects by weight."""
        some = slice(self.config_int[row, at.FIRST], self.config_int[row + 1, at.FIRST])
        is_photo = (self.move_int[some, at.KIND] & at.KIND_MASK) == at.PHOTO
        weight = self.move_real[some, at.VALUE] * np.where(is_photo, photo, decay)
        sums = self.config_real[row]
        total = sums[at.PHOTO_SUM] * photo + sums[at.DECAY_SUM] * decay
        place = int(np.searchsorted(np.cumsum(weight), u * total, side="right"))
        return int(some.start) + min(place, int(np.flatnonzero(weight)[-1]))

    def release(self, t: int, a: int, row: int, energy: float) -> None:
        """Atom a of trajectory t emits an electron, which another ion may capture."""
        self.set_row(t, a, row)
        self.watch(t, a)
        climb = self.potential_at(t, a)
        left = energy - climb
        self.energy[t, at.COULOMB] += climb
        if left < 0.0:
            self.counts[t, at.SLOW] += 1
            k = self.lowest_place(t, a, left) if self.rules[at.RECAPTURE] else -1
            if k >= 0:
                bound = float(self.config_real[self.row[t, k], at.CAPTURE])
                fall = self.potential_at(t, k)
                self.set_row(t, k, int(self.config_int[self.row[t, k], at.ADDED]))
                self.watch(t, k)
                self.counts[t, at.RECAPTURED] += 1
                self.energy[t, at.ATOMS] -= bound
                self.energy[t, at.COULOMB] -= fall
                self.energy[t, at.EXCESS] += left + bound + fall
                return
        self.energy[t, at.ELECTRONS] += left

    def lowest_place(self, t: int, a: int, below: float) -> int:
        """The ion other than a with the lowest level for an electron, if below this one; or -1."""
        best = -1
        for k in range(self.charge.shape[1]):
            row = self.row[t, k]
            if k == a or self.charge[t, k] == 0.0 or self.config_int[row, at.ADDED] < 0:
                continue
            level = -float(self.config_real[row, at.CAPTURE]) - self.potential_at(t, k)
            if level < below:
                best, below = k, level
        return best

    def decay_all(self) -> None:
        """All remaining decays."""
        self.measure_distances()
        for a in range(self.charge.shape[1]):
            for t in range(len(self.number)):
                while self.config_real[self.row[t, a], at.DECAY_SUM] > 0.0:
                    self.fire(t, a, 0.0, 1.0)
                    self.counts[t, at.FORCED] += 1

    def fly_out(self) -> None:
        """Continue the motion if much Coulomb energy is left at the end of the grid."""
        h = np.full(len(self.number), np.inf)
        for _ in range(LATE_STEPS):
            self.measure_distances()
            force, squared = self.push()
            coulomb = 0.5 * (self.charge * self.potential()).sum(axis=1)
            kinetic = 0.5 * ((self.p**2).sum(axis=-1) / self.ion_mass()).sum(axis=1)
            running = coulomb > LATE * kinetic
            if not running.any():
                return
            limit = self.accuracy / np.sqrt(np.maximum(squared, _TINY))
            h = np.where(running, np.minimum(LATE_GROWTH * h, limit), 0.0)
            self.p += force * (0.5 * h)[:, None, None]
            self.x += self.p * (h[:, None] / self.ion_mass())[..., None]
            self.measure_distances()
            self.p += self.push()[0] * (0.5 * h)[:, None, None]
            h[~running] = np.inf

    def add_remaining_impulse(self) -> None:
        """Add the remaining impulse of pairs on straight lines."""
        r = self.x[:, :, None] - self.x[:, None]
        velocity = self.p / self.ion_mass()[..., None]
        v = velocity[:, :, None] - velocity[:, None]
        distance, speed = np.linalg.norm(r, axis=-1), np.linalg.norm(v, axis=-1)
        nearness = distance * speed + (r * v).sum(axis=-1)
        strength = self.charge[:, :, None] * self.charge[:, None]
        use = (strength > 0.0) & (nearness > 1e-3 * distance * speed)
        with np.errstate(invalid="ignore", divide="ignore"):
            pull = (r / distance[..., None] + v / speed[..., None]) * (strength / nearness)[
                ..., None
            ]
        self.p += np.where(use[..., None], pull, 0.0).sum(axis=2)
