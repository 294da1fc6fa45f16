"""POST port, debug console, debug exit."""

from __future__ import annotations

from ringfence.devices.legacy.debug import DebugConsole, DebugExit, PostPort


def test_the_post_port_remembers_the_last_code() -> None:
    seen: list[int] = []
    port = PostPort(seen.append)
    port.write(0, 1, 0x20)
    port.write(0, 1, 0xFF)
    assert port.read(0, 1) == 0xFF
    assert seen == [0x20, 0xFF]
    other = PostPort()
    other.restore(port.save())
    assert other.read(0, 1) == 0xFF


def test_the_debug_console_is_found_and_written() -> None:
    out = bytearray()
    console = DebugConsole(out.extend)
    assert console.read(0, 1) == 0xE9
    for byte in b"ok\n":
        console.write(0, 1, byte)
    console.write(0, 2, 0x4241)
    assert out == b"ok\nAB"
    assert DebugConsole(out.extend, signature=0x02).read(0, 1) == 0x02


def test_debug_exit_hands_on_the_value() -> None:
    seen: list[int] = []
    DebugExit(seen.append).write(0, 4, 0x10)
    assert seen == [0x10]
