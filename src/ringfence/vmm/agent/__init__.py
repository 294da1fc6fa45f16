"""The guest agent from the host's side: programs run in the guest, files go in and out.

    >>> vm.agent.exec(["uname", "-r"]).stdout

`Agent` is the whole of it; `Connection` speaks the protocol, `Stream` is one request. docs/design/agent.md.
"""

from __future__ import annotations

from ringfence.errors import AgentError
from ringfence.vmm.agent.agent import Agent, CompletedProcess
from ringfence.vmm.agent.process import Process

__all__ = ["Agent", "AgentError", "CompletedProcess", "Process"]
