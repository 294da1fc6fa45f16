"""`ringfence doctor`: what this host offers."""

from __future__ import annotations

import click

from ringfence.cli.machines import as_json, print_json

MARKS = {"ok": "yes", "none": "no", "bad": "BAD"}
BAD_STATUS = 10


@click.command("doctor")
@as_json
def command(is_json: bool) -> int:
    """Try what a machine needs of this host, and what it can use. Status 10: machines will not run."""
    from ringfence.host.doctor import examine

    found = []
    for finding in examine():
        found.append(finding)
        if not is_json:
            click.echo(f"{MARKS[finding.state]:>3}  {finding.name:<16} {finding.text}")
    if is_json:
        print_json(found)
    return BAD_STATUS if any(finding.state == "bad" for finding in found) else 0
