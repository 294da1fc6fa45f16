"""`ringfence explain REPORT.json`: what virtualization cost, and where, from a run's `--report`.

The numbers of instructions are exact, the times of call-outs are from one in 64 that was timed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ringfence.errors import ImageError

NS_PER_MS = 1_000_000
NS_PER_US = 1_000
#: rows of a table that may be long, without --all
SHOWN = 20
#: timed call-outs, below which their mean says nothing
SAMPLES = 8
REASONS = {
    "IO": "port read or written",
    "MMIO": "device memory read or written",
    "HLT": "the guest waits for an interrupt",
    "EOI": "end of an interrupt, for the I/O APIC",
    "INTERRUPTED": "an alarm is due, or something else is to be done",
    "IRQ_WINDOW": "the guest takes interrupts again",
}
CLASSES = {
    "copy": "as they are, their operands put in place",
    "rewrite": "as other host instructions that do the same",
    "emulate": "by a call-out to the interpreter's handler, then on",
    "exit": "by such a call-out, then back to the run loop",
}
#: kind of call-out: its counters, and what it is for
CALLOUTS = {
    "interpret": (("callouts_interpret",), "an instruction of the class emulate"),
    "leave": (("callouts_leave",), "one of the class exit"),
    "memory": (("callouts_memory", "probe_refills"), "an address that is not in the TLB, or a device's"),
    "vector": (("callouts_vector",), "the guest's vector registers are loaded"),
    "slot": (("callouts_slot",), "a slot of hot code that misses often"),
}


def read_report(path: Path) -> dict[str, Any]:
    """A report that `--report` wrote.

    Raises:
        ImageError: it is something else.
    """
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ImageError(f"{path}: no report: {error}".splitlines()[0]) from error
    if not isinstance(report, dict) or not isinstance(report.get("vcpus"), list) or "ringfence" not in report:
        raise ImageError(f"{path}: no report of ringfence run")
    return report


def report_tables(path: Path, shows_all: bool) -> list[Table]:
    """Of each processor.

    Raises:
        ImageError: it is no report, or one of another version.
    """
    report = read_report(path)
    try:
        return [table for vcpu in report["vcpus"] for table in _tables(vcpu, shows_all)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImageError(f"{path}: a report of another version") from error


def _tables(vcpu: dict[str, Any], shows_all: bool) -> Iterator[Table]:
    yield _times(vcpu)
    if "translations" not in vcpu["counters"]:
        return
    yield _classes(vcpu)
    yield _callouts(vcpu)
    limit = len(vcpu["rows"]) if shows_all else SHOWN
    sensitive = [row for row in vcpu["rows"] if row["class"] != "innocuous"]
    others = [row for row in vcpu["rows"] if row["class"] == "innocuous" and row["called"]]
    yield _rows("Privileged and sensitive instructions", sensitive, limit)
    yield _rows("Innocuous instructions that called out", others, limit)
    yield _translation(vcpu["counters"])


def _table(title: str, *columns: str) -> Table:
    """Columns whose name starts with ``<`` are text, the others numbers."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name.lstrip("<"), justify="left" if name.startswith("<") else "right")
    return table


def _times(vcpu: dict[str, Any]) -> Table:
    table = _table("Where the time went", "<", "times", "ms", "share", "us each", "<")
    total = vcpu["guest_ns"] + vcpu["vmm_ns"] + vcpu["idle_ns"]

    def add(name: str | Text, times: int | None, ns: int, meaning: str) -> None:
        each = f"{ns / times / NS_PER_US:.2f}" if times else ""
        count = "" if times is None else f"{times:,}"
        table.add_row(name, count, f"{ns / NS_PER_MS:.1f}", _share(ns, total), each, Text(meaning))

    add("guest code", None, vcpu["guest_ns"], f"{vcpu['instructions']:,} instructions, {vcpu['mips']} MIPS")
    for reason, ns in sorted(vcpu["exit_ns"].items(), key=lambda item: -item[1]):
        add(Text(f"exit {reason}"), vcpu["exits"][reason], ns, REASONS.get(reason, ""))
    add("halted", None, vcpu["idle_ns"], "nothing to do")
    return table


