"""`ringfence run`: boot a guest with its serial console on this terminal."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ringfence.cli.translated import Wishes
from ringfence.errors import UserError
from ringfence.vmm.outcome import Kind, Outcome, status_lines

#: Guests that `run` can fetch itself.
GUESTS = ("debian",)
#: Their kernels' command line, where the user gives none.
DEBIAN_APPEND = "console=ttyS0 quiet"
#: Endings that go without saying.
QUIET = {Kind.POWER_OFF, Kind.LEFT, Kind.DEBUG_EXIT}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

EPILOG = "\b\nExit status:\n" + "\n".join(status_lines())


def _number(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """An address or a port as people write them: 244, 0xf4."""
    try:
        return None if value is None else int(value, 0)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a number") from error


@click.command("run", epilog=EPILOG)
@click.argument("guest", required=False, metavar="[debian]")
@click.option("--kernel", metavar="FILE", help="Linux bzImage, PVH or multiboot ELF, or raw 16-bit code.")
@click.option("--initrd", metavar="FILE", help="The kernel's initial RAM disk; a multiboot module.")
@click.option("--append", metavar="TEXT", help="The kernel's command line.")
@click.option("--disk", "disks", metavar="FILE[,ro]", multiple=True, help="A raw disk image; repeatable.")
@click.option(
    "-v",
    "--volume",
    "shares",
    metavar="HOST:GUEST[:ro]",
    multiple=True,
    help="Let the guest mount a directory of this host; repeatable.",
)
@click.option("--memory", metavar="SIZE", default="512M", show_default=True, help="Guest RAM.")
@click.option("--cpu", metavar="MODEL", default="x86-64-v2", show_default=True, help="CPU model.")
@click.option(
    "--engine",
    metavar="ENGINE",
    default="translate",
    show_default=True,
    help="What runs guest code: translate or interpret.",
)
@click.option(
    "--patch", is_flag=True, help="Let sensitive instructions call out, and patch where they turn hot."
)
@click.option("--firmware", metavar="ROM", help="Start this ROM image at the reset vector; no kernel.")
@click.option(
    "--network",
    metavar="none|user|SWITCH|PATH",
    default="none",
    show_default=True,
    help="What the NIC is plugged into.",
)
@click.option(
    "-p",
    "--publish",
    metavar="[HOSTIP:]HOSTPORT:GUESTPORT[/udp]",
    multiple=True,
    help="Let a port of this host lead to the guest's; repeatable.",
)
@click.option(
    "--allow",
    metavar="NAME|CIDR",
    multiple=True,
    help="Let the guest reach this and nothing else; repeatable.",
)
@click.option("--capture", metavar="FILE", help="Write all that passes the NIC to a pcap file.")
@click.option(
    "--debug-exit", metavar="PORT", callback=_number, help="An isa-debug-exit device, usually at 0xf4."
)
@click.option("--test-device", is_flag=True, help="The device that kvm-unit-tests wants.")
@click.option(
    "--raw-at", metavar="ADDRESS", callback=_number, help="KERNEL is bare real-mode code for this address."
)
@click.option("--no-reboot", is_flag=True, help="A guest's reset ends the run instead of booting again.")
@click.option(
    "--report", metavar="json|FILE.json", help="Write what happened: 'json' to stderr, or to a file."
)
@click.option(
    "--translation-cache/--no-translation-cache",
    default=False,
    help="Take translated code from earlier runs, and keep this one's.",
)
@click.option(
    "--check-translations", is_flag=True, help="At the end, prove that no translated code can escape."
)
@click.option("--translations", metavar="FILE", help="At the end, write translated code for disasm-block.")
@click.option("--perf-map", is_flag=True, help="At the end, name translated code for Linux perf.")
@click.option("--symbols", metavar="System.map", help="The guest kernel's symbols, for --perf-map.")
@click.option("--verbose", is_flag=True, help="Log more: the guest's debug console, its resets.")
@click.option(
    "--mirror", metavar="URL", help="Debian mirror for 'debian'; else $RINGFENCE_DEBIAN_MIRROR, else apt's."
)
def command(
    guest: str | None,
    mirror: str | None,
    report: str | None,
    no_reboot: bool,
    verbose: bool,
    check_translations: bool,
    translations: str | None,
    perf_map: bool,
    symbols: str | None,
    **options: Any,
) -> int:
    """Boot a guest, its serial console on this terminal. Ctrl-] leaves.

    With 'debian', or nothing at all, it is Debian's cloud kernel with a shell, fetched and cached the first
    time. Input comes from a pipe or a file as well, and may be closed.
    """
    if options["kernel"] is None and options["firmware"] is None:
        _use_guest(guest or "debian", mirror, options)
    elif guest is not None:
        raise click.UsageError(f"{guest!r} and --kernel or --firmware exclude each other")
    options["append"] = options["append"] or ""
    check_report(report)
    wishes = Wishes(check_translations, translations, perf_map, symbols)
    wishes.check_first(options["engine"])

    from ringfence.log import configure
    from ringfence.vmm.machine import Machine

    configure(logging.INFO if verbose else logging.WARNING)
    with Machine(options.pop("kernel"), reboot=not no_reboot, **options) as vm:
        outcome = _attend(vm)
        wishes.grant(vm)
    if outcome.kind not in QUIET:
        print(f"ringfence: {outcome}", *outcome.detail.splitlines(), sep="\n", file=sys.stderr)
    if report is not None:
        write_report(vm.report(), report)
    return outcome.exit_status


def _use_guest(guest: str, mirror: str | None, options: dict[str, Any]) -> None:
    if guest not in GUESTS:
        raise click.UsageError(f"no guest {guest!r}: choose {', '.join(GUESTS)}, or pass --kernel FILE")
    from ringfence.cli.progress import ProgressBars
    from ringfence.image.debian import fetch_debian

    with ProgressBars() as progress:
        fetched = fetch_debian(mirror=mirror, progress=progress)
    options["kernel"] = fetched.kernel
    options["initrd"] = options["initrd"] or fetched.initrd
    options["append"] = options["append"] or DEBIAN_APPEND


def _attend(vm: Any) -> Outcome:
    """Start the machine and carry bytes between it and the terminal until it ends."""
    from ringfence.vmm.terminal import Terminal

    terminal = Terminal(send=vm.console.send, on_leave=lambda: vm.stop(Outcome(Kind.LEFT)))
    vm.console.tee = terminal.write
    if terminal.is_interactive:
        print("ringfence: Ctrl-] leaves", file=sys.stderr)
    with terminal, _signals_stop(vm, terminal):
        vm.start()
        outcome: Outcome = vm.wait()
    return outcome


@contextmanager
def _signals_stop(vm: Any, terminal: Any) -> Iterator[None]:
    """A signal that would kill us ends the machine first, so that files and the terminal are put in order."""

    def stop(number: int, frame: FrameType | None) -> None:
        terminal.release()
        vm.stop(Outcome(Kind.KILLED, number))

    # One that is ignored, as nohup(1) does it, stays ignored.
    wanted = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_report(target: str | None) -> None:
    """Refuse a report that could not be written, before the guest runs.

    Raises:
        UserError: it is neither ``json`` nor a writable file.
    """
    if target is None or target == "json":
        return
    if not target.endswith(".json"):
        raise UserError(f"--report {target}: write 'json' or a file's name that ends in .json")
    try:
        Path(target).touch()
    except OSError as error:
        raise UserError(f"--report {target}: {error.strerror}") from error


def write_report(report: dict[str, Any], target: str) -> None:
    """The report as JSON: in one line on stderr for ``json``, else into that file."""
    if target == "json":
        print(json.dumps(report), file=sys.stderr)
    else:
        Path(target).write_text(json.dumps(report, indent=2) + "\n")
