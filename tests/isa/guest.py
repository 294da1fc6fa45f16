"""The same case on our vCPU: 64-bit code in ring 3, one instruction, faults caught by handlers that halt."""

from __future__ import annotations

import struct

from case import CODE, DATA, DATA_BYTES, GENERAL, GP, INSTRUCTION, NONE, PF_VECTOR, Case, Outcome

from ringfence.core.exits import Reason
from ringfence.core.memory.guest_memory import GuestMemory
from ringfence.core.x86.vcpu import Vcpu

# guest-physical; the first 2 MiB are the supervisor's, mapped as they are
PML4, PDPT, LOW_PD, USER_PD, USER_PT = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
IDT, TSS, HANDLERS, STACK_TOP = 0x6000, 0x7000, 0x8000, 0xA000
HANDLER_BYTES = 16
HLT = b"\xf4"
DATA_GPA, CODE_GPA = 0x10000, 0x12000
RAM_BYTES = 0x20000
MMIO_GPA = 0x100_0000
EXIT_LIMIT = 200
REPEAT_LIMIT = 100
#: RFLAGS as a process has them: IF and bit 1
ALWAYS_SET = 0x202

PRESENT, WRITABLE, USER, LARGE = 1, 2, 4, 0x80
CODE_SELECTOR, USER_CODE_SELECTOR, USER_DATA_SELECTOR, GDT = 8, 0x1B, 0x23, 0xB000
#: descriptor bits 8-15 and 20-23: present, ring, type; L or D, G
CODE_64_KERNEL, CODE_64_USER, DATA_USER, TSS_BUSY = 0xA09B, 0xA0FB, 0xC0F3, 0x8B
FLAT = 0xFFFF_FFFF

CR0_PROTECTED_PAGED = 0x8001_0033  # PG WP NE ET MP PE
CR4_LONG = 0x406A0  # OSXSAVE OSXMMEXCPT OSFXSR PGE PAE
EFER_LONG = 0xD01  # NXE LMA LME SCE


def gate(vector: int) -> bytes:
    """A 64-bit interrupt gate to the vector's handler."""
    at = HANDLERS + HANDLER_BYTES * vector
    return struct.pack("<HHBBHII", at & 0xFFFF, CODE_SELECTOR, 0, 0x8E, at >> 16, 0, 0)


def descriptor(attr: int) -> int:
    """A flat segment descriptor."""
    return 0xFFFF | (attr & 0xFF) << 40 | 0xF << 48 | (attr >> 12 & 0xF) << 52


def page_tables(data_gpa: int) -> dict[int, bytes]:
    """Frame to entries: 2 MiB of the supervisor's at 0, the case's pages for the user at DATA and CODE."""
    link = PRESENT | WRITABLE | USER
    pages = {(DATA >> 12) + n: data_gpa + 0x1000 * n for n in range(DATA_BYTES >> 12)}
    pages[CODE >> 12] = CODE_GPA
    leaves = bytearray(0x1000)
    for gfn, gpa in pages.items():
        struct.pack_into("<Q", leaves, (gfn & 511) * 8, gpa | link)
    directory = bytearray(0x1000)
    struct.pack_into("<Q", directory, 0, PRESENT | WRITABLE | LARGE)
    struct.pack_into("<Q", directory, (DATA >> 21) * 8, USER_PT | link)
    return {
        PML4: struct.pack("<Q", PDPT | link),
        PDPT: struct.pack("<Q", LOW_PD | link),
        LOW_PD: bytes(directory),
        USER_PT: bytes(leaves),
    }


