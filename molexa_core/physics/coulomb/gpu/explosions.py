"""Explosions of point charges on a GPU: tensors in, tensors out, on the stream of torch."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from molexa_core.base.cuda.compiler import FAST_MATH, compile_cubin
from molexa_core.base.cuda.driver import Kernel
from molexa_core.base.errors import UsageError
from molexa_core.physics.coulomb.build_up import AtomRises, BuildUp, ErrorFunctionRise, Instant
from molexa_core.physics.coulomb.explosion import Accuracy, accuracy_of, steps_of
from molexa_core.physics.coulomb.follow import LEFT
from molexa_core.physics.coulomb.gpu.explosion_kernel import (
    COMMON,
    INSTANT,
    PER_ATOM,
    Launch,
    shape_for,
    source,
)


def explode_on_gpu(
    positions: Tensor,
    charges: Tensor,
    masses: Tensor,
    *,
    build_up: BuildUp | None = None,
    accuracy: str | Accuracy = "fast",
) -> Tensor:
    """Asymptotic momenta of many molecules with the same number of atoms.

    The method is that of `batches.explode_many`, in the precision of the positions. Momenta of
    molecules with two atoms in one place are not numbers; atoms without charge keep momentum 0.

    Args:
        positions: [B, N, 3] bohr, float32 or float64, on a GPU.
        charges: [B, N] or [N] elementary charges.
        masses: [B, N] or [N] electron masses.
        build_up: charge build-up, instant by default.
        accuracy: a name in `explosion.ACCURACIES` or an `Accuracy`.

    Returns:
        [B, N, 3] momenta in a.u.

    Raises:
        UsageError: tensors elsewhere or of other shapes, more atoms than the kernel supports, or a
            build-up that it does not know.
        ComputationError: the kernel cannot be compiled.
    """
    rise = Instant() if build_up is None else build_up
    n = positions.shape[1]
    kind, tau, onset = rise_of(rise, n)
    return explode_with_rises(
        positions,
        charges,
        masses,
        torch.tensor(tau, dtype=positions.dtype, device=positions.device),
        torch.tensor(onset, dtype=positions.dtype, device=positions.device),
        kind=kind,
        steps=steps_of(accuracy_of(accuracy), rise),
        fraction=accuracy_of(accuracy).fraction,
    )


def explode_with_rises(
    positions: Tensor,
    charges: Tensor,
    masses: Tensor,
    tau: Tensor,
    onset: Tensor,
    *,
    kind: int,
    steps: int,
    fraction: float,
) -> Tensor:
    """The same with rises that may differ from molecule to molecule.

    Args:
        positions: [B, N, 3] bohr, float32 or float64, on a GPU.
        charges: [B, N] or [N] elementary charges.
        masses: [B, N] or [N] electron masses.
        tau: [B, N] or [N] windows of the rises, atomic units of time, above 0; the first of a
            molecule counts if they are common.
        onset: likewise their beginnings.
        kind: `explosion_kernel.INSTANT`, `COMMON` or `PER_ATOM`.
        steps: largest number of steps.
        fraction: length of a step relative to the shortest time scale.

    Raises:
        UsageError, ComputationError: as `explode_on_gpu`.
    """
    total, n = positions.shape[:2]
    if positions.device.type != "cuda" or positions.dtype not in (torch.float32, torch.float64):
        raise UsageError(f"positions are {positions.dtype} on {positions.device}")
    inputs = {"positions": positions.contiguous()}
    step = {}
    for name, values in {"charges": charges, "masses": masses, "tau": tau, "onset": onset}.items():
        if values.shape not in ((total, n), (n,)):
            raise UsageError(f"{name} {tuple(values.shape)} for {total} molecules of {n} atoms")
        inputs[name] = values.to(positions).contiguous()
        step[name] = n if values.ndim == 2 else 0
    if step["tau"] != step["onset"]:
        raise UsageError("windows and beginnings of the rises have different shapes")
    double = positions.dtype == torch.float64
    momenta = torch.empty_like(inputs["positions"])
    if total == 0:
        return momenta
    argument = Launch(
        **{name: tensor.data_ptr() for name, tensor in inputs.items()},
        momenta=momenta.data_ptr(),
        total=total,
        charge_step=step["charges"],
        mass_step=step["masses"],
        rise_step=step["tau"],
        fraction=fraction,
        left=LEFT * fraction**2,
        steps=steps,
    )
    index = positions.device.index or 0
    threads = shape_for(n, kind, double=double).threads
    stream = torch.cuda.current_stream(positions.device).cuda_stream
    kernel(n, kind, index, double=double).launch(-(-total // threads), threads, argument, stream)
    return momenta


@lru_cache(maxsize=64)
def kernel(atoms: int, kind: int, index: int, *, double: bool = False) -> Kernel:
    """The kernel for a number of atoms and a kind of build-up on a device."""
    shape = shape_for(atoms, kind, double=double)
    major, minor = torch.cuda.get_device_capability(index)
    options = (*shape.defines, *FAST_MATH)
    code = compile_cubin(source(), "the kernel of explosions", options, f"sm_{major}{minor}")
    return Kernel(code, "explode", index)


def rise_of(rise: BuildUp, atoms: int) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Kind, windows and beginnings of a build-up."""
    if isinstance(rise, Instant):
        return INSTANT, (1.0,) * atoms, (0.0,) * atoms
    if isinstance(rise, ErrorFunctionRise):
        return COMMON, (rise.tau,) * atoms, (0.0,) * atoms
    if not isinstance(rise, AtomRises):
        raise UsageError(
            f"the GPU kernel does not know the build-up {type(rise).__name__}",
            do="Use `batches.explode_many`.",
        )
    if len(rise.taus) != atoms:
        raise UsageError(
            f"the build-up is for {len(rise.taus)} atoms, the molecule has {atoms}",
            do="Give a window and an onset for each atom.",
        )
    return PER_ATOM, rise.taus, rise.onsets
