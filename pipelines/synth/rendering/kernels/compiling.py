"""Compilation of kernels that run over all pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from mapping.compiling import kernel

Function = TypeVar("Function", bound=Callable[..., Any])


def pixel_kernel(function: Function) -> Function:
    """Compile a function that allocates nothing and returns no array, to run in parallel with others.

    Without counted references: an array that is taken out of a tuple in a loop would count them up and down for every pixel,
    a quarter of the time of a shaded pixel on one core, and more on several cores that share the counter.
    """
    return cast("Function", kernel(nogil=True, _nrt=False)(function))
