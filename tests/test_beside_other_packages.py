"""Other packages in a project with the kit, with the code of the page "Beside other packages"."""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.howto import Project, block
from tests.test_example import database

__all__ = ["database"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model, pytest.mark.one_django]

PAGE = "beside-other-packages"

SETTINGS = """
PASSWORD_HASHERS = ["yourapp.hashers.Counting"]
ALLOWED_HOSTS = ["*"]
RABBITMQ_HOST, RABBITMQ_PORT = "127.0.0.1", 9  # events stay in the outbox
LOGGING = {"version": 1}
"""
HASHERS = """
from django.contrib.auth.hashers import MD5PasswordHasher

hashed = []


class Counting(MD5PasswordHasher):
    def encode(self, *args, **kwargs):
        hashed.append(1)
        return super().encode(*args, **kwargs)
"""
START = """
import json, logging, os, re
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
django.setup()
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import call_command
from django.test import Client, override_settings
from django.test.utils import setup_test_environment
from django.utils import timezone
from yourapp.hashers import hashed
setup_test_environment()
logging.disable(logging.CRITICAL)
if "yourapp" in settings.INSTALLED_APPS:
    call_command("makemigrations", "yourapp", verbosity=0)
call_command("migrate", verbosity=0)
call_command("check")
from ninja_auth_kit.models import AuditOutbox, EmailAddress
User, password, answers = get_user_model(), "a long walk in the hills", {}

def new_client():
    return Client(raise_request_exception=False)

client = new_client()

def call(method, path, body=None, token=None, client=client, **headers):
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = "" if body is None else json.dumps(body)
    answer = client.generic(method, path, data, content_type="application/json", headers=headers)
    try:
        return [answer.status_code, json.loads(answer.content)]
    except ValueError:
        return [answer.status_code, answer.content.decode()]

def login(typed="wrong", client=client, **who):
    return call("POST", "/api/auth/login", {**who, "password": typed}, client=client)

def token_of(name):
    return login(password, email=f"{name}@example.com")[1]["access_token"]

def made(name, model=User, **fields):
    user = model(username=name, email=f"{name}@example.com", **fields)
    user.set_password(password)
    user.save()
    holder = user if type(user) is User else User.objects.get(pk=user.pk)
    EmailAddress.objects.create(
        user=holder, email=user.email, canonical=user.email, verified_at=timezone.now()
    )
    return user

def flow(name):
    '''Return what a user meets from the registration to the end of the account.'''
    address, new = f"{name}@example.com", "another long walk 9"
    seen = [call("POST", "/api/auth/register", {"email": address, "username": name, "password": password})[0]]
    token = re.search(r"#token=(\\S+)", mail.outbox[-1].body)[1]
    seen.append(call("POST", "/api/auth/verify-email", {"token": token, "password": password})[0])
    first, pair = token_of(name), login(password, username=name)[1]
    seen.append(call("GET", "/api/auth/me", token=first)[0])
    pair = call("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})[1]
    passwords = {"current_password": password, "new_password": new}
    seen.append(call("POST", "/api/auth/password/change", passwords, pair["access_token"])[0])
    seen += [login(typed, username=name)[0] for typed in (password, new)]
    token = login(new, email=address)[1]["access_token"]
    seen += [call("POST", "/api/auth/logout", token=token)[0], call("GET", "/api/auth/me", token=token)[0]]
    token = login(new, email=address)[1]["access_token"]
    User.objects.filter(username=name).update(is_active=False)
    seen.append(call("GET", "/api/auth/me", token=token)[0])
    return seen
"""
FLOW = [202, 200, 401, 204, 401, 200, 204, 401, 401]  # see `flow`


