"""Single steps, breakpoints and interrupt windows that are set while code is translated and warm."""

from __future__ import annotations

import pytest
from rig import CODE, STACK0, Rig
from twins import DATA, Twins, counter

from ringfence.core.exits import Reason

DB, TF, IF = 1, 0x100, 0x200
TURNS = 50
#: turn: mov rdx,[rbx]; add [rbx+8],rdx; push rdx; pop rsi; inc rax; call next; next: pop rdi; dec ecx;
#: jnz turn; hlt
LOOP = "488b13 48015308 52 5e 48ffc0 e800000000 5f ffc9 75ea f4".replace(" ", "")
#: where its instructions are
STARTS = (0, 3, 7, 8, 9, 12, 17, 18, 20, 22)
WRITE, ACCESS = 1, 3


@pytest.fixture(scope="module")
def twins() -> Twins:
    found = Twins()
    run(found)
    return found


def arm(rig: Rig, **registers: int) -> None:
    """At the loop's start, with no breakpoints."""
    rig.load(bytes.fromhex(LOOP))
    wanted = {
        "rcx": TURNS,
        "rax": 0,
        "rbx": DATA,
        "rsp": STACK0,
        "dr7": 0x400,
        "dr6": 0xFFFF0FF0,
        "rflags": 2,
    }
    for name, value in (wanted | registers).items():
        setattr(rig.regs, name, value)


def run(twins: Twins, **registers: int) -> Rig:
    def go(rig: Rig) -> Reason:
        arm(rig, **registers)
        return rig.go_on()

    return twins.compare(go)


def run_again(twins: Twins) -> None:
    """Nothing is left of the breakpoints: translated code runs."""
    before = counter(twins.translating, "translation_entries")
    rig = run(twins)
    assert rig.vector is None and rig.regs.rax == TURNS
    assert counter(rig, "translation_entries") > before


def test_tf(twins: Twins) -> None:
    for at, after in zip(STARTS, (*STARTS[1:-1], 0), strict=False):
        rig = run(twins, rflags=TF | 2, rip=CODE + at)
        assert rig.vector == DB and rig.stack(1)[0] == CODE + after
    run_again(twins)


@pytest.mark.parametrize("turn", [1, 7, TURNS])
def test_a_breakpoint_on_every_instruction(twins: Twins, turn: int) -> None:
    """Reached after some turns were run, under breakpoints or before they were set."""
    for at in STARTS:

        def go(rig: Rig, at: int = at) -> Reason:
            arm(rig, rcx=turn)
            assert rig.go_on() == Reason.HLT and rig.vector is None
            arm(rig, dr0=CODE + at, dr7=0x401)
            return rig.go_on()

        rig = twins.compare(go)
        assert rig.vector == DB and rig.stack(1)[0] == CODE + at and rig.regs.dr6 & 15 == 1
    run_again(twins)


@pytest.mark.parametrize(
    ("address", "kind", "expected"),
    [(DATA, WRITE, None), (DATA, ACCESS, 3), (DATA + 8, WRITE, 7), (DATA + 15, ACCESS, 7),
     (STACK0 - 8, WRITE, 8), (STACK0 - 8, ACCESS, 8), (DATA + 16, ACCESS, None)],
)  # fmt: skip
def test_a_data_breakpoint(twins: Twins, address: int, kind: int, expected: int | None) -> None:
    rig = run(twins, dr1=address, dr7=0x404 | kind << 20)
    if expected is None:
        assert rig.vector is None and rig.regs.rax == TURNS
    else:
        assert rig.vector == DB and rig.stack(1)[0] == CODE + expected
    run_again(twins)


def test_the_guest_sets_and_clears_them_itself(twins: Twins) -> None:
    """A warm loop that moves R9 to DR7 at its end, which is 0x400 but in the last turn."""
    # turn: inc rax; mov rdx,[rbx]; mov dr7,r9; mov r9,r10; mov r10,0x400; dec ecx; jnz turn; hlt
    code = "48ffc0 488b13 410f23f9 4d89d1 41ba00040000 ffc9 75e9 f4".replace(" ", "")
    for slots in ((0x400, 0x400), (0x400, 0x401), (0x401, 0x400)):
        for _ in range(2):
            rig = twins.run(
                code, rax=0, rcx=TURNS, rbx=DATA, r9=slots[0], r10=slots[1], dr0=CODE + 3, dr7=0x400,
                dr6=0xFFFF0FF0, rsp=STACK0, rflags=2,
            )  # fmt: skip
            assert (rig.vector == DB) == (0x401 in slots)


def test_popf_sets_tf_in_a_warm_loop(twins: Twins) -> None:
    """The flags come from memory: first without TF, then with it."""
    # turn: push qword [rbx]; popf; inc rax; mov rdx,[rbx]; dec ecx; jnz turn; hlt
    code = "ff33 9d 48ffc0 488b13 ffc9 75f3 f4".replace(" ", "")
    for flags in (2, 2, TF | 2, 2):
        twins.each(lambda rig, flags=flags: rig.memory.write(DATA, flags.to_bytes(8, "little")))
        rig = twins.run(code, rax=0, rcx=TURNS, rbx=DATA, rsp=STACK0, dr7=0x400, dr6=0xFFFF0FF0, rflags=2)
        assert rig.vector == (DB if flags & TF else None)
        if flags & TF:
            assert rig.stack(1)[0] == CODE + 6, "after the instruction that follows POPF"


#: loops that let interrupts in: how many bytes from the start one is taken, by whether it waits before
WINDOWS = {
    "sti and one instruction": ("fb 48ffc0 fa ffc9 75f7 f4", 4),  # sti; inc rax; cli
    "sti and cli": ("fb fa 48ffc0 ffc9 75f7 f4", None),
    "popf has no shadow": ("9c 804c240102 9d 48ffc0 fa ffc9 75f1 f4", 7),  # pushf; or byte [rsp+1],2; popf
    "sti twice": ("fb fb 48ffc0 fa ffc9 75f6 f4", 2),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_an_interrupt_window_of_warm_code(twins: Twins, name: str) -> None:
    code, at = WINDOWS[name]
    code = code.replace(" ", "")
    registers = {"rax": 0, "rcx": TURNS, "rsp": STACK0, "rflags": 2, "dr7": 0x400}
    rig = twins.run(code, **registers)
    assert rig.regs.rax == TURNS

    def go(rig: Rig) -> Reason:
        rig.load(bytes.fromhex(code))
        for name, value in registers.items():
            setattr(rig.regs, name, value)
        rig.cpu.request_window = True
        return rig.go_on()

    for _ in range(2):
        rig = twins.compare(go)
        assert rig.cpu.is_interruptible == (at is not None)
        assert rig.regs.rip == CODE + (len(code) // 2 if at is None else at)
    twins.each(lambda rig: setattr(rig.cpu, "request_window", False))


def test_mov_ss_shadows_a_breakpoint_and_an_interrupt(twins: Twins) -> None:
    # turn: sti; mov ss,edx; inc rax; cli; dec ecx; jnz turn; hlt
    code = "fb8ed248ffc0faffc975f5f4"
    registers = {
        "rax": 0,
        "rcx": TURNS,
        "rsp": STACK0,
        "rdx": 0x10,
        "rflags": 2,
        "dr7": 0x400,
        "dr6": 0xFFFF0FF0,
    }
    assert twins.run(code, **registers).regs.rax == TURNS
    rig = twins.run(code, **registers | {"dr0": CODE + 3, "dr7": 0x401})
    assert rig.vector is None or rig.stack(1)[0] == CODE + 3
    twins.run(code, **registers)
