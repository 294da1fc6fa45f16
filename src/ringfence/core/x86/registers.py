"""The registers and the exit record of a vCPU as Python sees them: views of the C struct."""

import cython
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.ringfence.core.x86.flags import get_rflags, set_arithmetic_flags
from cython.cimports.ringfence.core.x86.lapic import lapic_set_cr8
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.state import ARITHMETIC, CR0_PG, CR4_PAE, EFER_LMA, CpuP
from cython.cimports.ringfence.core.x86.tlb import flush_tlb
from cython.cimports.ringfence.core.x86.walk import load_pdptes

GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
#: registers that have a name in `Registers`
NAMES = (*GENERAL, "rip", "rflags", "cr0", "cr2", "cr3", "cr4", "cr8", "efer", *(f"dr{n}" for n in range(8)))


@cython.cclass
class Registers:
    """The registers by name: ``regs.rax``, ``regs.cr3 = …``. Values are unsigned 64-bit numbers.

    Writing a control register here sets it as it stands, with no check that a MOV to it would make.
    """

    def __getattr__(self, name: str) -> int:
        cpu: CpuP = self.cpu
        if name in GENERAL:
            return cpu.a.regs[GENERAL.index(name)]
        if name == "rip":
            return cpu.a.rip
        if name == "rflags":
            return get_rflags(cpu)
        if name == "cr8":
            return cpu.a.lapic.tpr >> 4
        if name == "efer":
            return cpu.a.msr.efer
        if name == "cr0":
            return cpu.a.cr0
        if name == "cr2":
            return cpu.a.cr2
        if name == "cr3":
            return cpu.a.cr3
        if name == "cr4":
            return cpu.a.cr4
        if name in NAMES:
            return cpu.a.dr[int(name[2])]
        raise AttributeError(f"no register {name!r}")

    def __setattr__(self, name: str, value: int) -> None:
        cpu: CpuP = self.cpu
        bits: uint64_t = value & 0xFFFFFFFFFFFFFFFF
        if name in GENERAL:
            cpu.a.regs[GENERAL.index(name)] = bits
            return
        if name == "rip":
            cpu.a.rip = bits
            return
        if name == "rflags":
            set_arithmetic_flags(cpu, bits)
            cpu.a.rflags = bits & ~cython.cast(uint64_t, ARITHMETIC) | 2
        elif name == "cr8":
            lapic_set_cr8(cython.address(cpu.a.lapic), bits & 15)
        elif name == "efer":
            cpu.a.msr.efer = bits
        elif name == "cr0":
            cpu.a.cr0 = bits
        elif name == "cr2":
            cpu.a.cr2 = bits
        elif name == "cr3":
            cpu.a.cr3 = bits
        elif name == "cr4":
            cpu.a.cr4 = bits
        elif name in NAMES:
            cpu.a.dr[int(name[2])] = bits
        else:
            raise AttributeError(f"no register {name!r}")
        if cpu.a.cr0 & CR0_PG and cpu.a.cr4 & CR4_PAE and not cpu.a.msr.efer & EFER_LMA:
            load_pdptes(cpu)
        refresh_mode(cpu)
        flush_tlb(cpu, False)

    def __dir__(self) -> list[str]:
        return list(NAMES)

    def __repr__(self) -> str:
        rows = [NAMES[k : k + 4] for k in range(0, 24, 4)]
        return "\n".join("  ".join(f"{n:>6} {getattr(self, n):016x}" for n in row) for row in rows)


@cython.cclass
class Exit:
    """Why guest execution stopped, as the last `run` left it."""

    @property
    def reason(self) -> int:
        return self.cpu.exit.reason

    @property
    def address(self) -> int:
        """Port or guest-physical address."""
        return self.cpu.exit.address

    @property
    def size(self) -> int:
        """Bytes of the access: 1, 2, 4 or 8."""
        return self.cpu.exit.size

    @property
    def is_write(self) -> bool:
        return self.cpu.exit.is_write != 0

    @property
    def data(self) -> int:
        return self.cpu.exit.data

    @data.setter
    def data(self, value: int) -> None:
        self.cpu.exit.data = value & 0xFFFFFFFFFFFFFFFF


@cython.cfunc
def view_registers(cpu: CpuP, owner: object) -> Registers:
    """The registers of ``cpu``, which ``owner`` keeps alive."""
    view: Registers = Registers.__new__(Registers)
    view.cpu = cpu
    view.owner = owner
    return view


@cython.cfunc
def view_exit(cpu: CpuP, owner: object) -> Exit:
    view: Exit = Exit.__new__(Exit)
    view.cpu = cpu
    view.owner = owner
    return view