def _classes(vcpu: dict[str, Any]) -> Table:
    table = _table("Guest instructions", "<class", "translated", "share", "executed", "share", "<how")
    translated, executed = vcpu["classes"]["translated"], vcpu["classes"]["executed"]
    all_translated, all_executed = sum(translated.values()), sum(executed.values())

    def add(name: str, made: int | None, done: int | None, meaning: str) -> None:
        table.add_row(
            name,
            "" if made is None else f"{made:,}",
            "" if made is None else _share(made, all_translated),
            "" if done is None else f"{done:,}",
            "" if done is None else _share(done, all_executed),
            Text(meaning),
        )

    add("(interpreted)", None, executed["interpreted"], "not translated, or not yet")
    add("copy", translated["copy"], None, CLASSES["copy"])
    add("rewrite", translated["rewrite"], None, CLASSES["rewrite"])
    add("  these in place", None, executed["in_place"], "without leaving translated code")
    add("  these by call-out", None, executed["missed"], "for memory that is not to be reached inline")
    add("emulate", translated["emulate"], executed["emulate"], CLASSES["emulate"])
    add("exit", translated["exit"], executed["exit"], CLASSES["exit"])
    return table


def _callouts(vcpu: dict[str, Any]) -> Table:
    table = _table("Call-outs", "<kind", "times", "per million", "ns each", "ms", "<why")
    counters = vcpu["counters"]
    for kind, (names, meaning) in CALLOUTS.items():
        times = sum(counters[name] for name in names)
        sampled, ns = counters[f"callouts_{kind}_sampled"], counters[f"callouts_{kind}_sampled_ns"]
        each, cost = _cost(times, sampled, ns)
        rate = f"{times * 1e6 / max(1, vcpu['instructions']):.1f}"
        table.add_row(kind, f"{times:,}", rate, each, cost, Text(meaning))
    return table


def _rows(title: str, rows: list[dict[str, Any]], limit: int) -> Table:
    numbers = "in place", "sites", "patched", "called out", "ns each", "ms"
    table = _table(title, "<instruction", "<class", *numbers, "<how")
    for row in rows[:limit]:
        made, called = row["translated"], row["called"]
        times = sum(called.values())
        each, cost = _cost(times, row["sampled"], row["sampled_ns"])
        table.add_row(
            Text(row["instruction"]),
            Text(row["class"]),
            f"{made.get('copy', 0) + made.get('rewrite', 0):,}",
            f"{made.get('emulate', 0) + made.get('exit', 0):,}",
            f"{row['patched']:,}",
            f"{times:,}",
            each,
            cost,
            Text(", ".join(called)),
        )
    if len(rows) > limit:
        table.caption = f"and {len(rows) - limit} more: --all"
    return table


def _translation(counters: dict[str, int]) -> Table:
    table = _table("Translation", "<", "")
    table.show_header = False
    guest, host = counters["translated_guest_bytes"], counters["translated_host_bytes"]
    for name, text in {
        "translations": f"{counters['translations']:,}",
        "  of hot code": f"{counters['translations_hot']:,}",
        "  dropped, for their code was written": f"{counters['translations_invalidated']:,}",
        "instructions in them": f"{counters['translated_instructions']:,}",
        "guest code": f"{guest:,} bytes",
        "host code": f"{host:,} bytes, {host / max(1, guest):.1f} for each",
        "jumps that go straight to their target": f"{counters['translation_links']:,}",
        "entries from the run loop": f"{counters['translation_entries']:,}",
        "call-outs patched": f"{counters['patches']:,}",
        "  in their place": f"{counters['patches_in_place']:,}",
        "regions of the code cache emptied": f"{counters['translation_regions_evicted']:,}",
    }.items():
        table.add_row(name, text)
    return table


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else ""


def _cost(times: int, sampled: int, sampled_ns: int) -> tuple[str, str]:
    """Of each, in ns, and of all of them, in ms; nothing where too few were timed."""
    if sampled < SAMPLES:
        return "", ""
    each = sampled_ns / sampled
    return f"{each:.0f}", f"{each * times / NS_PER_MS:.1f}"
