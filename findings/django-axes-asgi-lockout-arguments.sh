#!/usr/bin/env bash
# django-axes 8.3.1: under ASGI, AXES_LOCKOUT_CALLABLE gets the credentials in place of the response.
#
# Expected by most people: the callable gets (request, response, credentials), whichever server runs the project.
# Seen: the synchronous path of AxesMiddleware passes the three. The asynchronous path passes (request, credentials),
# so the second argument is a dict instead of a response, and the third is None. A callable that reads the username
# from its third argument, or changes the response in its second, works with runserver and Gunicorn, and fails with
# uvicorn.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'django==5.2.19' 'django-axes==8.3.1'

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import logging
import sys

import django
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

seen = {}


def locked(request, response, credentials):
    seen[type(request).__name__] = [isinstance(response, HttpResponse), type(response).__name__, credentials is not None]
    return HttpResponse(status=429)


def login(request):
    authenticate(request, username="ada", password="wrong")
    return HttpResponse(status=401)


urlpatterns = [path("login", login)]
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of this script",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "axes"],
    MIDDLEWARE=["axes.middleware.AxesMiddleware"],
    AUTHENTICATION_BACKENDS=["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "axes.sqlite3"}},
    CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
    AXES_HANDLER="axes.handlers.database.AxesDatabaseHandler",
    AXES_FAILURE_LIMIT=1,
    AXES_LOCKOUT_CALLABLE=locked,
    SILENCED_SYSTEM_CHECKS=["axes.W001"],
)
django.setup()
logging.disable(logging.CRITICAL)
call_command("migrate", verbosity=0)
assert Client().post("/login").status_code == 429
assert async_to_sync(AsyncClient().post)("/login").status_code == 429

print("the response is one, its type, and whether there are credentials:", json.dumps(seen, indent=1))
if seen != {"WSGIRequest": [True, "HttpResponse", True], "ASGIRequest": [False, "dict", False]}:
    sys.exit("django-axes no longer behaves as described above.")
PYTHON
echo "As described: under ASGI, the callable gets the credentials where the response should be."
