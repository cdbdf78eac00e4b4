"""The project's own API, protected by the kit."""

from ninja import NinjaAPI

from ninja_auth_kit import JWTAuth
from notes.api import router

api = NinjaAPI(title="Example", urls_namespace="example", auth=JWTAuth())
api.add_router("/notes", router)
