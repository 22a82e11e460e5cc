"""Numbers of several molecules side by side in one vector register, for numba.

`Lanes` holds 64 bytes: 16 numbers in single precision or 8 in double precision. All that is done
with them is done to every lane at once; a processor with narrower registers takes several.
Compilers find this form by themselves only in simple loops, not in one over pairs of atoms.
"""

from __future__ import annotations

import operator
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import types as numba_types
from numba.core.typing import templates

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray

# numba's own annotations do not say what its decorators make.
_numba: Any = extending
_typing: Any = templates
types: Any = numba_types
intrinsic, lower_builtin = _numba.intrinsic, _numba.lower_builtin
register_model, signature = _numba.register_model, _typing.signature
BYTES: Final = 64
"""Width of the widest vector registers in use."""
_FUSE: Final = ("contract",)  # a product and a sum may be rounded once
_INT: Final = ir.IntType(64)
# ---- numbers of the two formats: first guess of 1 / sqrt, bits of the mantissa ----
_GUESS: Final = {32: 0x5F375A86, 64: 0x5FE6EB50C7B537A9}
_MANTISSA: Final = {32: 23, 64: 52}
# exp(z^2) erfc(z) (1 + 2 z) as a polynomial in (z - 3) / (z + 3): interpolation in Chebyshev nodes
# on z = 0 to 27 (relative error 4e-16) and on 0 to 9.5 (4e-8), where erfc still is a number.
ERFC: Final = {
    "float64": np.array(
        [
            1.2530080582697296,
            -0.13562110612458067,
            -0.04756229435344707,
            0.1296451587027035,
            -0.11927366341549393,
            0.06830802734587536,
            -0.02377051491489925,
            0.002529391787107568,
            0.0018886903184454165,
            -0.0007798320273148014,
            -0.00010515952561216177,
            0.00012509809287280239,
            4.948262299791677e-06,
            -2.0096426869541815e-05,
            -7.278044396672048e-07,
            3.4635525785808633e-06,
            3.4920430828377254e-07,
            -6.04412488193441e-07,
            -1.3116132294448009e-07,
            9.142319931318473e-08,
            3.2825163006176683e-08,
            -8.361218160882427e-09,
            -4.152865388901344e-09,
        ]
    ),
    "float32": np.array(
        [
            1.25300809,
            -0.135621147,
            -0.0475656504,
            0.129645314,
            -0.119221778,
            0.068335908,
            -0.0240344844,
            0.00226196545,
            0.00229609418,
            -0.000139803301,
        ],
        dtype=np.float32,
    ),
}
"""Series of `erfc` by number format."""


def count(dtype: np.dtype[Any] | type) -> int:
    """How many numbers of this format lie side by side."""
    return BYTES // np.dtype(dtype).itemsize


def rows(number: int, dtype: np.dtype[Any] | type) -> FloatArray:
    """(number, lanes) zeros that begin at a multiple of `BYTES`."""
    size = count(dtype)
    raw = np.zeros((number + 1) * size, dtype=dtype)
    skip = (-raw.ctypes.data % BYTES) // raw.itemsize
    return raw[skip : skip + number * size].reshape(number, size)


