"""One line in the host's URLconf: `path("api/auth/", include("ninja_auth_kit.urls"))`.

The prefix belongs to the kit alone: whatever else is below it is answered here, by a 404 that is a problem.

No `app_name`: Ninja's own docs and schema pages could not be reversed behind one.
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
    description="Registration, verification, login, refresh and logout, by django-ninja-auth-kit.",
    urls_namespace="ninja_auth_kit",
)
install(api, "")


@login_not_required
@csrf_exempt  # a form from elsewhere gets the same 404 as everybody, not a page about cookies
def nothing_here(request: HttpRequest) -> HttpResponse:
    """Answer an unknown path below the mount with a problem."""
    return problem_response(PathNotFoundError())


operations = api.urls
for operation in operations[0]:
    # The kit's operations guard themselves, and LoginRequiredMiddleware would redirect who comes to log in. Ninja's
    # pages with the schema stay behind it.
    if isinstance(operation, URLPattern) and str(operation.name).startswith("auth_"):
        login_not_required(operation.callback)

urlpatterns = [path("", nothing_here), path("", operations), re_path(r"", nothing_here)]
