"""The body of a request to the kit: how it is read, and that the request no longer has it once it is checked.

Error trackers read `request.body` when they send a report or a trace. They hide members that are called `password`,
but not `current_password` or `refresh_token`, and a refresh token that could not be used is still valid. So the body
is taken out of the request before anything can fail, and Django Ninja gets it back only while it parses it.
"""

import json
from collections.abc import Callable
from contextlib import closing
from io import BytesIO, IOBase
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, QueryDict
from django.http.request import RawPostDataException, UnreadablePostError
from django.utils.datastructures import MultiValueDict
from ninja import NinjaAPI
from ninja.operation import Operation
from ninja.params.models import BodyModel

from ninja_auth_kit.api.errors import (
    BodyTooLargeError,
    LengthRequiredError,
    MalformedBodyError,
    convert_failures,
)

MAXIMUM_BODY = 65_536  # bytes; the largest ordinary body, a registration, has less than 2,000
_MOST_FIELDS = 100
_TAKES_FORM = "authkit_takes_form"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def takes_form(endpoint: Endpoint) -> Endpoint:
    """Decorate an endpoint: it also takes a form in place of JSON, because a browser that was sent here posts one.

    So any site can post to it, with the cookies of the browser. It must change nothing.
    """
    setattr(endpoint, _TAKES_FORM, True)
    return endpoint


def is_form_endpoint(endpoint: Callable[..., Any]) -> bool:
    """Return whether `takes_form` has decorated an endpoint."""
    return getattr(endpoint, _TAKES_FORM, False)


def form_as_json(body: bytes) -> bytes:
    """Return the fields of a form as a JSON object.

    Raises:
        MalformedBodyError: it is not a form in UTF-8, or has a field twice.
    """
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise MalformedBodyError from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedBodyError
    return json.dumps(fields).encode()


class _Hidden:
    """A body whose representation, which trackers send with the local variables, does not show it."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body


def empty_body(request: Any) -> None:
    """Remove the body from a request. Code that reads it from now on gets an empty one.

    Args:
        request: the request, whose body need not have been read.
    """
    request.close()  # the files of a form
    request._read_started, request._post, request._files = True, QueryDict(), MultiValueDict()
    _set_body(request, b"")


def keep_for_parser(request: HttpRequest, body: bytes) -> None:
    """Keep a body for `parse_taken_bodies`.

    Args:
        request: the request, which `empty_body` has emptied.
        body: the body, which has been checked.
    """
    request._ninja_auth_kit_body = _Hidden(body)  # type: ignore[attr-defined]


def kept_body(request: HttpRequest) -> bytes:
    """Return the body that `keep_for_parser` has kept, which an operation has not parsed yet."""
    kept: _Hidden = vars(request)["_ninja_auth_kit_body"]
    return kept.body


def _set_body(request: Any, body: bytes) -> None:
    request._body, request._stream = body, BytesIO(body)


def parse_taken_bodies(operation: Operation) -> None:
    """Make an operation parse what `keep_for_parser` has kept.

    Args:
        operation: an operation of the kit.
    """
    for model in operation.models:
        if issubclass(model, BodyModel):
            _parse_taken_body(model)


def _parse_taken_body(model: Any) -> None:
    """Change the model that Django Ninja has made for the body of one operation: only its parser sees the body.

    It is not a subclass, because pydantic would build its validator again.
    """
    get_request_data = model.get_request_data

    def of_taken_body(request: HttpRequest, api: NinjaAPI, path_params: dict[str, Any]) -> Any:
        _set_body(request, vars(request).pop("_ninja_auth_kit_body").body)
        try:
            return get_request_data(request, api, path_params)
        finally:
            _set_body(request, b"")

    model.get_request_data = staticmethod(of_taken_body)
    # A validator of your project may fail, and what was sent is in the frames around it.
    model.resolve = staticmethod(convert_failures(model.resolve))


class _Undeclared(IOBase):
    """A body without a declared length, read to its end or to the limit.

    Django reads as many bytes as Content-Length says, and so takes such a body for an empty one.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, MAXIMUM_BODY + 1

    def read(self, size: int | None = -1, /) -> bytes:
        """Read until the end or the limit. A server may return one chunk, or one frame of HTTP/2, at a time."""
        size = self._left if size is None or size < 0 else min(size, self._left)
        pieces = []
        while size and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
            self._left -= len(piece)
        return b"".join(pieces)


def read_body(request: HttpRequest) -> bytes:
    """Return the complete body of a request.

    Raises:
        BodyTooLargeError: it exceeds the limit of the kit or of `DATA_UPLOAD_MAX_MEMORY_SIZE`.
        LengthRequiredError: there may be a body, and this server does not say where it ends.
        MalformedBodyError: the client closed the connection, or sent less than it declared.
    """
    declared, was_read = declared_length(request), hasattr(request, "_body")
    if not declared and not was_read:
        _open_undeclared(request)
    try:
        body = request.body
    except RequestDataTooBig as error:
        raise BodyTooLargeError from error
    except (UnreadablePostError, RawPostDataException) as error:
        raise MalformedBodyError from error
    if len(body) > _limit():
        raise BodyTooLargeError
    if len(body) < declared and not was_read:  # a middleware that has read it may have decoded it, too
        raise MalformedBodyError
    return body


def _limit() -> int:
    """Return how many bytes a body may have. Django compares only a declared length with its setting."""
    configured: int | None = getattr(settings, "DATA_UPLOAD_MAX_MEMORY_SIZE", None)
    return MAXIMUM_BODY if configured is None else min(MAXIMUM_BODY, configured)


def declared_length(request: HttpRequest) -> int:
    """Return Content-Length, or 0 without one."""
    declared = str(request.META.get("CONTENT_LENGTH") or "0")
    if not declared.isdecimal():  # Django's development server passes it on, and Django would raise ValueError
        raise MalformedBodyError
    return int(declared[:20])


def _open_undeclared(request: Any) -> None:
    """Let Django read a body without Content-Length up to the limit, or raise an error if it cannot be read safely.

    Without a length, a server that does not end the stream lets a reader wait for ever (PEP 3333, "Input and Error
    Streams"). Under ASGI, Django has written the body to a file, which it would read into memory whatever its size if
    `DATA_UPLOAD_MAX_MEMORY_SIZE` is None.
    """
    if request.META.get("CONTENT_LENGTH") or request._read_started:
        return
    stream = request.META.get("wsgi.input")
    if stream is None:  # ASGI
        with closing(request._stream) as file:
            request._stream = BytesIO(file.read(MAXIMUM_BODY + 1))
    elif request.META.get("wsgi.input_terminated") or _is_in_memory(stream):
        request._stream = _Undeclared(stream)
    elif "HTTP_TRANSFER_ENCODING" in request.META or _may_be_framed(request):
        raise LengthRequiredError


def _is_in_memory(stream: Any) -> bool:
    return hasattr(stream, "seekable") and bool(stream.seekable())


def _may_be_framed(request: HttpRequest) -> bool:
    """Return whether the body can come in frames, which need neither header (RFC 9113 section 8.1.1).

    A gateway that sets an empty Content-Length, as nginx does, says that there is no body (RFC 3875 section 4.1.2).
    """
    version = str(request.META.get("SERVER_PROTOCOL", "")).removeprefix("HTTP/").partition(".")[0]
    return version in {"2", "3"} and "CONTENT_LENGTH" not in request.META
