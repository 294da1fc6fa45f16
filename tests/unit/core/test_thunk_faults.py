"""x87, MMX and SSE on a whole vCPU: what makes them fault, what they leave in memory.

Real mode keeps it small: every vector of the interrupt table leads to a HLT of its own.
"""

import struct

import pytest

from ringfence.core.exits import Reason
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.core.x86.vcpu import Vcpu

CODE, DATA, HANDLERS, MMIO = 0x7C00, 0x500, 0x2000, 0x1_0000
UD, NM, GP, MF, XM = 6, 7, 13, 16, 19
PE, EM, TS, NE, MP = 1, 4, 8, 0x20, 2
OSFXSR, OSXMMEXCPT, OSXSAVE = 0x200, 0x400, 1 << 18
ALL_MASKED = 0x1F80

# all of them use DS:[BX]
FLD1, FLDZ, FADD, FDIVP, FWAIT = "d9e8", "d9ee", "d8c1", "def9", "9b"
FST_DOUBLE, FSTP_DOUBLE, FNSTSW_AX, FNSTENV, FNSAVE, FRSTOR = "dd17", "dd1f", "dfe0", "d937", "dd37", "dd27"
PADDB_MMX, MOVQ_STORE, EMMS = "0ffcc1", "0f7f07", "0f77"
ADDPS, ADDPS_MEMORY, MOVAPS_STORE, MOVUPS_LOAD = "0f58c1", "0f5807", "0f2907", "0f1007"
MULSS, DIVSS, UCOMISS = "f30f59c1", "f30f5ec1", "0f2ec1"
FXSAVE, FXRSTOR, LDMXCSR = "0fae07", "0fae0f", "0fae17"
XSAVE, XRSTOR, XSETBV, XGETBV = "0fae27", "0fae2f", "0f01d1", "0f01d0"


class Machine:
    """A vCPU in real mode, with everything that x87 and SSE want of the control registers."""

    def __init__(self) -> None:
        self.memory = GuestMemory()
        self.memory.add_ram(0, MMIO)
        self.cpu = Vcpu(0, self.memory, "max")
        self.cpu.regs.cr0 = NE | MP | 0x10
        self.cpu.regs.cr4 = OSFXSR | OSXMMEXCPT | OSXSAVE
        for vector in range(32):
            self.memory.write(4 * vector, struct.pack("<HH", HANDLERS + 16 * vector, 0))
            self.memory.write(HANDLERS + 16 * vector, b"\xf4")
        self.cpu.set_segment("cs", 0, 0, 0xFFFF, 0x9B)
        for name in ("ds", "ss", "es"):
            self.cpu.set_segment(name, 0, 0, 0xFFFF, 0x93)
        self.cpu.regs.rsp = 0x7000
        self.cpu.regs.rbx = DATA

    def fx(self, *, control: int = 0x37F, mxcsr: int = ALL_MASKED, xmm: tuple[bytes, ...] = ()) -> None:
        image = struct.pack("<HHBBHQQII", control, 0, 0, 0, 0, 0, 0, mxcsr, 0xFFFF).ljust(160, b"\0")
        self.cpu.fx = (image + b"".join(x.ljust(16, b"\0") for x in xmm)).ljust(512, b"\0")

    def start(self, *code: str) -> int:
        """Put the code with a HLT after it in place, and run to whatever comes."""
        self.memory.write(CODE, bytes.fromhex("".join(code)) + b"\xf4")
        record = bytearray(self.cpu.save())
        record[4:8] = bytes(4)  # Arch.activity: no longer halted
        self.cpu.restore(bytes(record))
        self.cpu.regs.rip = CODE
        return self.cpu.run()

    def run(self, *code: str) -> int:
        """The vector of the fault that the code raised; -1 for none."""
        assert self.start(*code) == Reason.HLT
        rip = self.cpu.regs.rip - 1
        return -1 if rip >= CODE else (rip - HANDLERS) // 16

    def word(self, at: int) -> int:
        return struct.unpack_from("<H", self.cpu.fx, at)[0]

    @property
    def status(self) -> int:
        return self.word(2)

    @property
    def mxcsr(self) -> int:
        return self.word(24)


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.fx()
    return machine


