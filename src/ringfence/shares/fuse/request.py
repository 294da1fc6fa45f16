"""What answers one kind of FUSE request."""

from __future__ import annotations

from collections.abc import Callable

from ringfence.shares.message import Message
from ringfence.shares.node import Node

#: From the node a request is about, its body and the whole of it, to the answer's body; or to how many bytes
#: of it are in place already.
Handler = Callable[[Node, bytes, Message], bytes | int]
