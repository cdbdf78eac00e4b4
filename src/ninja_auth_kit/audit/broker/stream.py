"""The stream that every event is routed to, and how a relay declares it.

With the stream, no event is unroutable before the first consumer exists, and a consumer that is added later can read
the events of the last days.
"""

import logging
import re
from collections.abc import Callable
from enum import Enum

from pika.channel import Channel
from pika.exceptions import ChannelClosed

logger = logging.getLogger("ninja_auth_kit.relay")

# RabbitMQ deletes whole segments, and only when it begins a new one: when the youngest event of a
# segment is older than the age, or when the stream is too large. The segment that is being written
# always stays. With RabbitMQ's default of 500 MB, a small site would keep its events for years. A
# segment of 1 MB holds about 1,000 events, and 5 GB are 5,000 segments of two files each. To begin
# a segment takes RabbitMQ 3 to 5 ms (measured with 1,500 segments on 3.10.8 and 4.3.6).
CATCH_ALL = {
    "x-queue-type": "stream",
    "x-max-age": "7D",
    "x-max-length-bytes": 5_000_000_000,
    "x-stream-max-segment-size-bytes": 1_000_000,
}
# What a stream may have, apart from its type, and what the broker compares after the type.
_STREAM_ARGUMENTS = (
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
)
_LENGTH = "x-max-length-bytes"  # the broker compares it before the type, and any queue may have it
_CURRENT_LENGTH = re.compile(rf"'{_LENGTH}' .*current is the value '(\d+)'")
PRECONDITION_FAILED = 406

_reported: set[str] = set()  # the streams with other limits that this process has logged


class _Step(Enum):
    DECLARE = "declare the stream"
    CHECK_TYPE = "find out whether what has its name is a stream"
    EXISTS = "it is a stream with other limits"


class StreamDeclaration:
    """Declares the stream, or accepts an existing one with other limits.

    If the queue exists with other arguments than those that are declared, RabbitMQ refuses the declaration (406) and
    closes the channel. An operator or an earlier version of the kit may have declared the stream with other limits,
    which must not stop the relay. But a queue that is not a stream must. So after a refusal, the relay opens another
    channel and declares only the type. RabbitMQ then names the first argument that differs: the type, or a limit. Only
    the limit of the length does not show that the type is right, so it is declared as it is, and the relay asks again.

    Attributes:
        name: the name of the stream.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._step = _Step.DECLARE
        self._is_waiting = False
        self._difference = ""
        self._to_check: dict[str, str | int] = {"x-queue-type": "stream"}

    def declare(self, channel: Channel, *, callback: Callable[[], None]) -> None:
        """Declare the stream if it is not known to exist, and call `callback` when it exists."""
        if self._step is _Step.EXISTS:
            callback()
            return

        def on_declared(_frame: object) -> None:
            self._is_waiting = False
            if self._step is _Step.CHECK_TYPE:  # a stream without any other limits
                self._report()
            callback()

        self._is_waiting = True
        arguments = CATCH_ALL if self._step is _Step.DECLARE else self._to_check
        channel.queue_declare(self.name, durable=True, arguments=arguments, callback=on_declared)

    def accepts_refusal(self, reason: BaseException) -> bool:
        """Return whether the channel was closed because the stream has other limits, so that another may be opened."""
        is_waiting, self._is_waiting = self._is_waiting, False
        if not is_waiting or not isinstance(reason, ChannelClosed) or reason.reply_code != PRECONDITION_FAILED:
            return False
        if self._step is _Step.DECLARE:
            self._step, self._difference = _Step.CHECK_TYPE, reason.reply_text
            return True
        if _LENGTH not in self._to_check and (length := _CURRENT_LENGTH.search(reason.reply_text)):
            self._to_check[_LENGTH] = int(length[1])
            return True
        if not any(f"'{argument}'" in reason.reply_text for argument in _STREAM_ARGUMENTS):
            return False
        self._step = _Step.EXISTS
        self._report()
        return True

    def _report(self) -> None:
        """Log that the stream is used as it is, once per process."""
        if self.name not in _reported:
            _reported.add(self.name)
            logger.warning(
                "The stream %s exists with other limits than those that the relay would declare (%s). It is used as "
                "it is. See 'How long the stream keeps events' in docs/audit.md.",
                self.name,
                self._difference,
            )


def catch_all_queue(exchange: str) -> str:
    """Return the name of the stream that receives every event: `auth.audit` for the exchange `auth.events`."""
    return exchange.removesuffix(".events") + ".audit"
