"""The contenders, each by its module and class."""

from importlib import import_module
from types import ModuleType

from benchmarks.peers.contender import Contender

CONTENDERS = {
    "limit": "limit:Limit",
    "limit-stateless": "limit:Stateless",
    "floor": "limit:Floor",
    "kit": "kit:Kit",
    "kit-stateless": "kit:Stateless",
    "ninja-jwt": "ninja_jwt:NinjaJWT",
    "ninja-jwt-stateless": "ninja_jwt:Stateless",
    "simplejwt": "simplejwt:SimpleJWT",
    "simplejwt-stateless": "simplejwt:Stateless",
    "allauth-jwt": "allauth:JWT",
    "allauth-jwt-stateful": "allauth:Stateful",
    "allauth-session": "allauth:SessionToken",
    "dj-rest-auth": "dj_rest_auth:DjRestAuth",
    "knox": "knox:Knox",
    "fastapi-users": "fastapi_users:JWT",
    "fastapi-users-database": "fastapi_users:Database",
}
# The same packages with the views that only the measurement of ASGI servers has.
ASGI = {"asgi-floor": "asgi_views:Floor", "asgi-kit": "asgi_views:Kit", "asgi-ninja-jwt": "asgi_views:NinjaJWT"}


def module_of(name: str) -> ModuleType:
    """Return the module that defines a contender."""
    return import_module(f"{__name__}.{_place(name)[0]}")


def named(name: str) -> Contender:
    """Return the contender of that name."""
    contender: Contender = getattr(module_of(name), _place(name)[1])()
    return contender


def _place(name: str) -> tuple[str, str]:
    module, _, kind = {**CONTENDERS, **ASGI}[name].partition(":")
    return module, kind
