"""The router of the kit: the endpoints of every feature, and what they have in common.

Importing this module imports the schemas of your project and builds the endpoints with them. `install` imports it
when it is called.
"""

from ninja import Router

from ninja_auth_kit import features
from ninja_auth_kit.api.endpoints import (
    account,
    email_change,
    jwks,
    login,
    logout,
    passwords,
    refresh,
    registration,
    sessions,
    verification,
)
from ninja_auth_kit.api.errors import convert_failures
from ninja_auth_kit.api.request_body import parse_taken_bodies
from ninja_auth_kit.api.request_checks import StrictPathView, with_checked_body

FEATURES = (registration, verification, login, refresh, logout, account, sessions, passwords, email_change, jwks)


router = Router()
router.add_decorator(convert_failures, mode="operation")
router.add_decorator(with_checked_body, mode="view")

for added in (*(endpoint.router for endpoint in FEATURES), *features.routers()):
    paths = added.path_operations
    for path, view in paths.items():
        if isinstance(view, StrictPathView):  # a test has imported this module anew, but not that of a feature
            continue
        paths[path] = strict = StrictPathView.of(view)
        strict.add_head()
        for operation in strict.operations:
            parse_taken_bodies(operation)
            features.adapt_operation(operation)
    router.add_router("", added)
