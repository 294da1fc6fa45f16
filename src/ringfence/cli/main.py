"""The command `ringfence`: finds the verb, and turns every error into one line and a status.

Each verb is a file of this folder, imported when it is used, so that `ringfence --help` is fast.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from ringfence.errors import RingfenceError
from ringfence.version import __version__
from ringfence.vmm.outcome import BUG_STATUS, USER_ERROR_STATUS, status_lines

#: verb -> its line in --help; the module has the verb's name and a command `command`
VERBS = {
    "run": "Boot a guest, its serial console on this terminal or in the background.",
    "ps": "List machines.",
    "exec": "Run a program in a guest.",
    "cp": "Copy files between this host and a guest.",
    "console": "Attach to a guest's serial console.",
    "logs": "Print what a guest wrote to its console.",
    "stop": "Shut guests down.",
    "kill": "Pull the plug of machines.",
    "rm": "Delete machines.",
    "wait": "Wait until machines end, and print their exit status.",
    "pause": "Let guests and their time stand still.",
    "resume": "Let paused guests run on.",
    "inspect": "Show all that can be said of machines, as JSON.",
    "stats": "Show what machines use of this host.",
    "top": "List a guest's processes.",
    "port": "List a machine's published ports.",
    "ssh": "Connect to a guest by ssh.",
    "doctor": "Try what this host offers.",
    "completion": "Print completion for a shell.",
    "explain": "Show the x86 instruction table, or what in a binary a VMM must watch.",
    "disasm-block": "Show what the translator made of a guest's code.",
}


#: A signal of these that ended what the command did is what the process dies of, as its parent expects.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Killed(Exception):
    """The signal ``number`` ended it; all is in order."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Verbs(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"ringfence.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit status"):
            formatter.write_text("\b\n" + "\n".join(line.strip() for line in status_lines()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ringfence")
def ringfence() -> None:
    """A virtual machine monitor that needs no /dev/kvm and no root."""


def run(arguments: Sequence[str] | None = None, owns_process: bool = False) -> int:
    """Run the command line; its exit status. Errors are told on stderr, one line each.

    Args:
        owns_process: nothing else happens in this process, which may give up rights for ever, and dies of the
            signal that ends it.
    """
    try:
        return _run(arguments, owns_process)
    except Killed as killed:
        if owns_process and killed.number in SIGNALS:
            _die_of(killed.number)
        return 128 + killed.number


def _run(arguments: Sequence[str] | None, owns_process: bool) -> int:
    """Raises:
    Killed: by a signal.
    """
    try:
        status = ringfence.main(arguments, prog_name=_program(), standalone_mode=False, obj=owns_process)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return USER_ERROR_STATUS
    except click.ClickException as error:
        return _tell(error.format_message(), USER_ERROR_STATUS)
    except (click.Abort, KeyboardInterrupt) as error:
        raise Killed(signal.SIGINT) from error
    except BrokenPipeError:
        # The reader of our output went away; Python must not say so again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except RingfenceError as error:
        return _tell(str(error), error.exit_status)
    except Killed:
        raise
    except Exception:
        traceback.print_exc()
        return _tell("this is a bug in ringfence; please report the lines above", BUG_STATUS)
    return status if isinstance(status, int) else 0


def _program() -> str:
    """`rf` is the same under a shorter name."""
    return "rf" if os.path.basename(sys.argv[0]) == "rf" else "ringfence"


def _die_of(number: int) -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _tell(message: str, status: int) -> int:
    line = " ".join(message.split())
    print(f"ringfence: {line}", file=sys.stderr)
    return status


def main() -> NoReturn:
    """The entry point."""
    sys.exit(run(owns_process=True))