@pytest.mark.parametrize(
    ("cr0", "cr4", "code", "vector"),
    [
        (0, OSFXSR, ADDPS, -1),
        (EM, OSFXSR, ADDPS, UD),
        (TS, OSFXSR, ADDPS, NM),
        (EM | TS, OSFXSR, MOVUPS_LOAD, UD),
        (0, 0, ADDPS, UD),
        (TS, 0, MOVAPS_STORE, UD),
        (0, 0, LDMXCSR, UD),
        (0, 0, PADDB_MMX, -1),
        (EM, OSFXSR, PADDB_MMX, UD),
        (TS, OSFXSR, MOVQ_STORE, NM),
        (EM | TS, OSFXSR, EMMS, UD),
        (0, 0, FLD1, -1),
        (EM, OSFXSR, FLD1, NM),
        (TS, OSFXSR, FSTP_DOUBLE, NM),
        (EM, OSFXSR, FNSTSW_AX, NM),
        (TS, 0, FNSTENV, NM),
        (TS | MP, 0, FWAIT, NM),
        (TS, 0, FWAIT, -1),
        (EM, 0, FWAIT, -1),
        (0, 0, FXSAVE, -1),
        (TS, OSFXSR, FXSAVE, NM),
        (EM, OSFXSR, FXRSTOR, NM),
        (0, OSFXSR, XSAVE, UD),
        (TS, OSXSAVE, XSAVE, NM),
        (EM, OSXSAVE, XSAVE, -1),
        (0, 0, XGETBV, UD),
    ],
)
def test_control_registers_say_whether_it_may_run(
    machine: Machine, cr0: int, cr4: int, code: str, vector: int
) -> None:
    machine.cpu.regs.cr0 = NE | 0x10 | cr0
    machine.cpu.regs.cr4 = cr4
    assert machine.run(code) == vector


def test_pending_exception_waits_for_a_waiting_instruction(machine: Machine) -> None:
    machine.fx(control=0x37B)
    assert machine.run(FLD1, FLDZ, FDIVP) == -1
    assert machine.status & 0x84 == 0x84
    assert machine.run(FNSTSW_AX) == -1
    assert machine.cpu.regs.rax & 0x84 == 0x84
    for code in (FWAIT, FLD1, PADDB_MMX, FRSTOR):
        assert machine.run(code) == MF
    assert machine.run("dbe2", FLD1) == -1  # FNCLEX


def test_pending_exception_without_ne_asks_for_irq_13(machine: Machine) -> None:
    machine.cpu.regs.cr0 = 0x10
    machine.fx(control=0x37B)
    assert machine.start(FLD1, FLDZ, FDIVP, FWAIT) == Reason.FERR
    assert machine.cpu.regs.rip == CODE + 6


def test_store_that_underflows_unmasked_writes_nothing(machine: Machine) -> None:
    machine.fx(control=0x36F)
    machine.memory.write(DATA, b"\xaa" * 10)  # as m80fp: about -2^-5461
    assert machine.run("db2f", FST_DOUBLE) == -1
    assert machine.status & 0x90 == 0x90
    assert machine.memory.read(DATA, 10) == b"\xaa" * 10


@pytest.mark.parametrize(("code", "vector"), [(ADDPS_MEMORY, GP), (MOVAPS_STORE, GP), (MOVUPS_LOAD, -1)])
def test_alignment(machine: Machine, code: str, vector: int) -> None:
    machine.cpu.regs.rbx = DATA + 8
    assert machine.run(code) == vector


def test_masked_exceptions_are_sticky(machine: Machine) -> None:
    machine.fx(xmm=(struct.pack("<f", 1), struct.pack("<f", 0)))
    assert machine.run(DIVSS, "f30f5ec8") == -1
    assert machine.mxcsr == ALL_MASKED | 4
    assert machine.cpu.fx[160:164] == struct.pack("<f", float("inf"))


@pytest.mark.parametrize(("cr4", "vector"), [(OSFXSR | OSXMMEXCPT, XM), (OSFXSR, UD)])
def test_unmasked_exception_changes_only_mxcsr(machine: Machine, cr4: int, vector: int) -> None:
    machine.cpu.regs.cr4 = cr4
    operands = (struct.pack("<f", 1), struct.pack("<f", 0))
    machine.fx(mxcsr=ALL_MASKED & ~0x200, xmm=operands)
    assert machine.run(DIVSS) == vector
    assert machine.mxcsr == ALL_MASKED & ~0x200 | 4
    assert machine.cpu.fx[160:164] == operands[0]


