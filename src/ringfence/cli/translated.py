"""What `ringfence run` does with the translated code of a run that has ended: the developer's options."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ringfence.errors import UnsafeCode, UserError

if TYPE_CHECKING:
    from ringfence.api.translations import Translations
    from ringfence.inspection.symbols import SystemMap

#: violations told one by one
TOLD = 20


@dataclass(slots=True)
class Wishes:
    """The options: prove it safe, write it to a file, name it for perf."""

    check: bool
    file: str | None
    perf_map: bool
    symbols: str | None
    _map: TextIO | None = field(default=None, init=False)
    _symbols: SystemMap | None = field(default=None, init=False)

    @property
    def any(self) -> bool:
        """Something is wished for."""
        return bool(self.check or self.file or self.perf_map or self.symbols)

    @property
    def outputs(self) -> list[str]:
        """Files that are still to be opened after the run."""
        return [self.file] if self.file else []

    def check_first(self, engine: str) -> None:
        """Refuse, before the guest runs, what could not be done after it; read and make what can be now.

        Raises:
            UserError: nothing will be translated, or a file can't be used.
            HostError: perf's map can't be made.
        """
        if not (self.check or self.file or self.perf_map):
            if self.symbols:
                raise UserError("--symbols goes with --perf-map")
            return
        if engine != "translate":
            raise UserError("there is translated code only under --engine translate, the default")
        if self.symbols:
            from ringfence.inspection.symbols import SystemMap

            self._symbols = SystemMap(Path(self.symbols))
        if self.file:
            try:
                Path(self.file).touch()
            except OSError as error:
                raise UserError(f"--translations {self.file}: {error.strerror}") from error
        if self.perf_map:
            from ringfence.inspection.perf_map import map_path, open_perf_map

            self._map = open_perf_map(map_path(os.getpid()))

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
        if self._map is not None:
            from ringfence.inspection.perf_map import write_perf_map

            write_perf_map(found, self._symbols, self._map)
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
