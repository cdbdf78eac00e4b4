"""The paths below `ninja_auth_kit.urls` that are not the kit's: a problem body, unless your project answers them."""

from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver, get_urlconf, is_valid_path
from django.urls.resolvers import LocalePrefixPattern, RoutePattern
from django.views.decorators.csrf import csrf_exempt

from ninja_auth_kit.api.errors import PathNotFoundError, problem_response
from ninja_auth_kit.api.request_body import empty_body

# Whether the URLconf is being asked for a pattern of the project.
_is_asking: ContextVar[bool] = ContextVar("ninja_auth_kit_unknown_path", default=False)


@login_not_required
@csrf_exempt  # a form on another site gets the same 404, not Django's page about cookies
def path_not_found(request: HttpRequest) -> HttpResponse:
    """Return the 404 of an unknown path below the prefix, such as `login/`. Its body may have a password in it."""
    empty_body(request)
    return problem_response(PathNotFoundError())


class UnknownPath(URLPattern):
    """The pattern of the paths that no other pattern of the URLconf matches.

    The URLs of the kit are often included before those of the project, below the same prefix. Django tries the
    patterns in order, so a pattern that matches everything would hide what follows.
    """

    def resolve(self, path: str) -> Any:
        """Return a match, unless a pattern of the project matches the path, or would with a slash at its end."""
        if _is_asking.get() or _is_known(path, self):
            return None
        return super().resolve(path)


def _is_known(path: str, pattern: UnknownPath) -> bool:
    urlconf = get_urlconf()
    endings = ("", "/") if django_settings.APPEND_SLASH else ("",)  # CommonMiddleware redirects
    token = _is_asking.set(True)
    try:
        for prefixes in _mounts(get_resolver(urlconf), pattern):
            if not all(map(_is_literal, prefixes)):
                return True  # the prefix that was matched is not known here
            prefix = "".join(map(str, prefixes))
            if any(is_valid_path(f"/{prefix}{path}{ending}", urlconf) for ending in endings):
                return True
        return False
    finally:
        _is_asking.reset(token)


@lru_cache(maxsize=16)
def _mounts(resolver: URLResolver, pattern: UnknownPath) -> list[tuple[Any, ...]]:
    """Return the prefixes of each place where a URLconf has the pattern, from the outermost to the innermost."""
    return list(_find(resolver, pattern))


def _find(resolver: URLResolver, pattern: UnknownPath) -> Iterator[tuple[Any, ...]]:
    for one in resolver.url_patterns:
        if one is pattern:
            yield ()
        elif isinstance(one, URLResolver):
            yield from ((one.pattern, *inner) for inner in _find(one, pattern))


def _is_literal(prefix: Any) -> bool:
    if isinstance(prefix, LocalePrefixPattern):
        return True
    return isinstance(prefix, RoutePattern) and not prefix.converters
