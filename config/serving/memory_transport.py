"""Celery's broker in embedded mode: kombu's memory transport with a condition variable instead of polling.

kombu's own transport polls, so a task may wait for 1 s. Here a task starts within 1 to 2 ms.
"""

import time
from queue import Empty
from threading import Condition
from typing import Any

from kombu.transport import memory

_activity = Condition()
_changes = 0


def wake_consumers() -> None:
    """Make every waiting `drain_events` return, so that the worker checks its state."""
    global _changes
    with _activity:
        _changes += 1
        _activity.notify_all()


class Channel(memory.Channel):
    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        wake_consumers()

    def _put_fanout(self, exchange: str, message: Any, routing_key: Any = None, **kwargs: Any) -> None:
        super()._put_fanout(exchange, message, routing_key, **kwargs)
        wake_consumers()

    # An acknowledged message or a raised prefetch limit makes room for a waiting message.

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        super().basic_ack(delivery_tag, multiple)
        wake_consumers()

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        super().basic_reject(delivery_tag, requeue)
        wake_consumers()

    def basic_qos(self, *args: Any, **kwargs: Any) -> None:
        super().basic_qos(*args, **kwargs)
        wake_consumers()


class Transport(memory.Transport):
    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None, **_kwargs: Any) -> None:
        """Deliver one message, or return at the first change, or raise TimeoutError.

        The change counter is read before the queues, so that a change in between ends the wait.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with _activity:
            seen = _changes
        try:
            self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[union-attr]
        except Empty:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            with _activity:
                if not _activity.wait_for(lambda: _changes != seen, left):
                    raise TimeoutError from None