def run(
    folder: Path, database: str, step: str, *, needs: list[str], settings: str = "", urls: str = "", **modules: str
) -> Any:
    """Run code in a project with the kit, and return its `answers`."""
    for module in needs:
        if find_spec(module) is None:
            assert not os.environ.get("CI"), f"{module} must be installed in CI, to test it beside the kit"
            pytest.skip(f"{module} is not installed, so it cannot be tested beside the kit")
    project = Project(folder, database)
    project.app("yourapp", hashers=HASHERS, **modules)
    project.write("yourapp/migrations/__init__.py", "")
    project.settings(SETTINGS + settings)
    if urls:
        project.write("mysite/urls.py", urls)
    project.write("step.py", f"{START}{step}\nprint('said:', json.dumps(answers))\n")
    (said,) = re.findall(r"^said: (.*)$", project.python("step.py"), re.MULTILINE)
    return json.loads(said)


AXES = """
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt

def code(answer):
    return answer[0], answer[1].get("code")

def locked_out(name, client):
    '''Fail three times, in several spellings, and return the answers to the right password.'''
    spellings = [{"email": f"{name}@example.com"}, {"email": f"{name.upper()}@Example.COM"}, {"username": name}]
    failed = [code(login(client=client, **who)) for who in spellings]
    return failed + [code(login(password, client=client, **who)) for who in spellings[1:]]

for handler in ("database.AxesDatabaseHandler", "cache.AxesCacheHandler"):
    for with_middleware in (True, False):
        middleware = settings.MIDDLEWARE if with_middleware else settings.MIDDLEWARE[:-1]
        with override_settings(MIDDLEWARE=middleware, AXES_HANDLER=f"axes.handlers.{handler}"):
            AxesProxyHandler.implementation = None
            client = new_client()
            name = f"ada{len(answers)}"
            made(name), made(f"{name}b")
            answers[f"{handler} {with_middleware}"] = locked_out(name, client)
            answers[f"other {name}"] = login(password, email=f"{name}b@example.com", client=client)[0]
            spelled = ["zoe{}@example.com", "Zoe{}@Example.COM", " zoe{}@example.com", "zoe{}@example.com"]
            unknown = [each.format(name) for each in spelled]
            answers[f"unknown {name}"] = [code(login(email=email, client=client))[0] for email in unknown]

AxesProxyHandler.implementation = None
client = new_client()
made("bob")
login("e\\u0301 has two spellings", client=client, email="bob@example.com")
answers["once"] = list(AccessAttempt.objects.filter(username="bob").values_list("failures_since_start", flat=True))
with override_settings(AXES_RESET_ON_SUCCESS=True):
    login(password, client=client, email="bob@example.com")
answers["after success"] = AccessAttempt.objects.filter(username="bob").count()
made("eve")
script = {"X-Requested-With": "XMLHttpRequest"}
body = {"email": "eve@example.com", "password": "wrong"}
answers["to a script"] = [call("POST", "/api/auth/login", body, client=client, **script) for _ in range(3)][-1]
with override_settings(AXES_LOCKOUT_CALLABLE=None):
    answers["default"] = call("POST", "/api/auth/login", body, client=client, **script)
"""


def test_axes_locks_an_account_by_its_address_and_its_username_and_an_unknown_address_alike(
    tmp_path: Path, database: str
) -> None:
    answers = run(
        tmp_path,
        database,
        AXES,
        needs=["axes"],
        settings=block(PAGE, "python", "settings.py: django-axes")
        + 'AXES_FAILURE_LIMIT = 3\nNINJA_AUTH_KIT = {"THROTTLES": {}}',
        lockouts=block(PAGE, "python", "yourapp/lockouts.py"),
    )

    refused, locked = [401, "invalid_credentials"], [429, "locked"]
    for handler in ("database.AxesDatabaseHandler", "cache.AxesCacheHandler"):
        assert answers.pop(f"{handler} True") == [refused, refused, locked, locked, locked]
        assert answers.pop(f"{handler} False") == [refused] * 5
    unknown = [statuses for question, statuses in answers.items() if question.startswith("unknown")]
    assert unknown == [[401, 401, 429, 429], [401] * 4] * 2
    assert [status for question, status in answers.items() if question.startswith("other")] == [200] * 4
    assert answers["once"] == [1]
    assert answers["after success"] == 0
    # The default of axes discloses the username, and the response of the page does not.
    assert answers["default"] == [429, {"failure_limit": 3, "username": "eve"}]
    assert answers["to a script"] == [429, {"title": "Too Many Requests", "status": 429, "code": "locked"}]


