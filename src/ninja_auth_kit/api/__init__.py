"""`install`, which puts the kit's endpoints on an API."""

from ninja import NinjaAPI

from ninja_auth_kit import emails
from ninja_auth_kit.api.errors import add_error_handlers

__all__ = ["install"]


def install(api: NinjaAPI, prefix: str = "/auth") -> None:
    """Put the kit's endpoints on an API of yours, so that one OpenAPI document covers both.

    The API also learns to answer the kit's errors as problems, those of `JWTAuth` on your own routes among them. Paths
    that nobody has stay yours to answer.

    Args:
        api: the API; before its `urls` are read.
        prefix: where below the API the endpoints are.

    Raises:
        ImproperlyConfigured: a schema that the settings name is none that can be used.
    """
    # Not with this module: the endpoints import the host's schemas, and these import `schemas`, and so this module.
    from ninja_auth_kit.api.routes import router

    add_error_handlers(api)
    api.add_router(prefix, router)
    emails.page_namespaces.append(api.urls_namespace)