class Guest:
    """Our vCPU as a function from case to outcome."""

    data_gpa = DATA_GPA
    engine = "interpret"
    #: whether a fault shows flags that nothing would have read
    has_exact_flags = True

    def __init__(self, model: str = "max") -> None:
        self.memory = memory = GuestMemory()
        memory.add_ram(0, RAM_BYTES)
        for gpa, entries in page_tables(self.data_gpa).items():
            memory.write(gpa, entries)
        memory.write(IDT, b"".join(gate(vector) for vector in range(32)))
        memory.write(HANDLERS, HLT * HANDLER_BYTES * 32)
        memory.write(TSS + 4, struct.pack("<Q", STACK_TOP))
        descriptors = [0, descriptor(CODE_64_KERNEL), 0, descriptor(CODE_64_USER), descriptor(DATA_USER)]
        memory.write(GDT, struct.pack("<5Q", *descriptors))
        self.vcpu = vcpu = Vcpu(0, memory, model, self.engine)
        vcpu.gdtr, vcpu.idtr = (GDT, 39), (IDT, 0x1FF)
        vcpu.set_segment("tr", 0x28, TSS, 0x67, TSS_BUSY)
        vcpu.regs.cr3 = PML4
        vcpu.regs.cr4 = CR4_LONG
        vcpu.regs.efer = EFER_LONG
        vcpu.regs.cr0 = CR0_PROTECTED_PAGED
        for name in ("ds", "es", "fs", "gs"):
            vcpu.set_segment(name, USER_DATA_SELECTOR, 0, FLAT, DATA_USER)
        self.enable_components()
        self.start = self.enter_ring_3()
        self.data = self.make_data()
        self.loaded = b""

    def enable_components(self) -> None:
        """All of XCR0 that CPUID leaf Dh offers."""
        self.vcpu.set_segment("cs", CODE_SELECTOR, 0, FLAT, CODE_64_KERNEL)
        # mov eax, 0dh; xor ecx, ecx; cpuid; xor ecx, ecx; xor edx, edx; xsetbv; hlt
        self.memory.write(HANDLERS, bytes.fromhex("b80d00000031c90fa231c931d20f01d1f4"))
        self.vcpu.regs.rip = HANDLERS
        assert self.vcpu.run() == Reason.HLT
        record = self.vcpu.save()
        self.vcpu.restore(record[:4] + bytes(4) + record[8:])  # no longer halted
        self.memory.write(HANDLERS, HLT * HANDLER_BYTES * 2)

    def make_data(self) -> memoryview:
        return self.memory.view(self.data_gpa, DATA_BYTES)

    def enter_ring_3(self) -> bytes:
        """The state that every case starts from."""
        self.vcpu.set_segment("ss", USER_DATA_SELECTOR, 0, FLAT, DATA_USER)
        self.vcpu.set_segment("cs", USER_CODE_SELECTOR, 0, FLAT, CODE_64_USER)
        return self.vcpu.save()

    def go(self) -> int:
        """Run the instruction to its end: an exit reason."""
        return self.vcpu.run()

    def load(self, case: Case) -> None:
        """Put the case's state in place, and HLT behind its code."""
        vcpu, regs = self.vcpu, self.vcpu.regs
        vcpu.restore(self.start)
        if case.code != self.loaded:
            # the same code again finds its decoded blocks
            self.loaded = case.code
            self.memory.write(CODE_GPA + INSTRUCTION - CODE, case.code + HLT * 16)
        self.data[:] = bytes(DATA_BYTES)
        self.data[case.window_at : case.window_at + len(case.window)] = case.window
        for name, value in zip(GENERAL, case.regs, strict=True):
            setattr(regs, name, value)
        regs.rip = INSTRUCTION
        regs.rflags = case.rflags | ALWAYS_SET
        vcpu.fx = case.fx
        vcpu.high = case.high

    def run(self, case: Case, is_repeated: bool = False) -> Outcome:
        """One instruction, or all turns of it."""
        vcpu, regs = self.vcpu, self.vcpu.regs
        self.load(case)
        for _ in range(REPEAT_LIMIT if is_repeated else 1):
            vcpu.set_debug_steps(1)
            reason = self.go()
            if regs.rip != INSTRUCTION:
                break
        assert reason in (Reason.DEBUG, Reason.HLT), f"exit {Reason(reason).name} from {case.code.hex(' ')}"
        return self.outcome()

    def run_through(self, case: Case) -> Outcome:
        """The whole of the case's code, as the engine likes to run it: HLT behind it raises #GP in ring 3."""
        self.load(case)
        self.vcpu.set_debug_steps(0)
        reason = self.go()
        assert reason == Reason.HLT, f"exit {Reason(reason).name} from {case.code.hex(' ')}"
        found = self.outcome()
        if found.vector == GP and found.rip == INSTRUCTION + len(case.code):
            found.vector = NONE
            found.error = 0
        return found

    def outcome(self) -> Outcome:
        vcpu, regs = self.vcpu, self.vcpu.regs
        rip, data = regs.rip, bytes(self.data)
        values = [getattr(regs, name) for name in GENERAL]
        if not HANDLERS <= rip < STACK_TOP:
            return Outcome(NONE, 0, 0, rip, values, regs.rflags, vcpu.fx, data, vcpu.high)
        vector = (rip - HANDLERS) // HANDLER_BYTES
        pushed = struct.unpack("<6Q", self.memory.read(STACK_TOP - 48, 48))
        error = pushed[0] if vector in (8, 10, 11, 12, 13, 14, 17) else 0
        at, _, rflags, values[4], _ = pushed[1:]
        cr2 = regs.cr2 if vector == PF_VECTOR else 0
        return Outcome(vector, error, cr2, at, values, rflags, vcpu.fx, data, vcpu.high)


class TranslatedGuest(Guest):
    """The translator, which runs whole blocks: code is translated when it is first met."""

    engine = "translate"

    def __init__(self, model: str = "max") -> None:
        super().__init__(model)
        self.vcpu.tune_translator(1, self.has_exact_flags)

    def run(self, case: Case, is_repeated: bool = False) -> Outcome:
        return self.run_through(case)


class MmioGuest(Guest):
    """The same with the data on a bus: each access is an exit, answered from bytes on this side."""

    data_gpa = MMIO_GPA

    def make_data(self) -> memoryview:
        return memoryview(bytearray(DATA_BYTES))

    def go(self) -> int:
        for _ in range(EXIT_LIMIT):
            reason = self.vcpu.run()
            if reason != Reason.MMIO:
                return reason
            record = self.vcpu.exit
            at = record.address - MMIO_GPA
            if record.is_write:
                self.data[at : at + record.size] = record.data.to_bytes(8, "little")[: record.size]
            else:
                record.data = int.from_bytes(self.data[at : at + record.size], "little")
        raise AssertionError(f"{EXIT_LIMIT} exits of one instruction")


class TranslatedMmioGuest(TranslatedGuest, MmioGuest):
    """Probes never reach a bus: every access calls out, and some leave from the middle of a block."""
