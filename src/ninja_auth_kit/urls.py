"""The URLs of the kit: `path("api/auth/", include("ninja_auth_kit.urls"))` in the URLconf of your project.

A path below the prefix that neither the kit nor your project has gets a 404 with a problem body.

There is no `app_name`, because Django Ninja could not reverse its own pages, the documentation and the schema, below
one.
"""

from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, path
from django.urls.resolvers import RegexPattern, RoutePattern
from ninja import NinjaAPI

from ninja_auth_kit import __version__
from ninja_auth_kit.api import install
from ninja_auth_kit.api.custom_schemas import docs_decorator
from ninja_auth_kit.api.unknown_paths import UnknownPath, path_not_found

api = NinjaAPI(
    title="Authentication",
    version=__version__,
    description="Registration, verification, login, refresh and logout, with django-ninja-auth-kit.",
    urls_namespace="ninja_auth_kit",
    docs_decorator=docs_decorator(),
)
install(api, "")

operations = api.urls
# Ninja reverses this pattern for the paths in the schema, and raises Http404 in its view.
root = UnknownPath(RoutePattern("", name="api-root", is_endpoint=True), path_not_found, name="api-root")
operations[0][:] = [root if getattr(one, "name", None) == "api-root" else one for one in operations[0]]
for operation in operations[0]:
    # LoginRequiredMiddleware would redirect users who want to log in. The operations check the
    # access token themselves. Ninja's pages of the documentation and the schema still require a
    # login.
    if isinstance(operation, URLPattern) and str(operation.name).startswith("auth_"):
        login_not_required(operation.callback)

urlpatterns = [path("", operations), UnknownPath(RegexPattern(r"", is_endpoint=True), path_not_found)]
