"""The URLs of the kit: `path("api/auth/", include("ninja_auth_kit.urls"))` in the URLconf of your project.

The kit answers every path below the prefix. An unknown path gets a 404 with a problem body.

There is no `app_name`, because Django Ninja could not reverse its own pages, the documentation and the schema, below
one.
"""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI

from ninja_auth_kit import __version__
from ninja_auth_kit.api import install
from ninja_auth_kit.api.errors import PathNotFoundError, problem_response

api = NinjaAPI(
    title="Authentication",
    version=__version__,
    description="Registration, verification, login, refresh and logout, with django-ninja-auth-kit.",
    urls_namespace="ninja_auth_kit",
)
install(api, "")


@login_not_required
@csrf_exempt  # a form on another site gets the same 404, not Django's page about cookies
def path_not_found(request: HttpRequest) -> HttpResponse:
    """Return the 404 of an unknown path below the prefix."""
    return problem_response(PathNotFoundError())


operations = api.urls
for operation in operations[0]:
    # LoginRequiredMiddleware would redirect users who want to log in. The operations check the
    # access token themselves. Ninja's pages of the documentation and the schema still require a
    # login.
    if isinstance(operation, URLPattern) and str(operation.name).startswith("auth_"):
        login_not_required(operation.callback)

# The first pattern answers the bare prefix, for which Ninja would raise Http404.
urlpatterns = [path("", path_not_found), path("", operations), re_path(r"", path_not_found)]
