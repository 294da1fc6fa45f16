"""Self-modifying code: SDM vol. 3, 8.1.3. A store is seen by the next instruction, as processors have it."""

from __future__ import annotations

import struct

import pytest
from rig import CODE, STACK0, TABLES, Rig

OTHER = 0xC000
HLT = "f4"


@pytest.fixture(params=["long", "protected", "real"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


def store_byte(rig: Rig, address: int, value: int) -> str:
    """mov byte [address], value"""
    if rig.mode == "real":
        return "c606" + struct.pack("<HB", address, value).hex()
    return ("c60425" if rig.mode == "long" else "c605") + struct.pack("<IB", address, value).hex()


def test_the_next_instruction_of_the_block(rig: Rig) -> None:
    length = len(store_byte(rig, 0, 0)) // 2
    rig.run(store_byte(rig, CODE + length + 1, 0x77) + "b011" + HLT)  # mov al, 0x11 becomes mov al, 0x77
    assert rig.regs.rax & 0xFF == 0x77


def test_an_opcode_further_on_in_the_block(rig: Rig) -> None:
    """inc eax becomes HLT of another length's place."""
    length = len(store_byte(rig, 0, 0)) // 2
    rig.run(store_byte(rig, CODE + length + 4, 0xF4) + "90909090" + "b011" + HLT)
    assert rig.regs.rip == CODE + length + 5 and rig.regs.rax & 0xFF != 0x11


def test_a_loop_that_counts_in_its_own_immediate(rig: Rig) -> None:
    """Each turn adds the immediate and increments it: 1 + 2 + ... + 100."""
    if rig.mode == "real":
        # add ax, imm16; inc byte [imm]; loop
        code = "050100" + "fe06" + struct.pack("<H", CODE + 1).hex() + "e2f7" + HLT
    else:
        inc = "fe0425" if rig.mode == "long" else "fe05"
        code = "0501000000" + inc + struct.pack("<I", CODE + 1).hex()
        code += "e2" + struct.pack("<b", -(len(code) // 2 + 2)).hex() + HLT
    rig.regs.rcx, rig.regs.rax = 100, 0
    rig.run(code)
    assert rig.regs.rax == 5050


def test_a_function_on_another_page(rig: Rig) -> None:
    """Called, changed, called again: mov al, 1 / mov al, 2."""
    rig.memory.write(OTHER, bytes.fromhex("b001c3"))
    rig.regs.rbx = OTHER
    rig.run("ffd3" + "88c4" + store_byte(rig, OTHER + 1, 2) + "ffd3" + HLT)
    assert rig.regs.rax & 0xFFFF == 0x0102


def test_a_device_writes_code(rig: Rig) -> None:
    rig.memory.write(OTHER, bytes.fromhex("b001c3"))
    for value in (1, 2, 3):
        rig.memory.write(OTHER + 1, bytes([value]))
        rig.regs.rbx = OTHER
        rig.run("ffd3" + HLT)
        assert rig.regs.rax & 0xFF == value


def test_a_device_writes_code_through_a_view(rig: Rig) -> None:
    rig.memory.write(OTHER, bytes.fromhex("b001c3"))
    view = rig.memory.view(OTHER, 16)
    for value in (1, 2, 3):
        view[1] = value
        rig.memory.dirtied(OTHER, 16)
        rig.regs.rbx = OTHER
        rig.run("ffd3" + HLT)
        assert rig.regs.rax & 0xFF == value


STORES = {
    "mov": "8813",  # mov [rbx], dl
    "mov64": "488913",
    "xchg": "8613",
    "lock add": "f00013",
    "cmpxchg": "0fb013",
    "stosb": "b041aa",
    "rep stosb": "b041f3aa",
    "movsb": "a4",
    "rep movsb": "f3a4",
    "push": "4889e14889dc4883c40852" + "4889cc",  # mov rcx, rsp; rsp = rbx + 8; push rdx; mov rsp, rcx
    "pop": "528f03",
    "bts": "0fab13",
    "setcc": "0f9503",
    "movups": "660f76c00f1103",
    "movnti": "0fc313",
    "fist": "dbe3d9e8df13",
    "cmpxchg8b": "31d20fc70b",
    "not": "f613",
    "xadd": "0fc013",
    "shld": "480fa4133f",
    "movd": "660f76c0660f7e03",
    "fxsave": "0fae03",
    "call": "4889e14889dc4883c408e8000000004889cc",
}


@pytest.mark.parametrize("store", STORES)
def test_every_way_of_storing_drops_decoded_code(store: str) -> None:
    """RBX names the immediate of a MOV that has run before; what it loads afterwards is what is stored."""
    rig = Rig("long")
    rig.regs.cr4 |= 0x600
    body = b"\x48\xb8" + bytes(8) + b"\xc3"  # mov rax, imm64; ret
    rig.memory.write(OTHER - 2, body.ljust(1024, b"\xc3"))
    rig.memory.write(0xD000, b"\x5a" * 8)
    rig.regs.rbp = OTHER - 2
    rig.run("ffd5" + HLT)
    assert rig.regs.rax == 0
    regs = rig.regs
    regs.rbx, regs.rdi, regs.rsi, regs.rcx, regs.rdx = OTHER, OTHER, 0xD000, 1, 3
    rig.run(STORES[store] + HLT)
    assert rig.vector is None
    stored = rig.memory.read(OTHER, 8)
    assert stored != bytes(8)
    rig.memory.view(OTHER + 8, 1)[0] = 0xC3  # a wide store went over the RET
    rig.memory.dirtied(OTHER + 8, 1)
    regs.rbp = OTHER - 2
    rig.run("ffd5" + HLT)
    assert rig.regs.rax == int.from_bytes(stored, "little")


def test_rep_stos_over_the_code_after_it(rig: Rig) -> None:
    """Everything behind becomes HLT."""
    rig.regs.rdi, rig.regs.rcx, rig.regs.rax = CODE + 2, 64, 0xF4
    rig.run("f3aa" + "b055" + "90" * 62)
    assert rig.regs.rip == CODE + 3 and rig.regs.rax == 0xF4


def test_push_over_the_next_instruction() -> None:
    rig = Rig("long")
    rig.regs.rsp, rig.regs.rax = CODE + 16, 0xF4F4F4F4F4F4F4F4
    rig.run("50" + "90" * 7 + "b055" * 4 + HLT)  # push rax, over the second eight bytes
    assert rig.regs.rip == CODE + 9


def test_an_instruction_that_crosses_pages_is_changed_on_its_second() -> None:
    rig = Rig("long")
    at = OTHER + 0xFFE
    rig.memory.write(at, b"\x48\xb8" + bytes(8) + b"\xc3")
    for value in (1, 2, 3):
        rig.regs.rbx, rig.regs.rdx = at, OTHER + 0x1000
        rig.run("c602" + f"{value:02x}" + "ffd3" + HLT)  # mov byte [rdx], value; call rbx
        assert rig.regs.rax == value


def test_through_another_linear_address() -> None:
    """The store goes to an alias of the code's frame."""
    rig = Rig("long")
    alias = 0x50000
    rig.set_page(alias, OTHER | 7)
    rig.memory.write(OTHER, bytes.fromhex("b001c3"))
    rig.regs.rbx, rig.regs.rdx = OTHER, alias + 1
    rig.run("ffd3" + "88c4" + "c60202" + "ffd3" + HLT)
    assert rig.regs.rax & 0xFFFF == 0x0102


def test_page_table_write_that_moves_the_next_instruction() -> None:
    """A store to the tables with INVLPG: the page after the code's becomes another frame."""
    rig = Rig("long")
    rig.memory.write(0xD000, b"\xb0\x01\xf4")  # mapped at first
    rig.memory.write(0x60000, b"\xb0\x02\xf4")
    entry = TABLES + 0x3000 + 8 * 0xD
    code = b"\x48\xc7\x04\x25" + struct.pack("<II", entry, 0x60000 | 7)  # mov qword [entry], ...
    code += b"\x0f\x01\x3c\x25" + struct.pack("<I", 0xD000)  # invlpg [0xd000]
    rig.regs.rbx = 0xD000
    rig.run("8a0c2500d00000" + code.hex() + "ffe3")  # mov cl, [0xd000] fills the TLB
    assert rig.regs.rax & 0xFF == 2


def test_counting_what_was_dropped() -> None:
    """Data on a page of code: the store is noticed, and code elsewhere on the page still runs right."""
    rig = Rig("long")
    rig.memory.write(OTHER, bytes.fromhex("fe0425" + struct.pack("<I", OTHER + 0x800).hex() + "e2f7" + "c3"))
    rig.regs.rbx, rig.regs.rcx = OTHER, 200
    rig.run("ffd3" + HLT)
    assert rig.memory.read(OTHER + 0x800, 1)[0] == 200
    assert rig.cpu.counters()["code_writes"] > 0
    assert rig.regs.rsp == STACK0