def test_unmasked_underflow_counts_exact_results(machine: Machine) -> None:
    """1.5 * 2^-127 is exact and denormal: nothing when masked, #XM when not."""
    operands = (struct.pack("<f", 1.5 * 2.0**-100), struct.pack("<f", 2.0**-27))
    machine.fx(xmm=operands)
    assert machine.run(MULSS) == -1
    assert machine.mxcsr == ALL_MASKED
    machine.fx(mxcsr=ALL_MASKED & ~0x800, xmm=operands)
    assert machine.run(MULSS) == XM
    assert machine.mxcsr & 0x3F == 0x10


def test_unordered_compare_sets_three_flags(machine: Machine) -> None:
    machine.fx(xmm=(struct.pack("<f", float("nan")), b""))
    machine.cpu.regs.rflags = 0x8D5
    assert machine.run(UCOMISS) == -1
    assert machine.cpu.regs.rflags & 0x8D5 == 0x45


def test_store_that_faults_pops_nothing(machine: Machine) -> None:
    assert machine.run(FLD1) == -1
    before = machine.cpu.fx
    machine.cpu.set_segment("ds", 0, 0, DATA + 6, 0x93)
    assert machine.run(FSTP_DOUBLE) == GP
    assert machine.cpu.fx == before


def test_store_to_a_device_pops_once(machine: Machine) -> None:
    """The exit to the VMM comes before the pop, and the instruction runs again after it."""
    machine.cpu.set_segment("ds", 0xFFFF, 0xFFFF0, 0xFFFF, 0x93)
    machine.cpu.regs.rbx = 0x10
    assert machine.run(FLD1) == -1
    assert machine.status >> 11 & 7 == 7
    assert machine.start(FSTP_DOUBLE) == Reason.MMIO
    assert machine.status >> 11 & 7 == 7
    written = struct.pack("<Q", machine.cpu.exit.data)[: machine.cpu.exit.size]
    while (reason := machine.cpu.run()) == Reason.MMIO:
        written += struct.pack("<Q", machine.cpu.exit.data)[: machine.cpu.exit.size]
    assert reason == Reason.HLT
    assert written == struct.pack("<d", 1)
    assert machine.status >> 11 & 7 == 0


def test_mmx_enters_at_top_zero(machine: Machine) -> None:
    """A register pushed as ST0 is R7, and so MM7."""
    assert machine.run(FLD1, "0f7f3f") == -1  # MOVQ [BX], MM7
    assert machine.memory.read(DATA, 8) == struct.pack("<Q", 1 << 63)
    assert machine.status >> 11 & 7 == 0
    assert machine.cpu.fx[4] == 0xFF
    assert machine.run(EMMS) == -1
    assert machine.cpu.fx[4] == 0