NOTES = """
import reversion
from auditlog.registry import auditlog
from django.db import models
from simple_history.models import HistoricalRecords


@reversion.register()
class Note(models.Model):
    text = models.TextField()
    history = HistoricalRecords()


auditlog.register(Note)
"""
ROUTES = """
from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.urls import include, path
from django_ratelimit.decorators import ratelimit
from ninja import NinjaAPI

from ninja_auth_kit import JWTAuth, install
from yourapp import receivers
from yourapp.limits import add_rate_limit_handler
from yourapp.models import Note

api = NinjaAPI(docs_decorator=staff_member_required)
add_rate_limit_handler(api)


@api.post("/notes", auth=JWTAuth())
def create(request):
    return [Note.objects.create(text="").pk, request.user.username]


@api.post("/async", auth=JWTAuth())
async def create_async(request):
    return [(await Note.objects.acreate(text="")).pk, (await request.auser()).username]


@api.get("/seen/{pk}", auth=JWTAuth(optional=True))
def is_seen(request, pk: int):
    return request.user.has_perm("yourapp.view_note", Note.objects.get(pk=pk))


@api.get("/limited", auth=JWTAuth())
@ratelimit(key="user", rate="2/h")
def limited(request):
    return 1


@api.get("/otp", auth=JWTAuth())
def otp(request):
    return request.user.is_verified()


install(api, "auth/")
urlpatterns = [path("api/", api.urls), path("admin/", admin.site.urls), path("hijack/", include("hijack.urls"))]
"""
WHO = """
from auditlog.models import LogEntry
from django.contrib.admin.models import LogEntry as AdminEntry
from django.contrib.auth.models import Permission
from guardian.shortcuts import assign_perm
from guardian.utils import get_anonymous_user
from reversion.models import Version
from ninja_auth_kit.models import UserSession
from yourapp.models import Note

ada, eve = made("ada"), made("eve", is_staff=True)
root = made("root", is_staff=True, is_superuser=True)
token = token_of("ada")
in_session = new_client()
in_session.force_login(root, backend="django.contrib.auth.backends.ModelBackend")

def name(user):
    return user and user.username

def actors(path, client=client):
    '''Return the user of a request, and whom auditlog, simple-history and reversion name.'''
    pk, user = call("POST", path, token=token, client=client)[1]
    logged = LogEntry.objects.get_for_model(Note).get(object_pk=str(pk))
    version = Version.objects.get_for_model(Note).get(object_id=str(pk))
    return [user, name(logged.actor), name(Note.history.get(id=pk).history_user), name(version.revision.user)]

answers["token"] = [actors("/api/notes"), actors("/api/async"), actors("/api/notes", in_session)]
names = {"yourapp.middleware.ActorMiddleware": "auditlog.middleware.AuditlogMiddleware"}
with override_settings(MIDDLEWARE=[names.get(each, each) for each in settings.MIDDLEWARE]):
    fresh = new_client()
    fresh.cookies = in_session.cookies
    answers["auditlog's own"] = actors("/api/notes", fresh)[1]

note = Note.objects.first()
seen = f"/api/seen/{note.pk}"
before = [call("GET", seen, token=token)[1], call("GET", seen)[1]]
assign_perm("yourapp.view_note", ada, note)
between = [call("GET", seen, token=token)[1], call("GET", seen)[1]]
assign_perm("yourapp.view_note", get_anonymous_user(), note)
answers["guardian"] = [before, between, [call("GET", seen, token=token)[1], call("GET", seen)[1]]]
answers["anonymous"] = [login(typed, username="AnonymousUser")[0] for typed in ("", "wrong")]
answers["limited"] = [call("GET", "/api/limited", token=token)[0] for _ in range(3)]
answers["limited another"] = call("GET", "/api/limited", token=token_of("eve"))[0]
answers["otp"] = call("GET", "/api/otp", token=token)[0]
paths = ("/api/docs", "/api/openapi.json")
answers["docs"] = [call("GET", path, client=each)[0] for path in paths for each in (client, in_session)]

eve.user_permissions.set(Permission.objects.filter(content_type__app_label="ninja_auth_kit"))
in_session.post("/hijack/acquire/", {"user_pk": eve.pk})
answers["token while hijacked"] = actors("/api/notes", in_session)
session = UserSession.objects.get(user=ada, is_active=True)
in_session.post(
    "/admin/ninja_auth_kit/usersession/",
    {"action": "end_selected", "_selected_action": [str(session.pk)], "post": "yes"},
)
answers["ended"] = call("GET", "/api/auth/me", token=token)[0]
answers["in the history"] = [name(entry.user) for entry in AdminEntry.objects.all()]
names = {str(user.pk): user.username for user in User.objects.all()}
found = [json.loads(row.payload) for row in AuditOutbox.objects.order_by("id")]
answers["in the events"] = [
    [each["type"], names.get(each["data"]["actor"]["id"]), each["data"]["details"].get("hijacked_id") == str(eve.pk)]
    for each in found if "hijacked" in each["type"] or each["data"]["actor"]["type"] == "admin"
]
answers["failures"] = [login(email="root@example.com")[0] for _ in range(11)]
answers["flow"] = flow("carl")
answers["kept"] = LogEntry.objects.filter(content_type__app_label="ninja_auth_kit").count()
"""


