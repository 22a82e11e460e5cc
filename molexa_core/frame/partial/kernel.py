"""Compiled expectation step of the mixture of `fit`: every event against the peaks.

For one event the orientation of the molecule is not known. It is found from pairs of its ions, laid
on pairs of peaks of the same kinds, and improved by Newton steps on the rotation; the best of these
orientations are kept with their weights (Laplace's approximation of the integral over all
rotations). In each orientation every ion belongs to one peak of its kind, or is false; no two ions
of an event belong to one peak. The sum over all such assignments, and the share of each pair of ion
and peak in it, are exact (a recursion over subsets of the peaks of a kind).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray

KEPT: Final = 4
"""Orientations of an event that are improved."""
STEPS: Final = 4
LEAST_SINE: Final = 0.15
LOOSEST: Final = 0.16
"""Least curvature of the likelihood about an axis, 1/rad^2: 2 pi / (2 pi)^2."""
_SAME: Final = 0.35
"""Orientations that differ by less than this angle, rad, are one."""
_NEGLIGIBLE: Final = 1e-4
_LOWEST: Final = -60.0
_HIGHEST: Final = 60.0


@compiled
def pair_axes(first: FloatArray, second: FloatArray, rows: FloatArray) -> bool:
    """Axes of two vectors, rows of a rotation; False where they are nearly collinear."""
    size = np.sqrt(first[0] ** 2 + first[1] ** 2 + first[2] ** 2)
    other = np.sqrt(second[0] ** 2 + second[1] ** 2 + second[2] ** 2)
    if size <= 0.0 or other <= 0.0:
        return False
    along = 0.0
    for c in range(3):
        rows[0, c] = first[c] / size
        along += rows[0, c] * second[c]
    across = 0.0
    for c in range(3):
        rows[1, c] = second[c] - along * rows[0, c]
        across += rows[1, c] ** 2
    across = np.sqrt(across)
    if across < LEAST_SINE * other:
        return False
    for c in range(3):
        rows[1, c] /= across
    rows[2, 0] = rows[0, 1] * rows[1, 2] - rows[0, 2] * rows[1, 1]
    rows[2, 1] = rows[0, 2] * rows[1, 0] - rows[0, 0] * rows[1, 2]
    rows[2, 2] = rows[0, 0] * rows[1, 1] - rows[0, 1] * rows[1, 0]
    return True


@compiled
def rotate(rotation: FloatArray, vector: FloatArray, into: FloatArray) -> None:
    """Rotate a vector."""
    for r in range(3):
        into[r] = (
            rotation[r, 0] * vector[0] + rotation[r, 1] * vector[1] + rotation[r, 2] * vector[2]
        )


@compiled
def turn_by(rotation: FloatArray, omega: FloatArray) -> None:
    """Rotate further by a rotation vector (Rodrigues)."""
    angle = np.sqrt(omega[0] ** 2 + omega[1] ** 2 + omega[2] ** 2)
    if angle < 1e-12:
        return
    if angle > 0.5:
        for c in range(3):
            omega[c] *= 0.5 / angle
        angle = 0.5
    x, y, z = omega[0] / angle, omega[1] / angle, omega[2] / angle
    s, c1 = np.sin(angle), 1.0 - np.cos(angle)
    turn = np.empty((3, 3))
    turn[0, 0] = 1.0 - c1 * (y * y + z * z)
    turn[0, 1] = c1 * x * y - s * z
    turn[0, 2] = c1 * x * z + s * y
    turn[1, 0] = c1 * x * y + s * z
    turn[1, 1] = 1.0 - c1 * (x * x + z * z)
    turn[1, 2] = c1 * y * z - s * x
    turn[2, 0] = c1 * x * z - s * y
    turn[2, 1] = c1 * y * z + s * x
    turn[2, 2] = 1.0 - c1 * (x * x + y * y)
    product = np.zeros((3, 3))
    for r in range(3):
        for c in range(3):
            for k in range(3):
                product[r, c] += turn[r, k] * rotation[k, c]
    for r in range(3):
        for c in range(3):
            rotation[r, c] = product[r, c]


@compiled
def solve3(matrix: FloatArray, vector: FloatArray, into: FloatArray) -> float:
    """Solve a symmetric system of three equations; the determinant."""
    a, b, c = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    e, f, i = matrix[1, 1], matrix[1, 2], matrix[2, 2]
    m00, m01, m02 = e * i - f * f, c * f - b * i, b * f - c * e
    m11, m12, m22 = a * i - c * c, b * c - a * f, a * e - b * b
    det = a * m00 + b * m01 + c * m02
    if det <= 1e-300:
        into[:] = 0.0
        return 1e-300
    into[0] = (m00 * vector[0] + m01 * vector[1] + m02 * vector[2]) / det
    into[1] = (m01 * vector[0] + m11 * vector[1] + m12 * vector[2]) / det
    into[2] = (m02 * vector[0] + m12 * vector[1] + m22 * vector[2]) / det
    return float(det)


@compiled
def principal(matrix: FloatArray, values: FloatArray, vectors: FloatArray) -> None:
    """Eigenvalues and eigenvectors (columns) of a symmetric matrix of three rows (Jacobi)."""
    work = matrix.copy()
    vectors[:] = 0.0
    for r in range(3):
        vectors[r, r] = 1.0
    for _ in range(12):
        for p in range(2):
            for q in range(p + 1, 3):
                if abs(work[p, q]) < 1e-14 * (abs(work[p, p]) + abs(work[q, q])) + 1e-300:
                    continue
                theta = 0.5 * np.arctan2(2.0 * work[p, q], work[q, q] - work[p, p])
                c, s = np.cos(theta), np.sin(theta)
                for k in range(3):
                    one, two = work[k, p], work[k, q]
                    work[k, p], work[k, q] = c * one - s * two, s * one + c * two
                for k in range(3):
                    one, two = work[p, k], work[q, k]
                    work[p, k], work[q, k] = c * one - s * two, s * one + c * two
                for k in range(3):
                    one, two = vectors[k, p], vectors[k, q]
                    vectors[k, p], vectors[k, q] = c * one - s * two, s * one + c * two
    for r in range(3):
        values[r] = work[r, r]


@compiled
def blur(
    variance: FloatArray,
    axes: FloatArray,
    vector: FloatArray,
    mean: FloatArray,
    second: FloatArray,
) -> None:
    """Mean and mean product of a vector whose orientation is uncertain.

    Rotations about three perpendicular axes by angles that are normally distributed: exact for
    each axis, the three one after the other. Finite where the angle about an axis is not known.

    Args:
        variance: (3) variance of the angle about each axis, rad^2.
        axes: (3, 3) the axes, columns.
        vector: (3) the vector at the most likely orientation.
        mean: (3) filled.
        second: (3, 3) filled.
    """
    part = np.zeros(3)
    for c in range(3):
        for r in range(3):
            part[c] += axes[r, c] * vector[r]
    product = np.empty((3, 3))
    for r in range(3):
        for c in range(3):
            product[r, c] = part[r] * part[c]
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        once, twice = np.exp(-0.5 * variance[axis]), np.exp(-2.0 * variance[axis])
        part[one] *= once
        part[two] *= once
        half = 0.5 * (product[one, one] + product[two, two])
        other = 0.5 * (product[one, one] - product[two, two]) * twice
        product[one, one], product[two, two] = half + other, half - other
        product[one, two] *= twice
        product[two, one] = product[one, two]
        product[axis, one] *= once
        product[axis, two] *= once
        product[one, axis], product[two, axis] = product[axis, one], product[axis, two]
    for r in range(3):
        mean[r] = 0.0
        for c in range(3):
            mean[r] += axes[r, c] * part[c]
            second[r, c] = 0.0
            for k in range(3):
                for m in range(3):
                    second[r, c] += axes[r, k] * product[k, m] * axes[c, m]


@compiled
def fill_forward(
    ratio: FloatArray, ions: int, atoms: int, required: bool, into: FloatArray
) -> float:
    """Sums over assignments of the first ions to sets of peaks; the logarithm of their scale."""
    masks = 1 << atoms
    into[:] = 0.0
    into[0, 0] = 1.0
    scale = 0.0
    for i in range(ions):
        for mask in range(masks):
            value = into[i, mask]
            if value == 0.0:
                continue
            if not required:
                into[i + 1, mask] += value
            for a in range(atoms):
                if not mask >> a & 1:
                    into[i + 1, mask | (1 << a)] += value * ratio[i, a]
        top = into[i + 1].max()
        if top <= 0.0:
            return -1e9
        into[i + 1] /= top
        scale += np.log(top)
    return float(scale)


@compiled
def share_out(ratio: FloatArray, ions: int, atoms: int, required: bool, share: FloatArray) -> float:
    """Sum over all assignments of ions to different peaks, and the share of each pair in it.

    Args:
        ratio: (ions, peaks) density of an ion at a peak over that of a false one.
        ions: how many ions.
        atoms: how many peaks.
        required: whether every ion has to belong to a peak.
        share: (ions, peaks) filled with the posterior probabilities.

    Returns:
        Logarithm of the sum.
    """
    masks = 1 << atoms
    forward = np.empty((ions + 1, masks))
    scale = fill_forward(ratio, ions, atoms, required, forward)
    share[:ions, :atoms] = 0.0
    if scale < -1e8:
        return scale
    total = forward[ions].sum()
    backward, before = np.ones(masks), np.empty(masks)
    for i in range(ions - 1, -1, -1):
        whole = 0.0
        for mask in range(masks):
            before[mask] = 0.0 if required else backward[mask]
            for a in range(atoms):
                if not mask >> a & 1:
                    step = ratio[i, a] * backward[mask | (1 << a)]
                    before[mask] += step
                    share[i, a] += forward[i, mask] * step
            whole += forward[i, mask] * before[mask]
        share[i, :atoms] /= whole
        backward[:] = before / before.max()
    return float(scale + np.log(total))


@compiled
def quick_score(
    momentum: FloatArray,
    kind: IntArray,
    first: IntArray,
    mu: FloatArray,
    tight: FloatArray,
    log_norm: FloatArray,
    log_false: FloatArray,
    rotation: FloatArray,
) -> float:
    """Largest log likelihood of the ions of an event, each on its own, in an orientation."""
    total = 0.0
    turned = np.empty(3)
    for i in range(len(kind)):
        rotate(rotation, momentum[i], turned)
        best = log_false[i]
        for a in range(first[kind[i]], first[kind[i] + 1]):
            d = (turned[0] - mu[a, 0]) ** 2
            d += (turned[1] - mu[a, 1]) ** 2
            d += (turned[2] - mu[a, 2]) ** 2
            best = max(best, log_norm[a] - 0.5 * tight[a] * d)
        total += best
    return total


@compiled
def improve(
    momentum: FloatArray,
    kind: IntArray,
    first: IntArray,
    mu: FloatArray,
    tight: FloatArray,
    log_norm: FloatArray,
    log_false: FloatArray,
    rotation: FloatArray,
    inertia: FloatArray,
) -> None:
    """One Newton step on the rotation; fills the curvature."""
    turned, torque, omega = np.empty(3), np.zeros(3), np.empty(3)
    weight = np.empty(64)
    inertia[:] = 0.0
    for i in range(len(kind)):
        rotate(rotation, momentum[i], turned)
        low, high = first[kind[i]], first[kind[i] + 1]
        top = log_false[i]
        for a in range(low, high):
            d = (turned[0] - mu[a, 0]) ** 2
            d += (turned[1] - mu[a, 1]) ** 2
            d += (turned[2] - mu[a, 2]) ** 2
            weight[a - low] = log_norm[a] - 0.5 * tight[a] * d
            top = max(top, weight[a - low])
        total = np.exp(log_false[i] - top)
        for a in range(low, high):
            weight[a - low] = np.exp(weight[a - low] - top)
            total += weight[a - low]
        for a in range(low, high):
            w = weight[a - low] / total * tight[a]
            if w < 1e-9 * tight[a]:
                continue
            m0, m1, m2 = mu[a, 0], mu[a, 1], mu[a, 2]
            torque[0] += w * (turned[1] * m2 - turned[2] * m1)
            torque[1] += w * (turned[2] * m0 - turned[0] * m2)
            torque[2] += w * (turned[0] * m1 - turned[1] * m0)
            for r in range(3):
                inertia[r, r] += w * (m0 * m0 + m1 * m1 + m2 * m2)
                for c in range(3):
                    inertia[r, c] -= w * mu[a, r] * mu[a, c]
    for r in range(3):
        inertia[r, r] += 1e-2
    solve3(inertia, torque, omega)
    turn_by(rotation, omega)


@compiled
def difference(one: FloatArray, other: FloatArray) -> float:
    """Angle between two rotations, rad."""
    trace = 0.0
    for r in range(3):
        for c in range(3):
            trace += one[r, c] * other[r, c]
    return float(np.arccos(min(1.0, max(-1.0, 0.5 * (trace - 1.0)))))


@compiled
def slot_for(
    score: float,
    trial: FloatArray,
    side: float,
    scores: FloatArray,
    rotations: FloatArray,
    hand: FloatArray,
    filled: int,
) -> int:
    """Where to keep an orientation: beside those that differ from it; -1 for nowhere."""
    for h in range(filled):
        if hand[h] == side and difference(trial, rotations[h]) < _SAME:
            return h if score > scores[h] else -1
    if filled < KEPT:
        return filled
    worst = int(np.argmin(scores))
    return worst if score > scores[worst] else -1


@compiled
def search(
    ions: FloatArray,
    mirrored: FloatArray,
    kinds: IntArray,
    first: IntArray,
    mu: FloatArray,
    tight: FloatArray,
    log_norm: FloatArray,
    false: FloatArray,
    anchor: int,
    images: int,
    rotations: FloatArray,
    hand: FloatArray,
) -> int:
    """The best orientations that lay two ions of an event on two peaks; how many."""
    n, filled = len(kinds), 0
    scores = np.full(KEPT, -1e300)
    event_axes, trial = np.empty((3, 3)), np.empty((3, 3))
    peak_axes = np.empty((3, 3))
    for image in range(images):
        used = ions if image == 0 else mirrored
        side = 1.0 if image == 0 else -1.0
        for pair in range(n * n):
            i, j = pair // n, pair % n
            if i == j or kinds[i] != anchor or not pair_axes(used[i], used[j], event_axes):
                continue
            atoms = first[kinds[j] + 1] - first[kinds[j]]
            for both in range((first[anchor + 1] - first[anchor]) * atoms):
                a, b = first[anchor] + both // atoms, first[kinds[j]] + both % atoms
                if a == b or not pair_axes(mu[a], mu[b], peak_axes):
                    continue
                product(peak_axes, event_axes, trial)
                score = quick_score(used, kinds, first, mu, tight, log_norm, false, trial)
                at = slot_for(score, trial, side, scores, rotations, hand, filled)
                if at >= 0:
                    scores[at], hand[at] = score, side
                    rotations[at] = trial
                    filled = max(filled, at + 1)
    return filled


@compiled
def product(one: FloatArray, other: FloatArray, into: FloatArray) -> None:
    """Transpose of a matrix times another."""
    for r in range(3):
        for c in range(3):
            into[r, c] = 0.0
            for k in range(3):
                into[r, c] += one[k, r] * other[k, c]


@compiled
def repeated(rotations: FloatArray, hand: FloatArray, h: int) -> bool:
    """Whether an earlier orientation is the same as orientation `h`."""
    for g in range(h):
        if hand[g] == hand[h] and difference(rotations[g], rotations[h]) < _SAME:
            return True
    return False


@compiled
def weigh(
    ions: FloatArray,
    kinds: IntArray,
    first: IntArray,
    required: NDArray[np.bool_],
    mu: FloatArray,
    precision: FloatArray,
    log_norm: FloatArray,
    false: FloatArray,
    rotation: FloatArray,
    shares: FloatArray,
) -> float:
    """Log likelihood of an event in an orientation over that of false ions; fills the shares."""
    n, at, value = len(kinds), 0, 0.0
    turned, away = np.empty(3), np.empty(3)
    for k in range(len(first) - 1):
        stop = at
        while stop < n and kinds[stop] == k:
            stop += 1
        atoms = first[k + 1] - first[k]
        if stop == at or atoms == 0:
            at = stop
            continue
        ratio = np.empty((stop - at, atoms))
        for i in range(stop - at):
            rotate(rotation, ions[at + i], turned)
            for a in range(atoms):
                p = first[k] + a
                for c in range(3):
                    away[c] = turned[c] - mu[p, c]
                log_ratio = log_norm[p] - 0.5 * quadratic(precision[p], away) - false[at + i]
                ratio[i, a] = np.exp(min(_HIGHEST, max(_LOWEST, log_ratio)))
        value += share_out(ratio, stop - at, atoms, required[k], shares[at:stop])
        at = stop
    return value


@compiled
def quadratic(matrix: FloatArray, vector: FloatArray) -> float:
    """A vector times a matrix times the vector."""
    total = 0.0
    for r in range(3):
        for c in range(3):
            total += vector[r] * matrix[r, c] * vector[c]
    return total


@compiled
def collect(
    ions: FloatArray,
    kinds: IntArray,
    first: IntArray,
    rotation: FloatArray,
    spread: FloatArray,
    axes: FloatArray,
    shares: FloatArray,
    posterior: float,
    weight: float,
    share: FloatArray,
    sums: FloatArray,
    squares: FloatArray,
    counts: FloatArray,
) -> None:
    """Add the ions of an event in an orientation to the sums of the peaks."""
    turned, mean, second = np.empty(3), np.empty(3), np.empty((3, 3))
    for i in range(len(kinds)):
        rotate(rotation, ions[i], turned)
        blur(spread, axes, turned, mean, second)
        for a in range(first[kinds[i] + 1] - first[kinds[i]]):
            part = posterior * shares[i, a]
            share[i, a] += part
            w, p = weight * part, first[kinds[i]] + a
            counts[p] += w
            for c in range(3):
                sums[p, c] += w * mean[c]
                for d in range(3):
                    squares[p, c, d] += w * second[c, d]


@compiled
def expect(
    offsets: IntArray,
    momentum: FloatArray,
    kind: IntArray,
    weight: FloatArray,
    log_false: FloatArray,
    log_event_false: FloatArray,
    first: IntArray,
    required: NDArray[np.bool_],
    mu: FloatArray,
    precision: FloatArray,
    tight: FloatArray,
    log_norm: FloatArray,
    log_true: float,
    anchor: int,
    mirror: bool,
    begin: FloatArray,
    use_begin: bool,
    share: FloatArray,
    log_odds: FloatArray,
    rotations: FloatArray,
    handed: NDArray[np.int8],
    sums: FloatArray,
    squares: FloatArray,
    counts: FloatArray,
) -> float:
    """All events against the peaks; fills posterior probabilities and weighted sums.

    Args:
        offsets: (events + 1) first ion of each event.
        momentum: (ions, 3) a.u., laboratory frame.
        kind: (ions) number of the kind; the ions of an event are in the order of the kinds.
        weight: (events) weight; negative for what is to be subtracted.
        log_false: (ions) log density of a false ion of the kind at this momentum.
        log_event_false: (events) log likelihood of the event if its ions are unrelated.
        first: (kinds + 1) first peak of each kind.
        required: (kinds) whether all ions of the kind belong to the molecule.
        mu: (peaks, 3) means, a.u.
        precision: (peaks, 3, 3) inverse covariances.
        tight: (peaks) inverse mean variance of one component.
        log_norm: (peaks) log of the normalisation and of the odds of detection.
        log_true: log of the odds that an event is true, and of constants.
        anchor: kind of the reference ion.
        mirror: whether the mirror image of the peaks occurs as well, as often.
        begin: (events, 3, 3) orientations to begin with.
        use_begin: whether only these are improved.
        share: (ions, most peaks of a kind) filled: probability of each peak of the kind.
        log_odds: (events) filled: logarithm of the odds that the event is true.
        rotations: (events, 3, 3) filled: the most likely orientation.
        handed: (events) filled: 1, or -1 for the mirror image.
        sums: (peaks, 3) filled: sum of the momenta, weighted.
        squares: (peaks, 3, 3) filled: sum of their products.
        counts: (peaks) filled: sum of the weights.

    Returns:
        The log likelihood.
    """
    total = 0.0
    sums[:], squares[:], counts[:], share[:] = 0.0, 0.0, 0.0, 0.0
    tried, hand = np.empty((KEPT, 3, 3)), np.empty(KEPT)
    inertia = np.empty((3, 3))
    images = 2 if mirror else 1
    for e in range(len(offsets) - 1):
        low, high = offsets[e], offsets[e + 1]
        ions, kinds, false = momentum[low:high].copy(), kind[low:high], log_false[low:high]
        mirrored = ions.copy()
        mirrored[:, 2] *= -1.0
        filled = 1
        tried[0], hand[0] = begin[e], handed[e]
        if not use_begin:
            filled = search(
                ions,
                mirrored,
                kinds,
                first,
                mu,
                tight,
                log_norm,
                false,
                anchor,
                images,
                tried,
                hand,
            )
        if filled == 0:
            log_odds[e] = -1e300
            total += weight[e] * log_event_false[e]
            continue
        shares = np.zeros((filled, high - low, share.shape[1]))
        spread, axes = np.zeros((filled, 3)), np.zeros((filled, 3, 3))
        logs = np.full(filled, -1e300)
        for h in range(filled):
            used = ions if hand[h] > 0 else mirrored
            for _ in range(STEPS):
                improve(used, kinds, first, mu, tight, log_norm, false, tried[h], inertia)
            if repeated(tried, hand, h):
                continue
            principal(inertia, spread[h], axes[h])
            value = log_true + false.sum() - np.log(float(images))
            for c in range(3):
                # An angle about an axis is never less certain than anywhere on the circle.
                stiff = max(spread[h, c], LOOSEST)
                spread[h, c] = 1.0 / stiff
                value -= 0.5 * np.log(stiff)
            logs[h] = value + weigh(
                used, kinds, first, required, mu, precision, log_norm, false, tried[h], shares[h]
            )
        top = max(logs.max(), log_event_false[e])
        sum_true = np.exp(logs - top).sum()
        both = sum_true + np.exp(log_event_false[e] - top)
        total += weight[e] * (top + np.log(both))
        log_odds[e] = top + np.log(max(sum_true, 1e-300)) - log_event_false[e]
        best = int(np.argmax(logs))
        rotations[e] = tried[best]
        handed[e] = 1 if hand[best] > 0 else -1
        for h in range(filled):
            posterior = np.exp(logs[h] - top) / both
            if posterior > _NEGLIGIBLE:
                collect(
                    ions if hand[h] > 0 else mirrored,
                    kinds,
                    first,
                    tried[h],
                    spread[h],
                    axes[h],
                    shares[h],
                    posterior,
                    weight[e],
                    share[low:high],
                    sums,
                    squares,
                    counts,
                )
    return total
