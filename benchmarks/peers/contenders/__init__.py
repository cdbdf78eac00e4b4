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


def module_of(name: str) -> ModuleType:
    """Return the module that defines a contender."""
    return import_module(f"{__name__}.{CONTENDERS[name].partition(':')[0]}")


def named(name: str) -> Contender:
    """Return the contender of that name."""
    contender: Contender = getattr(module_of(name), CONTENDERS[name].partition(":")[2])()
    return contender