def test_changes_are_attributed_to_the_user_of_the_token_and_hijackers_are_recorded_at_the_start(
    tmp_path: Path, database: str
) -> None:
    answers = run(
        tmp_path,
        database,
        WHO,
        needs=["auditlog", "simple_history", "reversion", "guardian", "django_otp", "hijack", "django_ratelimit"],
        settings=block(PAGE, "python", "settings.py: django-auditlog\n")
        + block(PAGE, "python", "settings.py: django-auditlog for all models")
        + """
INSTALLED_APPS += ["yourapp", "simple_history", "reversion", "guardian", "django_otp", "hijack"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "guardian.backends.ObjectPermissionBackend"]
MIDDLEWARE += [
    "django_otp.middleware.OTPMiddleware",
    "hijack.middleware.HijackUserMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "reversion.middleware.RevisionMiddleware",
]
""",
        urls=ROUTES,
        models=NOTES,
        middleware=block(PAGE, "python", "yourapp/middleware.py"),
        limits=block(PAGE, "python", "yourapp/limits.py"),
        receivers=block(PAGE, "python", "yourapp/receivers.py"),
    )

    # The session is of `root`, and the token of `ada`.
    assert answers["token"] == [["ada"] * 4] * 3
    assert answers["auditlog's own"] == "root"
    assert answers["guardian"] == [[False, False], [True, False], [True, True]]
    assert answers["anonymous"] == [401, 401]
    assert answers["limited"] == [200, 200, 429]
    assert answers["limited another"] == 200
    assert answers["otp"] == 500
    assert answers["docs"] == [302, 200, 302, 200]
    assert answers["token while hijacked"] == ["ada"] * 4
    assert answers["ended"] == 401
    assert answers["in the history"] == ["eve"]
    assert answers["in the events"] == [
        ["yourapp.user.hijacked.v1", "root", True],
        ["ninja-auth-kit.session.revoked.v1", "eve", False],
    ]
    assert answers["failures"] == [401] * 10 + [429]  # although reversion opens a transaction
    assert answers["kept"] == 0
    assert answers["flow"] == FLOW


