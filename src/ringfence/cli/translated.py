"""What `ringfence run` does with the translated code of a run that has ended: the developer's options."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.errors import UnsafeCode, UserError

if TYPE_CHECKING:
    from ringfence.api.translations import Translations

#: violations told one by one
TOLD = 20


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options: prove it safe, write it to a file, name it for perf."""

    check: bool
    file: str | None
    perf_map: bool
    symbols: str | None

    @property
    def any(self) -> bool:
        """Something is wished for."""
        return bool(self.check or self.file or self.perf_map or self.symbols)

    def check_first(self, engine: str) -> None:
        """Refuse, before the guest runs, what could not be done after it.

        Raises:
            UserError: nothing will be translated, or a file can't be used.
        """
        if not (self.check or self.file or self.perf_map):
            if self.symbols:
                raise UserError("--symbols goes with --perf-map")
            return
        if engine != "translate":
            raise UserError("there is translated code only under --engine translate, the default")
        if self.symbols:
            from ringfence.inspection.symbols import SystemMap

            SystemMap(Path(self.symbols))
        if self.file:
            try:
                Path(self.file).touch()
            except OSError as error:
                raise UserError(f"--translations {self.file}: {error.strerror}") from error

    def grant(self, vm: Any) -> None:
        """After the run, before the machine is closed.

        Raises:
            UnsafeCode: some block breaks a rule; each is told on stderr.
        """
        if not (self.check or self.file or self.perf_map):
            return
        found = [translations for cpu in vm.cpus if (translations := cpu.translations()) is not None]
        if self.file:
            from ringfence.api.translations import write_translations

            write_translations(found[0], Path(self.file))
        if self.perf_map:
            from ringfence.inspection.perf_map import map_path, write_perf_map
            from ringfence.inspection.symbols import SystemMap

            symbols = SystemMap(Path(self.symbols)) if self.symbols else None
            write_perf_map(found, symbols, map_path(os.getpid()))
        if self.check:
            for translations in found:
                check_translations(translations)


def check_translations(found: Translations) -> None:
    """Prove every block; say on stderr how many there were.

    Raises:
        UnsafeCode: some block breaks a rule.
    """
    from ringfence.inspection.verifier import verify

    wrong = 0
    for violation in verify(found):
        wrong += 1
        if wrong <= TOLD:
            print(f"ringfence: {violation}", file=sys.stderr)
    if wrong:
        raise UnsafeCode(f"translated code breaks its rules in {wrong} places")
    print(f"ringfence: {len(found.blocks)} translations keep to the rules", file=sys.stderr)
