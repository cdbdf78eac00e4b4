"""What kept an event from the broker, in one short sentence: where, and the last cause. Never with credentials."""

import logging
import re
from socket import gaierror
from ssl import SSLError

from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow


class BrokerError(Exception):
    """The broker is away, does not answer in time, or refuses; the text says which, without credentials.

    Args:
        cause: what went wrong, without a full stop.
        host: where the broker should be.
        port: at which port.
    """

    def __init__(self, cause: str, *, host: str, port: int) -> None:
        # Who sets RABBITMQ_HOST to a URL has a password in it.
        super().__init__(f"RabbitMQ at {host.rpartition('@')[2]}:{port}: {cause}.")


# All that pika raises where the broker is away: the errors of its workflow of connecting are no AMQPErrors.
PIKA_ERRORS = (exceptions.AMQPError, workflow.AMQPConnectorException, OSError)

# What pika raises says what pika was doing; this is what it means. The first that fits.
_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((gaierror,), "the host name cannot be resolved"),
    ((exceptions.AuthenticationError,), "login refused: the broker does not take passwords"),
    (
        (
            TimeoutError,
            workflow.AMQPConnectorStackTimeout,
            exceptions.ConnectionOpenAborted,  # by pika itself, after `stack_timeout`
            exceptions.AMQPHeartbeatTimeout,
        ),
        "timed out",
    ),
    ((exceptions.ConnectionBlockedTimeout,), "it blocks publishers: its memory or its disk is full"),
    ((exceptions.IncompatibleProtocolError,), "it hung up before any AMQP: another service, or a port for TLS"),
    ((exceptions.StreamLostError,), "the connection broke"),
)


def describe(error: BaseException, *, vhost: str, exchange: str) -> str:
    """Return the cause of a failure of pika in a few words.

    Args:
        error: what pika raised or reported.
        vhost: the virtual host that was asked for.
        exchange: the exchange that was asked for.
    """
    cause = _innermost(error)
    if isinstance(cause, exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError):
        return _refusal(cause, vhost=vhost)
    if isinstance(cause, exceptions.ChannelClosed) and cause.reply_code == 404:
        return f"the exchange {exchange!r} does not exist"
    for kinds, meaning in _MEANINGS:
        if isinstance(cause, kinds):
            return meaning
    return _in_its_own_words(cause)


def _innermost(error: BaseException) -> BaseException:
    """Unwrap what pika 1.4 wraps: AMQPConnectionError(AMQPConnectionWorkflowFailed([SocketConnectError(OSError)]))."""
    if isinstance(error, workflow.AMQPConnectionWorkflowFailed) and error.exceptions:
        return _innermost(error.exceptions[-1])
    if isinstance(error, workflow.AMQPConnectorPhaseErrorBase):
        return _innermost(error.exception)
    if error.args and isinstance(error.args[0], BaseException):
        return _innermost(error.args[0])
    return error


def _refusal(cause: exceptions.AMQPConnectionError, *, vhost: str) -> str:
    """Tell what pika calls probable from the text of the exception that it found; nothing else is left of that."""
    text = str(cause)
    if "StreamLostError" in text:
        return "the connection broke before it was open"
    if isinstance(cause, exceptions.ProbableAuthenticationError):
        return "login refused: wrong user or password"
    return f"no such vhost: {vhost!r}" if "not found" in text else f"no access to the vhost {vhost!r}"


def _in_its_own_words(cause: BaseException) -> str:
    """Return what the system or the broker says, without the name of the user."""
    if isinstance(cause, SSLError):
        return f"TLS failed: {getattr(cause, 'verify_message', None) or cause.reason or cause.strerror}"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror[:1].lower() + cause.strerror[1:]
    if isinstance(cause, exceptions.ChannelClosed | exceptions.ConnectionClosed):
        return re.sub(r" (for|by) user '.*?'", "", cause.reply_text)[:200]
    return type(cause).__name__


def quieten_pika() -> None:
    """Keep pika from logging ten lines for each failed try, unless somebody has chosen a level for it."""
    pika_logger = logging.getLogger("pika")
    if pika_logger.level == logging.NOTSET:
        pika_logger.setLevel(logging.CRITICAL)
