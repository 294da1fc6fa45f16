"""The Python API: a virtual machine as an object.

    >>> with Machine(kernel="vmlinuz", initrd="initrd", append="console=ttyS0") as vm:
    ...     vm.start()
    ...     vm.console.expect("login:")
    ...     vm.console.send("root\\n")
    ...     vm.pause()
    ...     hex(vm.cpus[0].regs.rip)

A machine has one board at a time: a guest's reset takes it down and builds a new one, with the
kernel loaded again, as switching a PC off and on does.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from ringfence.api.config import DEFAULT_MEMORY, ENGINES, AnyPath, MachineConfig
from ringfence.board.pc import Board
from ringfence.errors import RingfenceError, UserError
from ringfence.log import logger
from ringfence.metrics import VcpuMetrics
from ringfence.network.plug import plug_in
from ringfence.vmm import report
from ringfence.vmm.agent import Agent
from ringfence.vmm.console import Console
from ringfence.vmm.control import Control
from ringfence.vmm.keyboard import Keyboard
from ringfence.vmm.loop import VcpuLoop
from ringfence.vmm.outcome import Kind, Outcome
from ringfence.vmm.translation_cache import TranslationCache


class Machine:
    """A virtual machine: built when the object is, running from `start` to its `Outcome`.

    Args:
        kernel: a Linux bzImage, a PVH or multiboot ELF, or a raw image.
        initrd: its initial RAM disk.
        append: its command line.
        disks: raw images, each a path; ``path,ro`` for read only.
        memory: guest RAM, as ``"512M"``.
        cpu: a CPU model, as ``"x86-64-v2"``.
        engine: what runs guest code, ``"translate"`` or ``"interpret"``; `Machine.engine` changes it later.
        patch: translate sensitive instructions as call-outs, and patch those that turn hot with host code of
            their own; otherwise they have it from the beginning.
        firmware: a ROM image to start at the reset vector instead of a kernel.
        shares: directories of the host, each ``HOST:GUEST``, with ``:ro`` at the end for read only.
        name: what the machine is called, on its network too.
        network: what its NIC is plugged into: ``"none"``, ``"user"``, ``"loopback"``, a switch's name or a
            socket's path.
        publish: ports of the host that lead to the guest, each as ``"[HOSTIP:]HOSTPORT:GUESTPORT[/udp]"``.
        allow: names, addresses and networks that the guest may reach; nothing: all but the host itself.
        dns: name servers that are asked for the guest, each ``"ADDRESS[:PORT]"``; nothing: the host's.
        capture: a pcap file for all that passes the NIC.
        debug_exit: the port of an isa-debug-exit device; None for none.
        test_device: plug in the device that kvm-unit-tests wants.
        agent: plug in the port of the guest's agent; `Machine.agent` then speaks to it.
        raw_at: start ``kernel`` as real-mode code at this address, below 1 MiB.
        reboot: a guest's reset boots it again; otherwise it ends the machine.
        translation_cache: take translated code from earlier runs, and keep this one's for the next.

    Raises:
        UserError: the input can't be used; its text is one line.
        HostError: the host refused memory or a file.
    """

    def __init__(
        self,
        kernel: AnyPath | None = None,
        *,
        initrd: AnyPath | None = None,
        append: str = "",
        disks: Sequence[AnyPath] = (),
        memory: str | int = DEFAULT_MEMORY,
        cpu: str = "x86-64-v2",
        engine: str = "translate",
        patch: bool = False,
        firmware: AnyPath | None = None,
        shares: Sequence[str] = (),
        name: str = "",
        network: str = "none",
        publish: Sequence[str] = (),
        allow: Sequence[str] = (),
        dns: Sequence[str] = (),
        capture: AnyPath | None = None,
        debug_exit: int | None = None,
        test_device: bool = False,
        agent: bool = False,
        raw_at: int | None = None,
        reboot: bool = True,
        translation_cache: bool = False,
    ) -> None:
        self.config = MachineConfig(
            kernel=kernel,
            initrd=initrd,
            append=append,
            disks=disks,
            memory=memory,
            cpu=cpu,
            engine=engine,
            patch=patch,
            firmware=firmware,
            shares=shares,
            name=name,
            network=network,
            publish=publish,
            allow=allow,
            dns=dns,
            capture=capture,
            debug_exit=debug_exit,
            test_device=test_device,
            agent=agent,
            raw_at=raw_at,
        )
        self._engine = engine
        #: how often the guest was booted again
        self.reboots = 0
        self._may_reboot = reboot
        self._translations = TranslationCache() if translation_cache else None
        self._control = Control()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="machine", daemon=True)
        #: called on each vCPU's thread before it runs guest code, to take rights from it
        self.confine: Callable[[], object] = _keep_all
        self.console = Console(self._control.post)
        self.keyboard = Keyboard(self._control.post)
        self._agent = Agent(self._control.post, has_port=agent, is_idle=lambda: self._control.is_idle)
        net = self.config.net_config
        self._network = None if net is None else plug_in(net, self._control.post)
        #: what it has counted, kept when it is unplugged
        self._network_counts: dict[str, int] = {}
        try:
            self._board = self._build()
        except BaseException:
            self._unplug()
            raise
        self._metrics = [VcpuMetrics() for _ in self._board.vcpus]
        self._earlier = report.Totals()

    # -- life --

    def start(self) -> None:
        """Switch it on; returns at once. A machine paused before starts paused."""
        self._thread.start()

    def pause(self) -> None:
        """Stop guest and guest time; returns when no instruction runs any more."""
        self._control.pause()

    def resume(self) -> None:
        """Run on from where it was paused."""
        self._control.resume()

    def press_power_button(self) -> None:
        """Ask the guest to shut itself down, as a PC's button does (ACPI); what it makes of it is its own."""
        self._control.post(lambda: self._board.acpi_pm.press_power_button())

    def stop(self, outcome: Outcome | None = None) -> None:
        """Pull the plug; `wait` then gives ``outcome`` (`Kind.KILLED`), unless it had ended before."""
        self._control.end(outcome or Outcome(Kind.KILLED))

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait for the machine's end.

        Raises:
            TimeoutError: it has not ended after ``timeout`` host seconds.
            RingfenceError: the host failed it.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the machine still runs after {timeout:g} s")
        if self._error is not None:
            raise self._error
        assert self._control.outcome is not None
        return self._control.outcome

    def close(self) -> None:
        """End it where it still runs, and give back its memory and files."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._end()
        self._board.close()
        self._unplug()

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- its parts --

    @property
    def cpus(self) -> Sequence[Any]:
        """The virtual CPUs, with ``regs``. Consistent while the machine is paused or has ended."""
        return self._board.vcpus

    @property
    def memory(self) -> Any:
        """Guest-physical memory: ``read(gpa, n)``, ``write(gpa, data)``."""
        return self._board.memory

    @property
    def agent(self) -> Agent:
        """The guest's agent, with ``agent=True`` and a guest that has one: runs programs, copies files."""
        return self._agent

    @property
    def engine(self) -> str:
        """What runs guest code, ``"translate"`` or ``"interpret"``: set it while the machine runs, and the
        other takes over at an instruction boundary soon after.

        Raises:
            UserError: there is no such engine.
        """
        return self._engine

    @engine.setter
    def engine(self, name: str) -> None:
        if name not in ENGINES:
            raise UserError(f"no engine {name!r}: choose {', '.join(ENGINES)}")
        self._engine = name
        self._control.post(self._use_engine)

    def _use_engine(self) -> None:
        """On the machine's own thread, while no guest code runs."""
        for vcpu in self._board.vcpus:
            vcpu.engine = self._engine

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None before that."""
        return self._control.outcome if self._ended.is_set() else None

    @property
    def state(self) -> str:
        """``new``, ``running``, ``paused`` or ``ended``."""
        if self._ended.is_set():
            return "ended"
        if self._thread.ident is None:
            return "new"
        return "paused" if self._control.is_paused else "running"

    def report(self) -> dict[str, Any]:
        """What happened so far, as `--report json` writes it."""
        totals = self._earlier.copy()
        totals.add(self._board)
        plug = self._network
        network = self._network_counts if plug is None else plug.backend.metrics()
        return report.make(
            totals, self._metrics, self.outcome, self.reboots, network=network, agent=self._agent.metrics()
        )

    def __repr__(self) -> str:
        config = self.config
        ending = f": {self.outcome}" if self.outcome else ""
        what = config.firmware or config.kernel
        return f"<Machine {what}, {config.cpu}, {config.memory_bytes >> 20} MiB, {self.state}{ending}>"

    # -- the machine's own thread: it builds boards, and waits for their vCPUs --

    def _build(self) -> Board:
        board = Board(self.config, self._control.post, self._network)
        board.on_shutdown = self._on_shutdown
        board.uart.output = self.console.receive
        self.console.attach(board.uart, board.clock)
        self.keyboard.attach(board.keyboard, board.clock)
        if self.config.agent:
            assert board.pci.agent_port is not None
            self._agent.attach(board.pci.agent_port)
        if self._translations is not None:
            self._translations.load(board.vcpus[0])
        return board

    def _unplug(self) -> None:
        if self._network is not None:
            self._network_counts = self._network.backend.metrics()
            self._network.backend.close()
            self._network = None

    def _on_shutdown(self, kind: str, value: int = 0) -> None:
        """The guest asks for power-off or reset through a register; on a vCPU's thread."""
        self._control.end(Outcome(Kind(kind), value))

    def _live(self) -> None:
        try:
            while True:
                self._run_board()
                outcome = self._control.outcome
                if outcome is None or outcome.kind is not Kind.RESET or not self._may_reboot:
                    self._keep_translations()
                    return
                self._reboot()
        except BaseException as error:
            self._fail(error)
        finally:
            self._end()

    def _run_board(self) -> None:
        """From power-on to an ending, each vCPU on its thread."""
        board = self._board
        loops = [
            VcpuLoop(vcpu, board, self._control, metrics)
            for vcpu, metrics in zip(board.vcpus, self._metrics, strict=True)
        ]
        self._control.begin(loops, board.clock)
        threads = [
            threading.Thread(target=self._run_vcpu, args=(loop,), name=f"vcpu{loop.vcpu.index}", daemon=True)
            for loop in loops
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run_vcpu(self, loop: VcpuLoop) -> None:
        try:
            self.confine()
            loop.run()
        except BaseException as error:
            self._fail(error)

    def _keep_translations(self) -> None:
        if self._translations is not None:
            self._translations.save(self._board.vcpus[0])

    def _reboot(self) -> None:
        logger.info("the guest reset the machine: booting it again")
        self._earlier.add(self._board)
        self._keep_translations()
        self._agent.detach()
        self.reboots += 1
        self._board.close()
        self._board = self._build()
        self._use_engine()
        # devices and buses know one another: without this, a guest that reboots in a loop piles up RAM
        gc.collect()

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        text = str(error) if isinstance(error, RingfenceError) else repr(error)
        self._control.end(Outcome(Kind.FAILED, detail=text))

    def _end(self) -> None:
        self.console.close()
        self._agent.close()
        self._ended.set()


def _keep_all() -> None:
    """A machine in its user's own process takes no rights from it."""