PEOPLE = """
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from polymorphic.managers import PolymorphicManager
from polymorphic.models import PolymorphicModel


class PersonManager(PolymorphicManager, UserManager):
    use_in_migrations = False


class Person(PolymorphicModel, AbstractUser):
    objects = PersonManager()


class Teacher(Person):
    room = models.CharField(max_length=9)
"""
PEOPLE_ROUTES = """
from django.urls import include, path
from ninja import NinjaAPI

from ninja_auth_kit import JWTAuth
from yourapp.authentication import RealUserAuth

api = NinjaAPI()


@api.get("/plain", auth=JWTAuth())
def plain(request):
    return type(request.user).__name__


@api.get("/real", auth=RealUserAuth())
def real(request):
    return [request.user.room, request.auth.room]


@api.get("/async", auth=RealUserAuth())
async def real_async(request):
    return [(await request.auser()).room, request.auth.room]


urlpatterns = [path("api/auth/", include("ninja_auth_kit.urls")), path("api/", api.urls)]
"""
POLYMORPHIC = """
from yourapp.models import Teacher

answers["flow"] = flow("carl")
made("tess", Teacher, room="7b")
token = token_of("tess")
answers["classes"] = [call("GET", f"/api/{path}", token=token)[1] for path in ("plain", "real", "async")]
answers["logins"] = [login(password, **who)[0] for who in ({"username": "tess"}, {"email": "Tess@example.com"})]

def cost(**who):
    hashed.clear()
    return login(**who)[0], len(hashed)

kinds = [{"email": "tess@example.com"}, {"email": "zoe@example.com"}, {"username": "tess"}, {"username": "zoe"}]
answers["costs"] = [cost(**who) for who in kinds]
with override_settings(ACCOUNT_LOGIN_METHODS={"email"}):
    answers["by email only"] = login(password, email="tess@example.com")[0]
"""


def test_polymorphic_users_log_in_through_the_backend_of_allauth_alone(tmp_path: Path, database: str) -> None:
    answers = run(
        tmp_path,
        database,
        POLYMORPHIC,
        needs=["polymorphic", "allauth"],
        settings=block(PAGE, "python", "settings.py: allauth")
        + """
AUTH_USER_MODEL = "yourapp.Person"
INSTALLED_APPS += ["yourapp", "polymorphic", "allauth", "allauth.account"]
MIDDLEWARE += ["allauth.account.middleware.AccountMiddleware"]
""",
        urls=PEOPLE_ROUTES,
        models=PEOPLE,
        authentication=block(PAGE, "python", "yourapp/authentication.py"),
    )

    assert answers["flow"] == FLOW
    assert answers["classes"] == ["Person", ["7b", "7b"], ["7b", "7b"]]
    assert answers["logins"] == [200, 200]
    assert len({hashes for _, hashes in answers["costs"]}) == 1
    assert {status for status, _ in answers["costs"]} == {401}
    assert answers["by email only"] == 401


CACHES = """
import psycopg
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction

other_process = psycopg.connect("", autocommit=True)
new = "changed elsewhere 11"

def change_elsewhere(name):
    '''Fill the cache, change the password as another process would, and return what logs in.'''
    made(name)
    token = token_of(name)
    for _ in range(2):
        call("GET", "/api/auth/sessions", token=token)
        login(username=name)
    statement = "UPDATE auth_user SET password = %s WHERE username = %s"
    other_process.execute(statement, [make_password(new), name])
    by_name = [login(typed, username=name)[0] for typed in (password, new)]
    return [call("GET", "/api/auth/me", token=token)[0], *by_name]

from cachalot.settings import cachalot_settings
answers["flow"] = flow("carl")
answers["excluded"] = change_elsewhere("ada")
with override_settings(CACHALOT_UNCACHABLE_APPS=()):
    cachalot_settings.reload()
    answers["cached"] = change_elsewhere("bob")
    answers["cached flow"] = flow("dan")
cachalot_settings.reload()

with transaction.atomic():
    login(email="zoe@example.com")
    transaction.set_rollback(True)
answers["fact"] = json.loads(AuditOutbox.objects.latest("id").payload)["type"]
"""


def test_a_cache_of_the_orm_never_keeps_a_session_or_a_former_password_valid(tmp_path: Path, database: str) -> None:
    answers = run(
        tmp_path,
        database,
        CACHES,
        needs=["cachalot"],
        settings=block(PAGE, "python", "settings.py: django-cachalot") + "\nINSTALLED_APPS += ['cachalot']\n",
    )

    assert answers["flow"] == answers["cached flow"] == FLOW
    # The access token, the former password, and the new one.
    assert answers["excluded"] == [401, 401, 200]
    assert answers["cached"] == [401, 401, 401]
    assert answers["fact"] == "ninja-auth-kit.session.login_failed.v1"
