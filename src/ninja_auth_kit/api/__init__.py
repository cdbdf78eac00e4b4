"""`install`, which adds the kit's endpoints to a NinjaAPI."""

from ninja import NinjaAPI

from ninja_auth_kit import emails
from ninja_auth_kit.api.errors import add_error_handlers

__all__ = ["install"]


def install(api: NinjaAPI, prefix: str = "/auth") -> None:
    """Add the kit's endpoints to an API of your project, so that one OpenAPI document describes both.

    The API then also answers the kit's errors as problems, including those of `JWTAuth` on your own routes. It still
    answers unknown paths itself.

    Args:
        api: the API. Call `install` before its `urls` are read.
        prefix: the prefix of the endpoints below the API.

    Raises:
        ImproperlyConfigured: a setting names a schema that cannot be used.
    """
    # Imported late: the endpoints import the schemas of the project, which import
    # `ninja_auth_kit.api.schemas` and with it this module.
    from ninja_auth_kit.api.routes import router

    add_error_handlers(api)
    api.add_router(prefix, router)
    emails.page_namespaces.append(api.urls_namespace)
