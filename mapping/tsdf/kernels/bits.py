"""Machine instructions that numba does not offer: the lowest bit of a word, prefetching memory, adding eight numbers to eight
others, and drawing numbers that no other thread gets."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

NONE, ONE = np.uint64(0), np.uint64(1)


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing_context: Any, word: Any) -> Any:
    """The number of the lowest bit that is set in a uint64 other than 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def fetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Begin to load the cache line around array[index] of a flat array; nothing waits for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, into the nearest cache, data
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def add_eight(typing_context: Any, sums: Any, at: Any, values: Any, start: Any, sign: Any) -> Any:
    """sums[at + n] += sign * values[start + n] for n from 0 to 7, of flat arrays of int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lane = ir.IntType(32)
        eight = ir.VectorType(lane, 8)

        def place(array: int, index: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            return builder.bitcast(builder.gep(data, [index]), eight.as_pointer())

        one = builder.insert_element(eight(ir.Undefined), arguments[4], lane(0))
        signs = builder.shuffle_vector(one, eight(ir.Undefined), ir.VectorType(lane, 8)([0] * 8))
        target = place(0, arguments[1])
        product = builder.mul(signs, builder.load(place(2, arguments[3]), align=4))
        builder.store(builder.add(builder.load(target, align=4), product), target, align=4)
        return context.get_dummy_value()

    return types.void(sums, types.int64, values, types.int64, types.int32), generate


@intrinsic  # type: ignore[untyped-decorator]
def draw(typing_context: Any, counter: Any) -> Any:
    """counter[0], int64, which is incremented atomically, so that each number goes to only one thread."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, ir.IntType(64)(1), "monotonic")

    return types.int64(counter), generate
