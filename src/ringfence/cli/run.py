"""`ringfence run`: boot a guest, with its serial console on this terminal or in the background."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ringfence.cli.main import SIGNALS, Killed
from ringfence.cli.translated import Wishes
from ringfence.errors import UserError
from ringfence.vmm.outcome import Kind, Outcome, status_lines

#: Endings that go without saying.
QUIET = {Kind.POWER_OFF, Kind.LEFT, Kind.DEBUG_EXIT}

EPILOG = "\b\nExit status:\n" + "\n".join(status_lines())


def _number(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """An address or a port as people write them: 244, 0xf4."""
    try:
        return None if value is None else int(value, 0)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a number") from error


@click.command("run", epilog=EPILOG)
@click.argument("guest", required=False, metavar="[debian]")
@click.option("-d", "--detach", is_flag=True, help="In the background: print its name, and return.")
@click.option("--rm", "is_removed", is_flag=True, help="Leave nothing behind when it ends.")
@click.option("--name", metavar="NAME", default="", help="What it is called; else a name is made up.")
@click.option("--label", "labels", metavar="NAME[=VALUE]", multiple=True, help="A word of yours; repeatable.")
@click.option("-i", "--interactive", is_flag=True, help="As docker has it: without -d it always is.")
@click.option("-t", "--tty", "wants_tty", is_flag=True, help="Insist on a terminal as standard input.")
@click.option("--cpus", metavar="N", default="1", help="Virtual CPUs: 1.")
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
    metavar="[[HOSTIP:]HOSTPORT:]GUESTPORT[/udp]",
    multiple=True,
    help="Let a port of this host lead to the guest's; repeatable.",
)
@click.option(
    "--allow",
    metavar="NAME|CIDR",
    multiple=True,
    help="Let the guest reach this and nothing else; repeatable.",
)
@click.option(
    "--dns", metavar="ADDRESS[:PORT]", multiple=True, help="Ask this name server for the guest; repeatable."
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
@click.option("--json", "is_json", is_flag=True, help="With -d: print what 'ps --json' says of it.")
@click.option("--verbose", is_flag=True, help="Log more: the guest's debug console, its resets.")
@click.option(
    "--mirror", metavar="URL", help="Debian mirror for 'debian'; else $RINGFENCE_DEBIAN_MIRROR, else apt's."
)
@click.pass_obj
def command(
    owns_process: bool,
    guest: str | None,
    mirror: str | None,
    detach: bool,
    is_removed: bool,
    name: str,
    labels: tuple[str, ...],
    interactive: bool,
    wants_tty: bool,
    cpus: str,
    report: str | None,
    no_reboot: bool,
    is_json: bool,
    verbose: bool,
    check_translations: bool,
    translations: str | None,
    perf_map: bool,
    symbols: str | None,
    **options: Any,
) -> int:
    """Boot a guest, its serial console on this terminal. Ctrl-] leaves, and ends it.

    With 'debian', or nothing at all, it is Debian's cloud kernel with a shell, fetched and cached the first
    time. Input comes from a pipe or a file as well, and may be closed. With -d it runs in the background: see
    'ps', 'console', 'exec', 'logs', 'stop'.
    """
    wishes = Wishes(check_translations, translations, perf_map, symbols)
    _check_life(detach, wants_tty, cpus, bool(report) or wishes.any)
    if is_json and not detach:
        raise UserError("--json goes with -d: here the guest's console is what is printed")
    if options["kernel"] is None and options["raw_at"] is not None:
        raise click.UsageError("--raw-at says where --kernel goes: there is none")
    if options["kernel"] is None and options["firmware"] is None:
        guest = guest or "debian"
        _use_guest(guest, mirror, options)
    elif guest is not None:
        raise click.UsageError(f"{guest!r} and --kernel or --firmware exclude each other")
    options["append"] = options["append"] or ""
    options |= {"reboot": not no_reboot, "agent": True}
    about = {"name": name, "guest": guest or "", "labels": _parse_labels(labels)}
    if detach:
        return _detach(is_removed, is_json, about, options)
    check_report(report)
    wishes.check_first(options["engine"])

    from ringfence.cli.registered import Jail, registered
    from ringfence.log import configure
    from ringfence.vmm.machine import Machine

    configure(logging.INFO if verbose else logging.WARNING)
    with ExitStack() as stack:
        entry = stack.enter_context(registered(is_removed or not name, about, options))
        outputs = [*wishes.outputs, *([report] if report not in (None, "json") else [])]
        jail = Jail(entry, map(Path, outputs)) if owns_process else None
        vm = stack.enter_context(Machine(options.pop("kernel"), **options))
        outcome = _attend(vm, entry, jail)
        wishes.grant(vm)
    if outcome.kind not in QUIET:
        print(f"ringfence: {outcome}", *outcome.detail.splitlines(), sep="\n", file=sys.stderr)
    if report is not None:
        write_report(vm.report(), report)
    if outcome.kind is Kind.KILLED:
        raise Killed(outcome.value)
    return outcome.exit_status


def _check_life(detach: bool, wants_tty: bool, cpus: str, wants_report: bool) -> None:
    if not cpus.isdigit() or int(cpus) != 1:
        raise UserError(f"--cpus {cpus}: a machine has one virtual CPU; write --cpus 1, or leave it out")
    if wants_tty and not detach and not (sys.stdin is not None and sys.stdin.isatty()):
        raise UserError("-t needs a terminal as standard input: leave it out, or run detached with -d")
    if detach and wants_report:
        raise UserError("-d goes with no --report and no look at translations: see 'ringfence inspect'")


def _parse_labels(labels: tuple[str, ...]) -> dict[str, str]:
    for text in labels:
        if not text.partition("=")[0]:
            raise UserError(f"not a label: {text!r} (write NAME or NAME=VALUE)")
    return {key: value for key, _, value in (text.partition("=") for text in labels)}


def _detach(is_removed: bool, is_json: bool, about: dict[str, Any], options: dict[str, Any]) -> int:
    from ringfence.cli.machines import print_json
    from ringfence.cli.ps import describe
    from ringfence.host.vm import VM

    vm = VM.create(remove=is_removed, **about, **options)
    if is_json:
        print_json(describe(vm.record))
    else:
        print(vm.name)
    return 0


def _use_guest(guest: str, mirror: str | None, options: dict[str, Any]) -> None:
    from ringfence.cli.progress import ProgressBars
    from ringfence.host.guests import fetch_guest

    with ProgressBars() as progress:
        fetched = fetch_guest(guest, mirror, progress)
    for name, value in fetched.items():
        options[name] = options[name] or value


def _attend(vm: Any, entry: Any, jail: Any) -> Outcome:
    """Start the machine and carry bytes between it and the terminal until it ends."""
    from ringfence.vmm.terminal import Terminal

    terminal = Terminal(send=vm.console.send, on_leave=lambda: vm.stop(Outcome(Kind.LEFT)))
    vm.console.tee = terminal.write
    if terminal.is_interactive:
        print("ringfence: Ctrl-] leaves", file=sys.stderr)
    with entry.open(vm) as managed, terminal, _signals_stop(vm, terminal):
        if jail is not None:
            jail.shut(vm, managed)
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