class Lanes(types.Type):  # type: ignore[misc]
    """The type of such a vector."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(Lanes)
class _LanesModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _vector(kind))  # type: ignore[no-untyped-call]


def _vector(kind: Any) -> Any:
    scalar = ir.FloatType() if kind.scalar.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(scalar, 8 * BYTES // kind.scalar.bitwidth)


def _integers(kind: Any) -> Any:
    bits = kind.scalar.bitwidth
    return ir.VectorType(ir.IntType(bits), 8 * BYTES // bits)


def _constant(vector: Any, value: Any) -> Any:
    return ir.Constant(vector, [value] * vector.count)


def _as_lanes(context: Any, builder: Any, value: Any, kind: Any, lanes: Any) -> Any:
    """A number in all lanes, or lanes as they are."""
    if isinstance(kind, Lanes):
        return value
    vector = _vector(lanes)
    value = context.cast(builder, value, kind, lanes.scalar)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), order)


def _define(operation: Any, name: str) -> None:
    """One operation of arithmetic: on lanes, and on lanes and a number."""

    class Template(templates.AbstractTemplate):
        key = operation

        def generic(self, args: Any, kws: Any) -> Any:
            lanes = [kind for kind in args if isinstance(kind, Lanes)]
            if kws or len(args) != 2 or not lanes:
                return None
            if any(kind != lanes[0] and not isinstance(kind, types.Number) for kind in args):
                return None
            return signature(lanes[0], *args)

    _typing.infer_global(operation)(Template)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        both = (
            _as_lanes(context, builder, value, kind, sig.return_type)
            for value, kind in zip(args, sig.args, strict=True)
        )
        return getattr(builder, name)(*both, flags=_FUSE)

    for kinds in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(operation, *kinds)(lower)


for _operation, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define(_operation, _name)


def _place(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    lanes = _vector(Lanes(kind.dtype))
    return builder.gep(builder.bitcast(data, lanes.as_pointer()), [row])


@intrinsic
def load(typing: Any, array: Any, row: Any) -> Any:
    """The lanes of one row of an array of `rows`."""
    del typing

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        place = _place(context, builder, sig.args[0], args[0], index)
        return builder.load(place, align=BYTES)

    return signature(Lanes(array.dtype), array, row), generate


@intrinsic
def store(typing: Any, array: Any, row: Any, lanes: Any) -> Any:
    """Put lanes into one row of an array of `rows`."""
    del typing

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        place = _place(context, builder, sig.args[0], args[0], index)
        builder.store(args[2], place, align=BYTES)
        return context.get_dummy_value()

    return signature(types.void, array, row, lanes), generate


@intrinsic
def spread(typing: Any, value: Any, array: Any) -> Any:
    """A number in all lanes, in the format of an array."""
    del typing

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _as_lanes(context, builder, args[0], sig.args[0], sig.return_type)

    return signature(Lanes(array.dtype), value, array), generate


@intrinsic
def where_greater(typing: Any, one: Any, two: Any, then: Any, other: Any) -> Any:
    """In each lane `then` if one > two, else `other` (also where one is not a number)."""
    del typing
    lanes = next(kind for kind in (one, two, then, other) if isinstance(kind, Lanes))

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b, c, d = (
            _as_lanes(context, builder, value, kind, sig.return_type)
            for value, kind in zip(args, sig.args, strict=True)
        )
        return builder.select(builder.fcmp_ordered(">", a, b), c, d)

    return signature(lanes, one, two, then, other), generate


@intrinsic
def all_greater(typing: Any, one: Any, two: Any) -> Any:
    """Whether one > two in every lane."""
    del typing
    lanes = one if isinstance(one, Lanes) else two

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = (
            _as_lanes(context, builder, value, kind, lanes)
            for value, kind in zip(args, sig.args, strict=True)
        )
        bits = ir.IntType(a.type.count)
        found = builder.bitcast(builder.fcmp_ordered(">", a, b), bits)
        return builder.icmp_unsigned("==", found, bits((1 << a.type.count) - 1))

    return signature(types.boolean, one, two), generate


@intrinsic
def _root_guess(typing: Any, lanes: Any) -> Any:
    """1 / sqrt within 4 per cent, from halving the exponent in the bits of the number."""
    del typing

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        del context
        kind = sig.args[0]
        whole = _integers(kind)
        half = builder.lshr(builder.bitcast(args[0], whole), _constant(whole, 1))
        guess = _constant(whole, _GUESS[kind.scalar.bitwidth])
        return builder.bitcast(builder.sub(guess, half), _vector(kind))

    return signature(lanes, lanes), generate


@intrinsic
def _times_power_of_two(typing: Any, lanes: Any, power: Any) -> Any:
    """Lanes times 2^n, n in the last bits of the mantissa of `power`."""
    del typing

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        del context
        kind = sig.args[0]
        whole = _integers(kind)
        shift = _constant(whole, _MANTISSA[kind.scalar.bitwidth])
        exponent = builder.shl(builder.bitcast(args[1], whole), shift)
        return builder.bitcast(builder.add(builder.bitcast(args[0], whole), exponent), args[0].type)

    return signature(lanes, lanes, power), generate


@compiled
def add(array: FloatArray, row: int, lanes: Any) -> None:
    """Add to a row."""
    store(array, row, load(array, row) + lanes)


@compiled
def take(array: FloatArray, row: int, lanes: Any) -> None:
    """Take from a row."""
    store(array, row, load(array, row) - lanes)


@intrinsic
def _double(typing: Any, lanes: Any) -> Any:
    """Whether lanes hold numbers in double precision; known when compiling."""
    del typing

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        del context, builder, args
        return ir.IntType(1)(int(sig.args[0].scalar.bitwidth == 64))

    return signature(types.boolean, lanes), generate


@compiled
def inverse_root(value: Any) -> Any:
    """1 / sqrt(value), value above 0, to the last digit but one.

    Two steps of Householder's method from a guess, cheaper than root and division: each takes the
    error to its third or, in double precision, fourth power.
    """
    y = _root_guess(value)
    for _ in range(2):
        h = 1.0 - value * y * y
        if _double(value):
            y = y + y * (h * (0.5 + h * (0.375 + h * 0.3125)))
        else:
            y = y + y * (h * (0.5 + h * 0.375))
    return y


@compiled
def erfc(z: Any, series: FloatArray) -> Any:
    """Complementary error function; small values keep their digits.

    Args:
        z: lanes.
        series: `ERFC` of their format.
    """
    size = where_greater(z, 0.0, z, 0.0 - z)
    top = 26.0 if _double(z) else 9.0
    size = where_greater(size, top, top, size)
    below = 1.0 / ((size + 3.0) * (1.0 + 2.0 * size))
    q = (size - 3.0) * ((1.0 + 2.0 * size) * below)
    g = spread(series[len(series) - 1], series)
    for k in range(len(series) - 2, -1, -1):
        g = g * q + series[k]
    found = g * ((size + 3.0) * below) * exp_minus_square(size)
    return where_greater(z, 0.0, found, 2.0 - found)


@compiled
def exp_minus_square(size: Any) -> Any:
    """exp(-size^2), by 2^n times the series of the rest; nearly 0 where it would be no number."""
    double = _double(size)
    top = 26.0 if double else 9.0
    size = where_greater(size, 0.0, size, 0.0 - size)
    size = where_greater(size, top, top, size)
    y = 0.0 - size * size
    round_by = 6755399441055744.0 if double else 12582912.0  # 1.5 2^52 and 1.5 2^23
    shifted = y * 1.4426950408889634 + round_by
    n = shifted - round_by
    if double:
        rest = (y - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10
    else:
        rest = (y - n * 0.693359375) - n * -2.12194440e-4
    total = 1.0 + rest * (1.0 / (13.0 if double else 7.0))
    for k in range(12 if double else 6, 0, -1):
        total = 1.0 + rest * total * (1.0 / k)
    return _times_power_of_two(total, shifted)
