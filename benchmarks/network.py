"""How fast a guest's network is: Ringfence beside QEMU's TCG, each with its own NAT and with passt(1).

Transfers are iperf3's, as their receiver counts them; connections and round trips are those of
programs/network/connections.c, by the clock of the host when the host asks, and else of the guest.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks import network_machines
from benchmarks.machines import Guest
from benchmarks.network_machines import CONNECTIONS_PORT, Link, Net

SECONDS = 5
CONNECTIONS, ROUND_TRIPS = 300, 1000
#: One measurement of one machine: a number by row.
Numbers = dict[str, float]

NATS: Mapping[str, Callable[[Guest], AbstractContextManager[Net]]] = {
    "ringfence": network_machines.ringfence_nat,
    "TCG, slirp": network_machines.qemu_slirp,
    "ringfence, passt": network_machines.ringfence_passt,
    "TCG, passt": network_machines.qemu_passt,
}
LINKS: Mapping[str, Callable[[Guest], AbstractContextManager[Link]]] = {
    "ringfence": network_machines.ringfence_link,
    "TCG, slirp": network_machines.qemu_link,
}


def _nat(net: Net, program: Path) -> Numbers:
    console, gateway = net.console, net.gateway
    with _servers(program) as (iperf_port, connections_port):
        out = f"iperf3 -c {gateway} -p {iperf_port} -t {SECONDS} -f k"
        call = f"{gateway} {connections_port}"
        return {
            "out, Gbit/s": _gigabits(console.run(out)),
            "out by writes of 1 KiB, Gbit/s": _gigabits(console.run(f"{out} -l 1K")),
            "in, Gbit/s": _gigabits(
                _run("iperf3", "-c", "127.0.0.1", "-p", net.iperf_port, "-t", SECONDS, "-f", "k")
            ),
            "connections out, a second": float(console.run(f"connections connect {call} {CONNECTIONS}")),
            "connections in, a second": float(
                _run(program, "connect", "127.0.0.1", net.connections_port, CONNECTIONS)
            ),
            "round trips out, a second": float(console.run(f"connections echo {call} {ROUND_TRIPS}")),
        }


def _link(link: Link) -> Numbers:
    console, address = link
    call = f"{address} {CONNECTIONS_PORT}"
    return {
        "between two guests, Gbit/s": _gigabits(console.run(f"iperf3 -c {address} -t {SECONDS} -f k")),
        "connections between, a second": float(console.run(f"connections connect {call} {CONNECTIONS}")),
        "round trips between, a second": float(console.run(f"connections echo {call} {ROUND_TRIPS}")),
    }


@contextmanager
def _servers(program: Path) -> Iterator[tuple[int, int]]:
    """iperf3 and `connections` on the host: their ports."""
    ports = network_machines.free_port(), network_machines.free_port()
    commands = (["iperf3", "-s", "-p", str(ports[0])], [program, "serve", str(ports[1])])
    servers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    try:
        time.sleep(0.5)
        yield ports
    finally:
        for server in servers:
            server.kill()
            server.wait()


def _run(*words: object) -> str:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout


def _gigabits(output: str) -> float:
    """What the receiver counted."""
    found = re.search(r"([\d.]+) Kbits/sec +receiver", output)
    if found is None:
        raise RuntimeError(f"iperf3: {output}")
    return float(found.group(1)) / 1e6


def compare(kernel: Path, initrd: Path, folder: Path, rounds: int) -> list[dict[str, Numbers]]:
    """A dictionary a round: numbers by machine. The machines take turns."""
    guest, program = network_machines.prepare(kernel, initrd, folder)
    measured = []
    for _ in range(rounds):
        numbers: dict[str, Numbers] = {}
        for name, nat in NATS.items():
            with nat(guest) as net:
                numbers[name] = _nat(net, program)
        for name, link in LINKS.items():
            with link(guest) as ends:
                numbers[name] |= _link(ends)
        measured.append(numbers)
    return measured


def table(rounds: Sequence[Mapping[str, Numbers]]) -> list[str]:
    """As Markdown: medians over the rounds; ratios of ours to QEMU's, within a round."""
    ours, theirs, ours_passt, theirs_passt = NATS

    def number(row: str, column: str) -> str:
        return (
            f"{statistics.median(each[column][row] for each in rounds):.3g}"
            if row in rounds[0][column]
            else ""
        )

    def ratio(row: str, over: str, under: str) -> str:
        if row not in rounds[0][over]:
            return ""
        return f"**{statistics.median(each[over][row] / each[under][row] for each in rounds):.2f}**"

    lines = [
        f"| network | {ours} | {theirs} | ratio | {ours_passt} | {theirs_passt} | ratio |",
        "|---" * 7 + "|",
    ]
    for row in rounds[0][ours]:
        cells = [row, number(row, ours), number(row, theirs), ratio(row, ours, theirs)]
        cells += [number(row, ours_passt), number(row, theirs_passt), ratio(row, ours_passt, theirs_passt)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
