"""What the hub tells whoever counts. The core has no metrics library of its own."""

from __future__ import annotations


class Metrics:
    """Every event that is counted; this one counts nothing.

    Labels are from closed sets: `via` is rest, websocket or mcp; never an agent or a message.
    Durations are in seconds. How many messages were accepted, and how each ended, is counted by
    the store itself (`Totals`): what is counted here is gone with the process.
    """

    def rejected(self, reason: str) -> None:
        """A send was refused; `reason` is the error's code."""

    def delivered(self, via: str, redelivered: bool, seconds: float) -> None:
        """A message was handed over, `seconds` after it was accepted."""

    def acked(self, mode: str, seconds: float) -> None:
        """A message was settled, `seconds` after it was accepted; `mode` is auto or manual."""

    def rate_limited(self) -> None: ...

    def wait_opened(self) -> None: ...

    def wait_closed(self, outcome: str) -> None:
        """`outcome` is replied, pending, crossed or gone."""

    def websocket_opened(self) -> None: ...

    def websocket_closed(self, code: int) -> None: ...

    def woken(self, source: str) -> None:
        """A waiting reader looked again and found mail; `source` is hint or poll."""

    def committed(self, count: int) -> None:
        """The store wrote so many messages at one go."""

    def operation(self, op: str, seconds: float) -> None:
        """The store answered a call; `op` is its name in `QueueBackend`."""

    def operation_failed(self, op: str) -> None:
        """The store could not answer a call. A refusal is an answer."""

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request was answered; `route` is the route's template."""

    def loop_lag(self, seconds: float) -> None:
        """How much later than asked the event loop called back."""
