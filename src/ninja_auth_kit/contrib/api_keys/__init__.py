"""API keys: credentials for programs, with scopes and an expiry. `APIKeyAuth` protects a route with them.

`APIKeyAuth` is imported on first use, because Django imports this package before its models can be.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ninja_auth_kit.contrib.api_keys.auth import APIKeyAuth

__all__ = ["APIKeyAuth"]


def __getattr__(name: str) -> Any:
    if name == "APIKeyAuth":
        from ninja_auth_kit.contrib.api_keys.auth import APIKeyAuth

        return APIKeyAuth
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
