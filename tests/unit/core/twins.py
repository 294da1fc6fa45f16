"""The same machine twice, one with each engine: what the one comes to, the other has to come to."""

from __future__ import annotations

import gc
import struct
import zlib
from collections.abc import Callable

from rig import CODE, MEMORY_BYTES, Rig

from ringfence.core.exits import Reason
from ringfence.core.x86.vcpu import Vcpu

ENGINES = ("interpret", "translate")
GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
REGISTERS = (*GENERAL, "rip", "cr0", "cr2", "cr3", "cr4", "efer", "dr6", "dr7")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
#: where the programs below keep their data
DATA = 0x50000
PAGE = 4096
#: of an FXSAVE image all but the last x87 instruction's pointers, which translated code does not keep, and
#: MXCSR_MASK
FPU = {"x87": slice(0, 6), "mxcsr": slice(24, 28)}
FPU |= {f"st{n}": slice(32 + 16 * n, 42 + 16 * n) for n in range(8)}
FPU |= {f"xmm{n}": slice(160 + 16 * n, 176 + 16 * n) for n in range(16)}
IF = 0x200
#: FCW and MXCSR as FNINIT and power-on leave them
FRESH_FPU = struct.pack("<H22xI", 0x37F, 0x1F80).ljust(512, b"\0")

#: Five turns of loads and stores (one across a page), stack, flags, a call, SSE, x87, CLI and STI, a store to
#: the next instruction, strings; then a division, CR3 and registers that translated code keeps in memory.
PROGRAMS = {
    "long": """
        bb00000500 b905000000 31c0          mov ebx,DATA; mov ecx,5; xor eax,eax
        48034308 48114310                   turn: add rax,[rbx+8]; adc [rbx+16],rax
        50 9c 5a 5e 488d7ccb40 488917       push rax, flags; pop rdx, rsi; rdi = rbx+rcx*8+64; mov [rdi],rdx
        4887b700010000 e86d000000           xchg rsi,[rdi+256]; call function
        720a 48f7d8 488983fc1f0000          jc skip; neg rax; mov [rbx+0x1ffc],rax
        0f104320 660fd4c0 0f114320          skip: movups xmm0,[rbx+32]; paddq xmm0,xmm0; movups [rbx+32],xmm0
        db4308 dcc0 df7b30                  fild dword [rbx+8]; fadd st0; fistp qword [rbx+48]
        fa 480fab8b00020000 fb              cli; bts [rbx+512],rcx; sti
        fe0501000000 0410                   inc byte [rip+1]; add al,16
        0f01f8 fd 4889de ac fc              swapgs; std; mov rsi,rbx; lodsb; cld
        ffc9 75a1                           dec ecx; jnz turn
        bf00200500 abab                     mov edi,DATA+0x2000; stosd; stosd
        b8e8030000 99 be07000000 f7f6       mov eax,1000; cdq; mov esi,7; div esi
        410f20d8 410f22d8                   mov r8,cr3; mov cr3,r8
        4989c2 4d89d3 4d6be3fd              mov r10,rax; mov r11,r10; imul r12,r11,-3
        49d1fc 4d19ed                       sar r12,1; sbb r13,r13
        f4 90                               hlt; nop
        55 4889e5 4883ec20 4889442408       function: push rbp; mov rbp,rsp; sub rsp,32; mov [rsp+8],rax
        48d3442408 488b442408 c9 c3         rol qword [rsp+8],cl; mov rax,[rsp+8]; leave; ret
    """,
    "protected": """
        bb00000500 b905000000 31c0          mov ebx,DATA; mov ecx,5; xor eax,eax
        034308 114310                       turn: add eax,[ebx+8]; adc [ebx+16],eax
        50 9c 5a 5e 8d7ccb40 8917           push eax, flags; pop edx, esi; edi = ebx+ecx*8+64; mov [edi],edx
        87b700010000 e85f000000             xchg esi,[edi+256]; call function
        7208 f7d8 8983fe1f0000              jc skip; neg eax; mov [ebx+0x1ffe],eax
        0f104320 660fd4c0 0f114320          skip: movups xmm0,[ebx+32]; paddq xmm0,xmm0; movups [ebx+32],xmm0
        db4308 dcc0 df7b30                  fild dword [ebx+8]; fadd st0; fistp qword [ebx+48]
        fa 0fab8b00020000 fb                cli; bts [ebx+512],ecx; sti
        fe0555800000 0410                   inc byte [the next one's immediate]; add al,16
        60 fd 89de ac fc 61 2f              pusha; std; mov esi,ebx; lodsb; cld; popa; das
        49 75ab                             dec ecx; jnz turn
        bf00200500 abab                     mov edi,DATA+0x2000; stosd; stosd
        b8e8030000 99 be07000000 f7f6       mov eax,1000; cdq; mov esi,7; div esi
        1e 07 66678b8000ff                  push ds; pop es; mov ax,[bx+si-256]
        6bd0fd d1fa 19ed                    imul edx,eax,-3; sar edx,1; sbb ebp,ebp
        f4 90                               hlt; nop
        55 89e5 83ec20 89442408             function: push ebp; mov ebp,esp; sub esp,32; mov [esp+8],eax
        d3442408 8b442408 c9 c3             rol dword [esp+8],cl; mov eax,[esp+8]; leave; ret
    """,
}


