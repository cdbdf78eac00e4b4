"""TLS to the broker: whom the client trusts, and the certificate that it shows."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

PEMFile = str | PathLike[str]


class TLSFileError(ValueError):
    """A file of `TLS` cannot be used. The text has neither its path nor its content.

    Attributes:
        name: the attribute of `TLS` that names the file.
        cause: what is wrong, such as "cannot be read (no such file or directory)".
    """

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name} {cause}")
        self.name, self.cause = name, cause


@dataclass(frozen=True)
class TLS:
    """The files of TLS connections, all in PEM. They are read for each connection, so they can be replaced.

    The certificate of the broker is always verified, and so is its host name.

    Attributes:
        cafile: the certificate authorities that the certificate of the broker is verified against. By default, those
            of the system, or of the environment variable SSL_CERT_FILE.
        certfile: the client certificate, followed by those of intermediate authorities.
        keyfile: the private key of the client certificate. By default, it is in `certfile`.
        password: the password of the private key, if it is encrypted.
    """

    cafile: PEMFile | None = None
    certfile: PEMFile | None = None
    keyfile: PEMFile | None = None
    password: str | None = field(default=None, repr=False)

    def context(self) -> ssl.SSLContext:
        """Read the files, and return the context of one connection.

        Raises:
            TLSFileError: a file cannot be read, or has no certificate or no key that can be used.
        """
        texts = self._read()
        context = _trusting(self.cafile) if self.cafile else ssl.create_default_context()
        if self.certfile:
            self._load_certificate(context, self.certfile, encrypted=b"ENCRYPTED" in texts["keyfile"])
        return context

    def _read(self) -> Mapping[str, bytes]:
        """Return the contents of the files, with those of `certfile` for the key if there is no `keyfile`.

        OpenSSL reads the files, too, but does not say which of them is wrong.
        """
        if self.keyfile and not self.certfile:
            raise TLSFileError("keyfile", "is given without certfile")
        texts = {}
        for name, path, kind in (
            ("cafile", self.cafile, b" CERTIFICATE-----"),
            ("certfile", self.certfile, b"BEGIN CERTIFICATE-----"),
            ("keyfile", self.keyfile or self.certfile, b"PRIVATE KEY-----"),
        ):
            texts[name] = _content(path, name) if path else b""
            if path and kind not in texts[name]:
                missing = "private key" if name == "keyfile" else "certificate"
                raise TLSFileError(name, f"has no {missing} in PEM")
        return texts

    def _load_certificate(self, context: ssl.SSLContext, certfile: PEMFile, *, encrypted: bool) -> None:
        if encrypted and not self.password:
            raise TLSFileError("password", "is required, because the private key is encrypted")
        try:
            # With a function, OpenSSL never asks for the password on the terminal.
            context.load_cert_chain(certfile, self.keyfile, password=lambda: self.password or "")
        except (ssl.SSLError, ValueError) as error:  # ValueError: the password is too long
            reason = getattr(error, "reason", None)
            if reason == "KEY_VALUES_MISMATCH":
                raise TLSFileError("keyfile", "does not belong to the certificate in certfile") from None
            if encrypted:
                raise TLSFileError("password", "is wrong, or the private key is damaged") from None
            raise TLSFileError("certfile", f"or its private key is not accepted by OpenSSL ({reason})") from None
        except OSError as error:
            raise _unreadable("certfile", error) from None


def _content(path: PEMFile, name: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: OSError | ValueError) -> TLSFileError:
    cause = (getattr(error, "strerror", None) or "not a path").lower()
    return TLSFileError(name, f"cannot be read ({cause})")


def _trusting(cafile: PEMFile) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except ssl.SSLError as error:
        raise TLSFileError("cafile", f"is not accepted by OpenSSL ({error.reason})") from None
    except OSError as error:  # it was removed after it was read
        raise _unreadable("cafile", error) from None
