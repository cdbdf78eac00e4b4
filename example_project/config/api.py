"""The project's own API, protected by the kit."""

from ninja import NinjaAPI

from ninja_auth_kit import JWTAuth, add_error_handlers
from notes.api import router

api = NinjaAPI(title="Example", urls_namespace="example", auth=JWTAuth())
api.add_router("/notes", router)
add_error_handlers(api)  # a rejected token is answered with a problem of the kit here, too
