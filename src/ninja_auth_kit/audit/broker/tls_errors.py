"""What the reasons of OpenSSL mean when the connection to a broker fails."""

import re

_ALERT = re.compile(r"\[SSL: (\w*ALERT\w+)\]")
# Alerts about the certificate that the client has shown (RFC 8446 section 6.2).
_ABOUT_THE_CERTIFICATE = re.compile(r"ALERT_(BAD_|UNSUPPORTED_)?CERTIFICATE(_\w+)?$|ALERT_UNKNOWN_CA$")
# Reasons for an answer that is not TLS.
_NOT_TLS = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}


def describe_tls_error(reason: str | None) -> str:
    """Return what a reason of OpenSSL means, such as TLSV13_ALERT_CERTIFICATE_REQUIRED."""
    reason = reason or "no reason given"
    if "CERTIFICATE_REQUIRED" in reason:
        meaning = "the broker requires a client certificate"
    elif _ABOUT_THE_CERTIFICATE.search(reason):
        meaning = f"the broker does not accept the client certificate ({reason})"
    elif "ALERT_HANDSHAKE_FAILURE" in reason:
        meaning = f"the broker requires a client certificate, or has no TLS version or cipher in common ({reason})"
    elif reason in _NOT_TLS:
        meaning = f"the port does not speak TLS ({reason})"
    elif "EOF" in reason:
        meaning = (
            "the peer closed the connection during the handshake. Either it is a proxy that cannot reach the broker, "
            "or the port does not speak TLS"
        )
    else:
        meaning = reason
    return f"TLS failed: {meaning}"


def alert_in(text: str) -> str | None:
    """Return the alert of the broker in the text of an exception, as the reason of OpenSSL, or None.

    With TLS 1.3 a broker refuses a client only after the handshake, and pika keeps no more than this text.
    """
    found = _ALERT.search(text)
    return found[1] if found else None
