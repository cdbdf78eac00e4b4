"""The project's own API, guarded by the kit."""

from ninja import NinjaAPI

from ninja_auth_kit import JWTAuth, add_error_handlers
from notes.api import router

api = NinjaAPI(title="Example", urls_namespace="example", auth=JWTAuth())
api.add_router("/notes", router)
add_error_handlers(api)  # a refused token gets the kit's problem body here too
