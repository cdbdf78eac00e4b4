"""Authentication for Django Ninja: registration, email verification, login, sessions and passwords.

A name is public only if it is in `__all__` here, or in the documentation of its module. The names here are imported
on first use: this package must be importable before Django's settings are configured, and `ninja` is not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ninja_auth_kit import services, signals
    from ninja_auth_kit.api import install
    from ninja_auth_kit.api.errors import add_error_handlers
    from ninja_auth_kit.api.jwt_auth import JWTAuth
    from ninja_auth_kit.audit.custom_events import audit_event
    from ninja_auth_kit.exceptions import AuthKitError

__version__ = "0.1.0"
__all__ = [
    "AuthKitError",
    "JWTAuth",
    "__version__",
    "add_error_handlers",
    "audit_event",
    "install",
    "services",
    "signals",
]

# The module of each name that is imported on first use.
_MODULES = {
    "AuthKitError": "ninja_auth_kit.exceptions",
    "JWTAuth": "ninja_auth_kit.api.jwt_auth",
    "add_error_handlers": "ninja_auth_kit.api.errors",
    "audit_event": "ninja_auth_kit.audit.custom_events",
    "install": "ninja_auth_kit.api",
}


def __getattr__(name: str) -> Any:
    if name in {"services", "signals"}:
        return import_module(f"ninja_auth_kit.{name}")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
