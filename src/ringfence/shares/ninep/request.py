"""What answers one kind of 9P request."""

from __future__ import annotations

from collections.abc import Callable

from ringfence.shares.message import Message
from ringfence.shares.ninep.wire import Body

#: From a request's body and the whole of it to the answer's body; or to how many bytes of it are in place.
Handler = Callable[[Body, Message], bytes | int]