@pytest.mark.parametrize("protected", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_environment_layouts(machine: Machine, protected: bool, wide: bool) -> None:
    """SDM vol. 1, figures 8-9 to 8-12."""
    machine.cpu.set_segment("ds", 0x1234, 0x12340, 0xFFFF, 0x93)
    machine.cpu.set_segment("cs", 0x40, 0x400, 0xFFFF, 0x9B)
    machine.memory.write(0x8000, bytes.fromhex("dd07" + ("66" if wide else "") + "26d936f00d") + b"\xf4")
    machine.memory.write(0x400 + 0x7C00, machine.memory.read(0x8000, 16))
    machine.memory.add_ram(MMIO, 0x1_0000)
    if protected:
        machine.cpu.regs.cr0 = NE | 0x10 | PE
    machine.cpu.regs.rip = 0x7C00
    machine.cpu.regs.rbx = 0x20
    assert machine.cpu.run() == Reason.HLT
    size = 28 if wide else 14
    got = machine.memory.read(0xDF0, size)
    unit = "<7I" if wide else "<7H"
    words = struct.unpack(unit, got)
    mask = 0xFFFF
    assert [w & mask for w in words[:3]] == [0x37F, 0x3800, 0x7FFF]  # R7 holds 0.0: tag 01 in its place
    fop = (0xDD & 7) << 8 | 0x07
    if protected:
        assert words[3] == 0x7C00 and words[5] == 0x20
        assert words[4] & mask == 0x40 and words[6] & mask == 0x1234
        if wide:
            assert words[4] >> 16 == fop
    else:
        ip, dp = 0x400 + 0x7C00, 0x12340 + 0x20
        assert words[3] & mask == ip & mask and words[5] & mask == dp & mask
        assert words[4] == ip >> 16 << 12 | fop
        assert words[6] == dp >> 16 << 12


def test_save_and_restore_give_back_the_stack(machine: Machine) -> None:
    assert machine.run("d9eb", FLD1, FNSAVE) == -1
    assert (machine.word(0), machine.status, machine.cpu.fx[4]) == (0x37F, 0, 0)
    assert machine.run(FRSTOR, FADD) == -1
    assert machine.status >> 11 & 7 == 6
    assert machine.run(FSTP_DOUBLE) == -1
    assert struct.unpack("<d", machine.memory.read(DATA, 8))[0] == pytest.approx(4.14159265)


def test_fxsave_outside_64_bit_code_has_eight_registers(machine: Machine) -> None:
    machine.fx(xmm=tuple(bytes([k + 1]) * 16 for k in range(16)))
    machine.memory.write(DATA, b"\xaa" * 512)
    assert machine.run(FXSAVE) == -1
    image = machine.memory.read(DATA, 512)
    assert image[160:288] == b"".join(bytes([k + 1]) * 16 for k in range(8))
    assert image[288:] == b"\xaa" * 224
    assert image[24:32] == struct.pack("<II", ALL_MASKED, 0xFFFF)


@pytest.mark.parametrize(("mxcsr", "vector"), [(0xFFFF, -1), (0x1_0000, GP), (0x8000_0000, GP)])
@pytest.mark.parametrize("code", [FXRSTOR, LDMXCSR])
def test_reserved_mxcsr_bits(machine: Machine, code: str, mxcsr: int, vector: int) -> None:
    machine.memory.write(DATA, bytes(512))
    machine.memory.write(DATA + (24 if code == FXRSTOR else 0), struct.pack("<I", mxcsr))
    assert machine.run(code) == vector
    assert machine.mxcsr == (0xFFFF if vector < 0 else ALL_MASKED)


@pytest.mark.parametrize(
    ("ecx", "value", "vector"),
    [
        (0, 3, -1),
        (0, 1, -1),
        (0, 2, GP),
        (0, 7, -1),
        (0, 5, GP),
        (0, 0xF, GP),
        (0, 0x27, GP),
        (0, 0xE7, -1),
        (0, 0xE3, GP),
        (1, 3, GP),
        (0, 1 << 32 | 1, GP),
    ],
)
def test_xsetbv(machine: Machine, ecx: int, value: int, vector: int) -> None:
    machine.cpu.regs.rcx = ecx
    machine.cpu.regs.rax, machine.cpu.regs.rdx = value & 0xFFFFFFFF, value >> 32
    assert machine.run(XSETBV) == vector
    machine.cpu.regs.rcx = 0
    assert machine.run(XGETBV) == -1
    assert machine.cpu.regs.rax == (value if vector < 0 else 1)


def test_xrstor_initialises_what_the_area_lacks(machine: Machine) -> None:
    machine.cpu.regs.rax, machine.cpu.regs.rdx = 3, 0
    assert machine.run(XSETBV) == -1
    machine.fx(xmm=(b"\1" * 16,))
    assert machine.run(FLD1) == -1
    machine.memory.write(DATA, bytes(576))
    machine.memory.write(DATA + 24, struct.pack("<I", ALL_MASKED))
    assert machine.run(XRSTOR) == -1
    assert machine.cpu.fx[160:176] == bytes(16)
    assert (machine.word(0), machine.status, machine.cpu.fx[4]) == (0x37F, 0, 0)
    machine.memory.write(DATA + 512, struct.pack("<Q", 4))
    assert machine.run(XRSTOR) == GP
    machine.cpu.regs.rbx = DATA + 16
    assert machine.run(XRSTOR) == GP


def test_state_from_outside_can_not_fault_the_host(machine: Machine) -> None:
    """FXRSTOR on the host would refuse reserved MXCSR bits."""
    machine.fx(mxcsr=0xFFFF_FFFF, control=0xFFFF)
    assert machine.run(FLD1) == -1
    assert (machine.mxcsr, machine.word(0)) == (0xFFFF, 0x1F7F)
