"""One virtual x86 processor as Python sees it.

The state itself is the C struct `Cpu` (state.pxd), at an address below 2 GiB. `run` releases the
GIL for as long as guest code runs.
"""

import cython
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcpy
from cython.cimports.ringfence.core.engine.interpret import run
from cython.cimports.ringfence.core.engine.translate import run_translated
from cython.cimports.ringfence.core.host.low_memory import map_low, unmap_low
from cython.cimports.ringfence.core.memory.guest_memory import GuestMemory
from cython.cimports.ringfence.core.memory.map import RegionP, find_region
from cython.cimports.ringfence.core.translate.inspect import inspect_translations
from cython.cimports.ringfence.core.translate.stored import store_translations, use_store
from cython.cimports.ringfence.core.translate.translation import translator_of
from cython.cimports.ringfence.core.translate.translator import (
    free_translator,
    new_translator,
    row_counters,
    set_patch_after,
    translation_key,
    translator_counters,
    tune_translator,
)
from cython.cimports.ringfence.core.x86.blocks import BlockCache, free_block_cache, new_block_cache
from cython.cimports.ringfence.core.x86.code_pages import code_written
from cython.cimports.ringfence.core.x86.cpuid import set_model
from cython.cimports.ringfence.core.x86.local_apic import wrap_lapic
from cython.cimports.ringfence.core.x86.mode import refresh_mode
from cython.cimports.ringfence.core.x86.registers import view_exit, view_registers
from cython.cimports.ringfence.core.x86.reset import reset_cpu
from cython.cimports.ringfence.core.x86.state import (
    ACCESS_READ,
    IF_FLAG,
    INSTR_BYTES,
    STATE_VERSION,
    TLB_ENTRIES,
    VIEW_SUPERVISOR,
    Arch,
    Cpu,
    CpuP,
    Segment,
)
from cython.cimports.ringfence.core.x86.state_parts import VectorHigh
from cython.cimports.ringfence.core.x86.thunk import limit_features, open_thunks
from cython.cimports.ringfence.core.x86.tlb import flush_tlb, new_generation
from cython.cimports.ringfence.core.x86.walk import Walk, walk
from cython.cimports.ringfence.core.x86.xsave_legacy import sanitize_fpu

from ringfence.api.translations import Translations
from ringfence.core.x86._gen_models import MODELS
from ringfence.errors import HostError, UserError

ENGINES = ("interpret", "translate")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")


