"""Why an event did not reach the broker: one short sentence with the host, the last cause and no credentials."""

import logging
import re
from socket import gaierror
from ssl import SSLError

from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from ninja_auth_kit.audit.broker.peer import AnyParameters, describe_peer
from ninja_auth_kit.audit.broker.tls_errors import alert_in, describe_tls_error


class BrokerError(Exception):
    """The broker is not available, does not answer in time, or refuses. The message says why, without credentials.

    Args:
        cause: what went wrong, without a full stop.
        host: the host of the broker.
        port: the port of the broker.
    """

    def __init__(self, cause: str, host: str, port: int) -> None:
        # If RABBITMQ_HOST is set to a URL by mistake, it contains the password.
        name = host.rpartition("@")[2]
        super().__init__(f"RabbitMQ at {f'[{name}]' if ':' in name else name}:{port}: {cause}.")


# Everything that pika raises if the broker is not available. The errors of its connection workflow
# are not AMQPErrors.
PIKA_ERRORS = (exceptions.AMQPError, workflow.AMQPConnectorException, OSError)

BLOCKED = "the broker blocks publishers because its memory or disk is full"
CONNECTION_LOST = "the connection was lost"

# The exceptions of pika say what pika was doing. These are the causes. The first match counts.
_CAUSES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((gaierror,), "the host name cannot be resolved"),
    ((exceptions.AuthenticationError,), "login refused: the broker does not accept passwords"),
    (
        (
            TimeoutError,
            workflow.AMQPConnectorStackTimeout,
            exceptions.ConnectionOpenAborted,  # raised by pika itself, after `stack_timeout`
            exceptions.AMQPHeartbeatTimeout,
        ),
        "timed out",
    ),
    ((exceptions.ConnectionBlockedTimeout,), BLOCKED),
    ((exceptions.StreamLostError,), CONNECTION_LOST),
)


def describe(error: BaseException, parameters: AnyParameters, *, exchange: str) -> str:
    """Return the cause of a pika error in a few words.

    Args:
        error: what pika raised or reported.
        parameters: those of the connection. If the peer does not speak AMQP, it is connected to once more.
        exchange: the exchange that was used.
    """
    cause = _innermost(error)
    if isinstance(cause, exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError):
        return _describe_refused_login(cause, vhost=parameters.virtual_host)
    if isinstance(cause, exceptions.IncompatibleProtocolError):
        alert = alert_in(str(cause))
        return describe_tls_error(alert) if alert else describe_peer(parameters)
    if isinstance(cause, exceptions.ChannelClosed) and cause.reply_code == 404 and "home node" not in cause.reply_text:
        return f"the exchange {exchange!r} does not exist"
    if isinstance(cause, exceptions.ChannelClosed) and "inequivalent arg" in cause.reply_text:
        return f"{_original_text(cause)}. It exists with other arguments. Delete it, or choose another name"
    for error_types, meaning in _CAUSES:
        if isinstance(cause, error_types):
            return meaning
    return _original_text(cause)


def _innermost(error: BaseException) -> BaseException:
    """Unwrap what pika 1.4 wraps: AMQPConnectionError(AMQPConnectionWorkflowFailed([SocketConnectError(OSError)]))."""
    if isinstance(error, workflow.AMQPConnectionWorkflowFailed) and error.exceptions:
        return _innermost(error.exceptions[-1])
    if isinstance(error, workflow.AMQPConnectorPhaseErrorBase):
        return _innermost(error.exception)
    if error.args and isinstance(error.args[0], BaseException):
        return _innermost(error.args[0])
    return error


def _describe_refused_login(cause: exceptions.AMQPConnectionError, *, vhost: str) -> str:
    """Return why the broker closed the connection during the login.

    pika only guesses ("Probable…"). The text of the original exception is all that is left of it.
    """
    text = str(cause)
    if "StreamLostError" in text:
        return f"{CONNECTION_LOST} before it was open"
    if isinstance(cause, exceptions.ProbableAuthenticationError):
        return "login refused: wrong user or password"
    if "not found" in text:
        return f"the vhost {vhost!r} does not exist"
    return f"the user may not access the vhost {vhost!r}"


def _original_text(cause: BaseException) -> str:
    """Return what the operating system or the broker says, without the name of the user."""
    if isinstance(cause, SSLError):
        verify_message = getattr(cause, "verify_message", None)
        return f"TLS failed: {verify_message}" if verify_message else describe_tls_error(cause.reason)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror[:1].lower() + cause.strerror[1:]
    if isinstance(cause, exceptions.ChannelClosed | exceptions.ConnectionClosed):
        return re.sub(r" (for|by) user '.*?'", "", cause.reply_text)[:200]
    return type(cause).__name__


def quieten_pika() -> None:
    """Stop pika from logging ten lines for each failed attempt, unless your project has set a level for its logger."""
    pika_logger = logging.getLogger("pika")
    if pika_logger.level == logging.NOTSET:
        pika_logger.setLevel(logging.CRITICAL)
