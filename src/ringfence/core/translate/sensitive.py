"""Privileged and sensitive instructions that have a quick case as host code."""

import cython
from cython.cimports.ringfence.core.translate.builder import BuilderP
from cython.cimports.ringfence.core.translate.eflags import (
    put_disable_interrupts,
    put_enable_interrupts,
    put_pop_flags,
    put_push_flags,
)
from cython.cimports.ringfence.core.translate.lowering import (
    KIND_DISABLE_INTERRUPTS,
    KIND_ENABLE_INTERRUPTS,
    KIND_POP_FLAGS,
    KIND_PUSH_FLAGS,
    KIND_READ_CONTROL,
    KIND_READ_SELECTOR,
    KIND_SWAP_BASE,
)
from cython.cimports.ringfence.core.translate.system import (
    put_read_control,
    put_read_selector,
    put_swap_base,
)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_sensitive(kind: cython.int) -> cython.bint:
    return kind >= KIND_DISABLE_INTERRUPTS


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_sensitive(b: BuilderP, kind: cython.int) -> cython.bint:
    """Privileged and sensitive instructions with a quick case."""
    if kind == KIND_DISABLE_INTERRUPTS:
        return put_disable_interrupts(b)
    if kind == KIND_ENABLE_INTERRUPTS:
        return put_enable_interrupts(b)
    if kind == KIND_PUSH_FLAGS:
        return put_push_flags(b)
    if kind == KIND_POP_FLAGS:
        return put_pop_flags(b)
    if kind == KIND_SWAP_BASE:
        return put_swap_base(b)
    if kind == KIND_READ_SELECTOR:
        return put_read_selector(b)
    if kind == KIND_READ_CONTROL:
        return put_read_control(b)
    return False