@cython.cclass
class Vcpu:
    """A processor of a virtual machine, at power-on.

    Args:
        index: its number, also its APIC ID.
        memory: the guest's physical memory.
        model: a CPU model of tables/cpuid.tbl.
        engine: ``interpret`` or ``translate``.

    Raises:
        UserError: no such model or engine.
        HostError: the host gives no memory.
    """

    def __cinit__(
        self, index: int, memory: GuestMemory, model: str = "x86-64-v2", engine: str = "interpret"
    ) -> None:
        view: cython.int
        k: cython.int
        self.cpu = cython.cast(CpuP, cython.cast(cython.p_void, map_low(cython.sizeof(Cpu))))
        self.memory = memory
        self.model = model
        self.cpu.index = index
        self.cpu.memory = cython.address(memory.map)
        self.cpu.blocks = new_block_cache()
        self.cpu.inject_vector = -1
        self._written = []
        if self.cpu.blocks == cython.NULL:
            raise HostError("no memory for decoded code")
        for view in range(4):
            for k in range(TLB_ENTRIES):
                self.cpu.tlb[view][0][k].tag = (k ^ 1) << 12
                self.cpu.tlb[view][1][k].tag = (k ^ 1) << 12
        if not set_model(self.cpu, model.encode()):
            names = ", ".join(row[0] for row in MODELS)
            raise UserError(f"no CPU model {model!r}: there are {names}")
        limit_features(self.cpu)
        open_thunks(self.cpu)
        self.regs = view_registers(self.cpu, self)
        self.exit = view_exit(self.cpu, self)
        self.lapic = wrap_lapic(cython.address(self.cpu.a.lapic), self)
        memory.watch_code(self._code_written)
        self.reset()
        self.engine = engine

    def __dealloc__(self) -> None:
        if self.cpu != cython.NULL:
            free_translator(self.cpu)
            free_block_cache(cython.cast(cython.pointer(BlockCache), self.cpu.blocks))
            unmap_low(self.cpu, cython.sizeof(Cpu))

    def reset(self) -> None:
        """Power on: SDM vol. 3, table 9-1."""
        reset_cpu(self.cpu)
        self._refresh()

    def run(self) -> int:
        """Run guest code until something must be decided outside; a `core.exits.Reason`."""
        reason: cython.int
        while self._written:
            gpa, n = self._written.pop()
            code_written(self.cpu, gpa, n)
        self._is_running = True
        with cython.nogil:
            if self._translates:
                reason = run_translated(self.cpu)
            else:
                reason = run(self.cpu)
        self._is_running = False
        return reason

    @property
    def engine(self) -> str:
        """What runs guest code. It may be changed whenever `run` is not running: at any instruction."""
        return "translate" if self._translates else "interpret"

    @engine.setter
    def engine(self, name: str) -> None:
        if name not in ENGINES:
            raise UserError(f"no engine {name!r}: choose {', '.join(ENGINES)}")
        if name == "translate" and self.cpu.translator == cython.NULL:
            new_translator(self.cpu)
            set_patch_after(self.cpu, self._patch_after)
        self._translates = name == "translate"
        new_generation(self.cpu)

    def kick(self) -> None:
        """Make `run` return INTERRUPTED soon. Any thread may call it."""
        self.cpu.kicked = 1
        self.cpu.attention = 1

    def tune_translator(self, threshold: int, has_exact_flags: bool = False, budget: int = 65536) -> None:
        """How often a block is interpreted before it is translated, whether a fault sees flags that nothing
        would have read, and after how many instructions interrupts and the clock are looked at (0: after
        each block): for tests. Code that is already translated stays as it is."""
        tune_translator(self.cpu, threshold, has_exact_flags, budget)

    @property
    def patch_after(self) -> int:
        """How often translated code calls out for a sensitive instruction before that gets host code of its
        own, in code that is translated from now on. 0: it has it from the beginning."""
        return self._patch_after

    @patch_after.setter
    def patch_after(self, count: int) -> None:
        self._patch_after = max(0, min(count, 0xFFFFFFFF))
        set_patch_after(self.cpu, self._patch_after)

    def translations(self) -> Translations | None:
        """All translated code that is alive; None under an engine that translates nothing. Only while `run`
        is not running."""
        return inspect_translations(self.cpu)

    @property
    def translation_key(self) -> bytes:
        """What stored translations depend on besides this version of the core: the processor."""
        return translation_key(self.cpu)

    def store_translations(self, limit: int) -> bytes:
        """Translations for `use_translations` of another vCPU, in another process too: those that there are
        and those used before, about ``limit`` bytes at most. Only while `run` is not running."""
        return store_translations(self.cpu, limit)

    def use_translations(self, stored: bytes) -> bool:
        """Take code from what `store_translations` of this version gave for the same `translation_key`,
        instead of translating it anew. It has to be trusted: it is run. False: it is damaged, and not used;
        or nothing is translated."""
        data: cython.const[cython.uchar][::1]
        if self.cpu.translator == cython.NULL or not stored:
            return False
        data = stored
        self._store = stored
        return use_store(translator_of(self.cpu), cython.address(data[0]), len(stored))

    @property
    def index(self) -> int:
        return self.cpu.index

    def set_clock_offset_ns(self, offset_ns: int) -> None:
        """Host CLOCK_MONOTONIC less guest time, as it is until the next pause."""
        self.cpu.a.clock_offset_ns = offset_ns

    def set_deadline_ns(self, deadline_ns: int) -> None:
        """Guest time at which `run` returns INTERRUPTED; 0 for never."""
        self.cpu.deadline_ns = deadline_ns

    def inject(self, vector: int) -> None:
        """An external interrupt from an 8259; only while `is_interruptible`."""
        self.cpu.inject_vector = vector & 0xFF

    @property
    def is_interruptible(self) -> bool:
        """Whether an interrupt injected now is delivered before the next instruction."""
        cpu: CpuP = self.cpu
        return (
            cpu.a.rflags & IF_FLAG != 0
            and not cpu.a.inhibit_irq
            and cpu.inject_vector < 0
            and cpu.replay_count == 0
        )

    @property
    def request_window(self) -> bool:
        return self.cpu.window_requested != 0

    @request_window.setter
    def request_window(self, value: bool) -> None:
        self.cpu.window_requested = value

    def nmi(self) -> None:
        """Make a non-maskable interrupt pending."""
        self.cpu.a.nmi_pending = 1
        self.cpu.attention = 1

    def set_debug_steps(self, count: int) -> None:
        """Have `run` return DEBUG after so many instructions; 0 for never."""
        self.cpu.debug_steps = count

    def segment(self, name: str) -> tuple[int, int, int, int]:
        """``(selector, base, limit, attr)``; the limit in bytes, attr as descriptor bits."""
        at: cython.int = SEGMENTS.index(name)
        segment: cython.pointer(Segment) = cython.address(self.cpu.a.seg[at])
        return segment.selector, segment.base, segment.limit, segment.attr

    def set_segment(self, name: str, selector: int, base: int, limit: int, attr: int) -> None:
        """Load a segment register's cache as it stands; CS sets the privilege level too."""
        at = SEGMENTS.index(name)
        self.cpu.a.seg[at].selector = selector
        self.cpu.a.seg[at].base = base
        self.cpu.a.seg[at].limit = limit
        self.cpu.a.seg[at].attr = attr
        if name == "cs":
            self.cpu.a.cpl = (attr >> 5) & 3
        self._refresh()

    @property
    def gdtr(self) -> tuple[int, int]:
        return self.cpu.a.gdtr.base, self.cpu.a.gdtr.limit

    @gdtr.setter
    def gdtr(self, value: tuple[int, int]) -> None:
        self.cpu.a.gdtr.base, self.cpu.a.gdtr.limit = value

    @property
    def idtr(self) -> tuple[int, int]:
        return self.cpu.a.idtr.base, self.cpu.a.idtr.limit

    @idtr.setter
    def idtr(self, value: tuple[int, int]) -> None:
        self.cpu.a.idtr.base, self.cpu.a.idtr.limit = value

    @property
    def fx(self) -> bytes:
        """x87, MMX and SSE state as the 512 bytes that FXSAVE writes (SDM vol. 1, 10.5.1)."""
        return cython.cast(cython.p_char, cython.address(self.cpu.a.fx))[:512]

    @fx.setter
    def fx(self, value: bytes) -> None:
        if len(value) != 512:
            raise ValueError("an FXSAVE image has 512 bytes")
        image: cython.p_char = value
        memcpy(cython.address(self.cpu.a.fx), image, 512)
        sanitize_fpu(self.cpu)

    @property
    def high(self) -> bytes:
        """Vector state above the XMM registers: what a compacted XSAVE area has from byte 576 on."""
        return cython.cast(cython.p_char, cython.address(self.cpu.a.high))[: cython.sizeof(VectorHigh)]

    @high.setter
    def high(self, value: bytes) -> None:
        if len(value) != cython.sizeof(VectorHigh):
            raise ValueError(f"the upper vector state has {cython.sizeof(VectorHigh)} bytes")
        image: cython.p_char = value
        memcpy(cython.address(self.cpu.a.high), image, cython.sizeof(VectorHigh))

    def save(self) -> bytes:
        """The architectural state, in one piece."""
        return cython.cast(cython.p_char, cython.address(self.cpu.a))[: cython.sizeof(Arch)]

    def restore(self, record: bytes) -> None:
        """Take up a state that `save` gave.

        Raises:
            ValueError: it is of another version or length.
        """
        image: cython.p_char = record
        if (
            len(record) != cython.sizeof(Arch)
            or cython.cast(cython.pointer(uint32_t), image)[0] != STATE_VERSION
        ):
            raise ValueError("not a processor state of this version")
        # SAFETY: the length was just compared
        memcpy(cython.address(self.cpu.a), image, cython.sizeof(Arch))
        sanitize_fpu(self.cpu)
        self.cpu.replay_count = 0
        self.cpu.is_delivering = 0
        self._refresh()

    def peek(self, la: int, n: int) -> bytes:
        """Guest memory by linear address as the supervisor sees it; short where it is not mapped."""
        found: Walk
        region: RegionP
        out = b""
        while len(out) < n:
            at: uint64_t = (la + len(out)) & 0xFFFFFFFFFFFFFFFF
            take: uint64_t = min(n - len(out), 4096 - (at & 0xFFF))
            if not walk(self.cpu, at, ACCESS_READ, VIEW_SUPERVISOR, cython.address(found)):
                break
            region = find_region(self.cpu.memory, found.gpa)
            if region == cython.NULL:
                break
            start: uint64_t = found.gpa - region.gpa + (at & 0xFFF)
            # SAFETY: `take` ends within the page, and regions are whole pages
            out += cython.cast(cython.p_char, region.host + start)[:take]
        return out

    def recent_blocks(self) -> list[int]:
        """RIP of the blocks last entered from the run loop, oldest first."""
        at: uint32_t = self.cpu.last_rip_at
        return [self.cpu.last_rips[(at + k) & 15] for k in range(16) if self.cpu.last_rips[(at + k) & 15]]

    def counters(self) -> dict[str, object]:
        """What happened since power-on, by name."""
        c = cython.address(self.cpu.count)
        return {
            "instructions": c.instructions + (self.cpu.budget_size - self.cpu.budget) // INSTR_BYTES,
            "blocks_decoded": c.blocks_decoded,
            "blocks_invalidated": c.blocks_invalidated,
            "block_flushes": c.block_flushes,
            "tlb_hits": c.accesses - c.tlb_misses if c.accesses > c.tlb_misses else 0,
            "tlb_misses": c.tlb_misses,
            "tlb_flushes": c.tlb_flushes,
            "page_faults": c.page_faults,
            "mmio": c.mmio,
            "io": c.io,
            "code_writes": c.code_writes,
            "unknown_msrs": c.unknown_msrs,
            "interrupts": {k: c.interrupts[k] for k in range(256) if c.interrupts[k]},
            "exceptions": {k: c.exceptions[k] for k in range(32) if c.exceptions[k]},
            "rows": row_counters(self.cpu),
        } | translator_counters(self.cpu)

    def _refresh(self) -> None:
        """Everything derived from the architectural state, anew."""
        refresh_mode(self.cpu)
        flush_tlb(self.cpu, False)
        self.cpu.attention = 1

    def _code_written(self, gpa: int, n: int) -> None:
        """Somebody wrote on a page with decoded code. While guest code runs that is another thread,
        which must not touch the blocks: they are dropped before the next instruction after a kick."""
        if self._is_running:
            self._written.append((gpa, n))
            self.kick()
        else:
            code_written(self.cpu, gpa, n)
