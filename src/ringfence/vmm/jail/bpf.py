"""Assembles seccomp filters: classic BPF programs over a system call's number and arguments.

The kernel's ``Documentation/userspace-api/seccomp_filter.rst``; the data is ``struct seccomp_data``::

    number le32, architecture le32, instruction pointer le64, arguments 6 x le64

A filter is a list of rules, one a system call. What no rule names is refused.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass

ARCHITECTURE_X86_64 = 0xC000003E
#: Numbers from here on are the x32 interface, which nobody here uses.
X32_BIT = 0x4000_0000
INSTRUCTIONS_MAX = 4096

KILL = 0x8000_0000
ALLOW = 0x7FFF_0000
_ERRNO = 0x0005_0000
REFUSE = _ERRNO | errno.EPERM
#: what a C library takes as: use the older call
UNKNOWN = _ERRNO | errno.ENOSYS

_LOAD, _AND, _JUMP_EQUAL, _JUMP_ABOVE, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_INSTRUCTION = struct.Struct("<HBBI")
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16


@dataclass(frozen=True)
class Check:
    """Whether a 32-bit word of an argument has a value, after the mask. An ``int`` has no upper word."""

    argument: int
    value: int
    mask: int = 0xFFFF_FFFF
    is_upper_word: bool = False


@dataclass(frozen=True)
class Rule:
    """What becomes of a system call: the action, if all tests of an alternative hold; else it is refused."""

    number: int
    alternatives: tuple[tuple[Check, ...], ...] = ((),)
    action: int = ALLOW


def zero(argument: int) -> tuple[Check, Check]:
    """A 64-bit argument, a pointer as a rule, is 0."""
    return Check(argument, 0), Check(argument, 0, is_upper_word=True)


def one_of(argument: int, values: Iterable[int], mask: int = 0xFFFF_FFFF) -> tuple[tuple[Check, ...], ...]:
    """Alternatives: an ``int`` is one of these."""
    return tuple((Check(argument, value, mask),) for value in values)


def assemble(rules: Iterable[Rule], otherwise: int = REFUSE) -> bytes:
    """The program.

    Raises:
        ValueError: it is longer than the kernel takes.
    """
    code = [
        _INSTRUCTION.pack(_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        _INSTRUCTION.pack(_JUMP_EQUAL, 1, 0, ARCHITECTURE_X86_64),
        _INSTRUCTION.pack(_RETURN, 0, 0, KILL),
        _INSTRUCTION.pack(_LOAD, 0, 0, _NUMBER_OFFSET),
        _INSTRUCTION.pack(_JUMP_ABOVE, 0, 1, X32_BIT),
        _INSTRUCTION.pack(_RETURN, 0, 0, KILL),
    ]
    for rule in rules:
        body = _body(rule)
        code.append(_INSTRUCTION.pack(_JUMP_EQUAL, 0, len(body), rule.number))
        code += body
    code.append(_INSTRUCTION.pack(_RETURN, 0, 0, otherwise))
    if len(code) > INSTRUCTIONS_MAX:
        raise ValueError(f"a filter of {len(code)} instructions")
    return b"".join(code)


def _body(rule: Rule) -> list[bytes]:
    """One rule's instructions. Each ends the program, so none has to restore the loaded number."""
    code: list[bytes] = []
    for tests in rule.alternatives:
        left = 3 * len(tests) + 1  # to the end of this alternative
        for test in tests:
            left -= 3
            offset = _ARGUMENTS_OFFSET + 8 * test.argument + 4 * test.is_upper_word
            code.append(_INSTRUCTION.pack(_LOAD, 0, 0, offset))
            code.append(_INSTRUCTION.pack(_AND, 0, 0, test.mask))
            code.append(_INSTRUCTION.pack(_JUMP_EQUAL, 0, left, test.value))
        code.append(_INSTRUCTION.pack(_RETURN, 0, 0, rule.action))
    code.append(_INSTRUCTION.pack(_RETURN, 0, 0, REFUSE))
    return code
