"""The address that `runserver` listens on, which links in emails have during development."""

import re
import sys
from functools import lru_cache
from typing import Any

from django.core.management import CommandError, get_commands, load_command_class

DEFAULT = "http://127.0.0.1:8000"
_EVERY_ADDRESS = {"0", "0.0.0.0", "[::]"}  # noqa: S104  # compared, not bound
_LOOPBACK = re.compile(r"//(127\.0\.0\.1|\[::1\]):")


def development_url(*, as_localhost: bool = False) -> str:
    """Return the URL of this process if it is `runserver`, or that of a `runserver` without arguments.

    It is read from the command line. The Host header of a request would let anyone who can send a request choose the
    host of a link (OWASP, Forgot Password).

    Args:
        as_localhost: whether to name a loopback address `localhost`.
    """
    url = _url_of(tuple(sys.argv[1:]))
    return _LOOPBACK.sub("//localhost:", url) if as_localhost else url


@lru_cache(maxsize=4)
def _url_of(arguments: tuple[str, ...]) -> str:
    if arguments[:1] != ("runserver",):
        return DEFAULT
    # Imported here, because only this process needs the web server of the development.
    from django.core.management.commands.runserver import naiveip_re

    command: Any = load_command_class(get_commands()["runserver"], "runserver")  # that of the project, if it has one
    try:
        options, _ = command.create_parser("manage.py", "runserver").parse_known_args(arguments[1:])
    except (CommandError, SystemExit):
        return DEFAULT
    use_ipv6 = getattr(options, "use_ipv6", False)
    match = re.match(naiveip_re, str(getattr(options, "addrport", None) or command.default_port))
    if match is None:
        return DEFAULT
    host = match[1] or (f"[{command.default_addr_ipv6}]" if use_ipv6 else command.default_addr)
    if host in _EVERY_ADDRESS:
        host = "[::1]" if host == "[::]" else "127.0.0.1"
    return f"http://{host}:{match['port']}"