def program(mode: str) -> bytes:
    """A program's bytes: what stands before the double space of each line."""
    lines = filter(None, map(str.strip, PROGRAMS[mode].splitlines()))
    return b"".join(bytes.fromhex(line.partition("  ")[0]) for line in lines)


def engine_rig(engine: str, mode: str) -> Rig:
    """A rig with this engine, SSE switched on, and something in the data."""
    # a processor and its views know one another, and memory below 2 GiB is scarce
    gc.collect()
    rig = Rig(mode, engine=engine)
    rig.regs.cr4 |= 0x600
    rig.regs.cr0 |= 0x22
    rig.cpu.fx = FRESH_FPU
    rig.memory.write(DATA, bytes(range(1, 251)))
    return rig


def halt_of(rig: Rig) -> int:
    """Where the program has halted."""
    return CODE + program(rig.mode).index(b"\xf4\x90") + 1


def start_program(rig: Rig) -> Rig:
    """Ready to run `PROGRAMS`; interrupts count in memory."""
    code = "48ff042500080500 48cf" if rig.mode == "long" else "ff0500080500 cf"
    rig.memory.write(0xB000, bytes.fromhex(code))  # inc qword [DATA + 0x800]; iretq
    for vector in range(0x20, 0x100):
        rig.set_idt(vector, 0x8E, offset=0xB000)
    rig.load(program(rig.mode))
    rig.regs.rflags = IF | 2
    return rig


class Start:
    """A moment of a rig, to come back to. What is translated stays, but for pages that changed."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.record = rig, rig.cpu.save()
        self.pages = [rig.memory.read(gpa, PAGE) for gpa in range(0, MEMORY_BYTES, PAGE)]

    def rewind(self) -> Rig:
        memory = self.rig.memory
        for number, page in enumerate(self.pages):
            if memory.read(number * PAGE, PAGE) != page:
                memory.write(number * PAGE, page)
        self.rig.cpu.restore(self.record)
        return self.rig


def registers_of(cpu: Vcpu, flags: int) -> dict[str, object]:
    """All that a guest could tell two processors by, but for flags that are not among `flags`."""
    found: dict[str, object] = {name: hex(getattr(cpu.regs, name)) for name in REGISTERS}
    found["rflags"] = hex(cpu.regs.rflags & flags)
    found |= {name: cpu.segment(name) for name in SEGMENTS}
    found |= {"gdtr": cpu.gdtr, "idtr": cpu.idtr, "interruptible": cpu.is_interruptible}
    image = cpu.fx
    found |= {name: image[part].hex() for name, part in FPU.items()}
    found["upper vectors"] = zlib.crc32(cpu.high)
    return found


def differences(left: Rig, right: Rig) -> list[str]:
    """What differs, as text."""
    found = register_differences(left.cpu, right.cpu)
    a, b = (rig.memory.read(0, MEMORY_BYTES) for rig in (left, right))
    if a != b:
        found += [f"[{k:#x}]: {a[k]:#x} {b[k]:#x}" for k in range(len(a)) if a[k] != b[k]][:8]
    return found


def register_differences(left: Vcpu, right: Vcpu, flags: int = -1) -> list[str]:
    ours, theirs = registers_of(left, flags), registers_of(right, flags)
    return [f"{name}: {ours[name]} {theirs[name]}" for name in ours if ours[name] != theirs[name]]


class Twins:
    """Two rigs that are told the same."""

    def __init__(self, mode: str = "long") -> None:
        self.interpreting, self.translating = engine_rig("interpret", mode), engine_rig("translate", mode)

    def each(self, do: Callable[[Rig], object]) -> None:
        for rig in (self.interpreting, self.translating):
            do(rig)

    def run(self, code: str, **registers: int) -> Rig:
        """Run code to its end on both, which must not differ; the translating one."""

        def go(rig: Rig) -> Reason:
            rig.load(bytes.fromhex(code))
            for name, value in registers.items():
                setattr(rig.regs, name, value)
            return rig.go_on()

        return self.compare(go)

    def compare(self, do: Callable[[Rig], Reason]) -> Rig:
        reasons = [do(rig) for rig in (self.interpreting, self.translating)]
        assert reasons[0] == reasons[1], reasons
        found = differences(self.interpreting, self.translating)
        assert not found, found
        return self.translating


def counter(rig: Rig, name: str) -> int:
    return counter_of(rig.cpu, name)


def counter_of(cpu: Vcpu, name: str) -> int:
    found = cpu.counters()[name]
    assert isinstance(found, int)
    return found
