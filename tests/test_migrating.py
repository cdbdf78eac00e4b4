"""The page for migrations: its steps lead the users of other packages into the kit."""

import json
import re
import secrets
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import DatabaseError, connection
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.security import HttpBearer
from ninja.testing import TestClient

from ninja_auth_kit import JWTAuth
from ninja_auth_kit.testing import auth_headers, override_auth_kit
from tests.conftest import Api
from tests.howto import Project
from tests.servers import ROOT
from tests.test_example import database

__all__ = ["database"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """Return the text of a section, or of the steps at the top."""
    parts = dict(re.findall(r"^(# Migrating|## [^\n]*)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    return str(parts[heading])


def blocks(heading: str, language: str = "python") -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", section(heading), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


class Package(NamedTuple):
    """How a project uses another package before the migration.

    Attributes:
        heading: the section of the page.
        module: what is imported; the test is skipped without it.
        apps: for INSTALLED_APPS.
        urls: the urlpatterns, and what they import.
        login: an expression that logs in with a `client` and returns the headers of an authenticated request.
        settings: more settings.
        before: more code for the state before the migration; `ada` and `grace` are users.
        verify: how the addresses are marked as verified.
        marks: pytest's marks.
    """

    heading: str
    module: str
    apps: list[str]
    urls: str
    login: str
    settings: str = ""
    before: str = ""
    verify: str = "python manage.py authkit_verify --all"
    marks: tuple[pytest.MarkDecorator, ...] = (pytest.mark.one_django,)


NINJA_JWT = Package(
    "## From django-ninja-jwt",
    "ninja_jwt",
    ["ninja_extra", "ninja_jwt"],
    """
from ninja import NinjaAPI
from ninja_jwt.routers.obtain import obtain_pair_router
former = NinjaAPI(urls_namespace="former")
former.add_router("/token", obtain_pair_router)
former_urls = [path("former/", former.urls)]
""",
    """bearer(login("/former/token/pair")["access"])""",
)
JWTNINJA = Package(
    "## From jwtninja",
    "jwt_ninja",
    ["jwt_ninja"],
    """
from ninja import NinjaAPI
from jwt_ninja.api import router
former = NinjaAPI(urls_namespace="former")
former.add_router("auth/", router)
former_urls = [path("former/", former.urls)]
""",
    """bearer(login("/former/auth/login/")["access_token"])""",
    f"""
JWT_SECRET_KEY = {secrets.token_urlsafe(64)!r}
JWT_ISSUER = "https://example.com"
JWT_AUDIENCE = "former"
""",
    marks=(),  # it needs Python 3.12, which only the newest Django is tested with everywhere
)
HAND_WRITTEN = Package(
    "## From hand-written JWT code",
    "jwt",
    [],
    "former_urls = []",
    """bearer(jwt.encode({"user_id": ada.pk, "exp": time.time() + 600}, settings.JWT_SECRET_KEY))""",
    f"JWT_SECRET_KEY = {secrets.token_urlsafe(64)!r}",
)
SIMPLEJWT = Package(
    "## From simplejwt",
    "rest_framework_simplejwt",
    ["rest_framework"],
    """
from rest_framework_simplejwt.views import TokenObtainPairView
former_urls = [path("former/token", TokenObtainPairView.as_view())]
""",
    """bearer(login("/former/token")["access"])""",
    before="User.objects.filter(username='ada').update(is_staff=True)",
    verify="python manage.py shell --verbosity 0 < staff.py > addresses.txt\n"
    "python manage.py authkit_verify --file addresses.txt",
)
ALLAUTH = Package(
    "## From allauth headless",
    "allauth",
    ["allauth", "allauth.account", "allauth.headless"],
    """
former_urls = [path("accounts/", include("allauth.urls")), path("_allauth/", include("allauth.headless.urls"))]
""",
    """{"X-Session-Token": login("/_allauth/app/v1/auth/login")["meta"]["session_token"]}""",
    """
MIDDLEWARE += ["allauth.account.middleware.AccountMiddleware"]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend", "allauth.account.auth_backends.AuthenticationBackend"
]
""",
    """
from allauth.account.models import EmailAddress
EmailAddress.objects.create(user=ada, email="ada@example.com", primary=True, verified=True)
EmailAddress.objects.create(user=grace, email="grace@example.com", primary=True, verified=False)
EmailAddress.objects.create(user=grace, email="former@example.com", verified=True)
""",
    "python manage.py shell --verbosity 0 < verified.py > verified.txt\n"
    "python manage.py authkit_verify --file verified.txt",
)
AUTHTOKEN = Package(
    "## From tokens in a table: Django REST Framework, djoser, dj-rest-auth, knox",
    "djoser",
    ["rest_framework", "rest_framework.authtoken", "djoser"],
    """
former_urls = [path("former/", include("djoser.urls")), path("former/", include("djoser.urls.authtoken"))]
""",
    """{"authorization": "Token " + login("/former/token/login/")["auth_token"]}""",
)
KNOX = Package(
    AUTHTOKEN.heading,
    "knox",
    ["rest_framework", "knox"],
    "former_urls = []",
    """{"authorization": "Token " + __import__("knox.models").models.AuthToken.objects.create(ada)[1]}""",
)
PACKAGES = [HAND_WRITTEN, NINJA_JWT, JWTNINJA, SIMPLEJWT, ALLAUTH, AUTHTOKEN, KNOX]

NOTES = """
from django.conf import settings
from django.db import models


class Note(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    text = models.TextField()
"""
NOTES_MIGRATION = """
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.CreateModel("Note", [
            ("id", models.BigAutoField(primary_key=True)),
            ("text", models.TextField()),
            ("user", models.ForeignKey(settings.AUTH_USER_MODEL, django.db.models.deletion.CASCADE)),
        ]),
    ]
"""
START = """
import json, os, re, sys, time
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
django.setup()
import jwt
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
User, client = get_user_model(), Client(raise_request_exception=False)
password = "a long walk in the hills"

def post(path, **body):
    return client.post(path, body, content_type="application/json").json()

def say(answer):
    print("said:", json.dumps(answer))

def login(path):
    return post(path, username="ada", password=password)

def bearer(token):
    return {"authorization": f"Bearer {token}"}
"""
# The users of the project, and the headers of a user who has logged in.
BEFORE = """
call_command("migrate", verbosity=0)
ada = User.objects.create_user("ada", "Ada@Example.com", password)
ada.note_set.create(text="of before")
grace = User.objects.create_user("grace", "grace@example.com", password)
User.objects.create_user("nora", "", password)
for name in ("jim", "joe"):
    User.objects.create_user(name, "shared@example.com", password)
User.objects.create_user("sam", "sam@example.com")
# more
say(LOGIN)
"""
# The first two commands of the page. It prints the exit code of the second.
STEPS = """
call_command("migrate", verbosity=0)
try:
    call_command("authkit_doctor")
except SystemExit as found:
    say(found.code)
"""
# What is asked after the migration: `former` are the headers from before.
AFTER = """
call_command("check", stderr=open(os.devnull, "w"))
former = json.loads(os.environ["FORMER"])
answers = {}

def get(name, path, headers):
    answer = client.get(path, headers=headers)
    answers[name] = [answer.status_code, answer.json() if answer.status_code == 200 else None]

paths = json.loads(os.environ["PATHS"])
pairs = [post("/api/auth/login", email="ada@example.com", password=password) for _ in range(2)]
new = [bearer(pair["access_token"]) for pair in pairs]
for path in paths:
    get(f"former {path}", path, former)
    get(f"new {path}", path, new[0])
    get(f"newest {path}", path, new[1])
    get(f"none {path}", path, {})
    get(f"forged {path}", path, {"authorization": new[0]["authorization"] + "x"})
for name in ("grace", "nora"):
    answers[name] = post("/api/auth/login", username=name, password=password).get("code")
answers["former refresh token"] = post("/api/auth/refresh", refresh_token=list(former.values())[0].split()[-1])["code"]
User.objects.filter(username="ada").update(is_active=False)
for path in paths:
    get(f"disabled {path}", path, former)
say(answers)
"""
ROUTES = """
from django.urls import include, path

@api.get("/notes")
def notes(request):
    return [note.text for note in request.user.note_set.all()]

@api.get("/async")
async def notes_async(request):
    user = await request.auser()
    return [note.text async for note in user.note_set.all()]

kit_urls = [path("api/auth/", include("ninja_auth_kit.urls")), path("api/", api.urls)]
"""
DRF_ROUTES = """
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

@api_view(["GET"])
@permission_classes([IsAuthenticated])
def notes_drf(request):
    return Response([note.text for note in request.user.note_set.all()])

kit_urls += [path("drf", notes_drf)]
"""


class Migration:
    """A project that uses another package, and then follows the page."""

    def __init__(self, folder: Path, database: str, package: Package) -> None:
        self.package, self.project = package, Project(folder, database, has_kit=False)
        self.is_drf = "rest_framework" in package.apps
        self.project.app("notes", models=NOTES)
        self.project.app("notes/migrations", **{"0001_initial": NOTES_MIGRATION})
        self.project.settings(f"INSTALLED_APPS += {['notes', *package.apps]}\n{package.settings}")
        self.project.settings(
            'PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]\nALLOWED_HOSTS = ["*"]'
        )
        self.project.write(
            "mysite/urls.py", f"from django.urls import include, path\n{package.urls}\nurlpatterns = former_urls\n"
        )
        self.former = self.run(f"{START}{BEFORE.replace('# more', package.before).replace('LOGIN', package.login)}")

    def run(self, code: str, **environment: str) -> Any:
        """Run code in the project, and return what it prints."""
        self.project.write("step.py", code)
        self.project.environment |= environment
        (said,) = re.findall(r"^said: (.*)$", self.project.python("step.py"), re.MULTILINE)
        return json.loads(said)

    def follow_the_page(self) -> None:
        """Take the steps of the page in their order."""
        (settings,) = blocks("# Migrating")
        self.project.environment["AUTHKIT_SECRET_KEY"] = secrets.token_urlsafe(64)
        self.project.settings(settings)
        assert self.run(f"{START}{STEPS}") == 1
        self.write_the_code()
        commands = blocks(self.package.heading, "console")
        assert not commands or commands[-1].replace("$ ", "").strip() == self.package.verify
        self.project.shell(self.package.verify)

    def write_the_code(self) -> None:
        """Write each block of the section where its first line says, and the others into the URLconf."""
        urls = [f"from django.urls import include, path\n{self.package.urls}"]
        code = [*blocks("## Mark email addresses as verified"), *blocks(self.package.heading)]
        if self.is_drf:
            code += [block for block in blocks(SIMPLEJWT.heading) if block.startswith("# yourapp/authentication.py")]
        for block in code:
            if self.package is KNOX:
                block = re.sub(r"^( *)\S.*?  # for knox: (.*)$", r"\1\2", block, flags=re.MULTILINE)
            if file := re.match(r"# (yourapp/\w+\.py|staff\.py|verified\.py)", block):
                self.project.write(file[1], block)
            elif block.startswith("# settings.py"):
                self.project.settings(block)
            else:
                urls.append(block)
        urls += [ROUTES, DRF_ROUTES if self.is_drf else "", "urlpatterns = former_urls + kit_urls"]
        self.project.write("mysite/urls.py", "\n".join(urls))


@pytest.mark.parametrize(
    "package", [pytest.param(package, id=package.module, marks=package.marks) for package in PACKAGES]
)
def test_users_of_another_package_keep_their_tokens_and_then_log_in_by_the_kit_with_their_password(
    tmp_path: Path, database: str, package: Package
) -> None:
    if find_spec(package.module) is None:
        pytest.skip(f"{package.module} does not support this version of Python")
    migration = Migration(tmp_path, database, package)

    migration.follow_the_page()

    paths = ["/api/notes", "/api/async", *(["/drf"] if migration.is_drf else [])]
    answers = migration.run(f"{START}{AFTER}", FORMER=json.dumps(migration.former), PATHS=json.dumps(paths))
    notes, refused = [200, ["of before"]], [401, None]
    expected = {
        "former": notes,
        "new": notes,
        "newest": notes,
        "none": refused,
        "forged": refused,
        "disabled": refused,
    }
    for path in paths:
        assert {name: answers[f"{name} {path}"] for name in expected} == expected
    assert answers["grace"] == (None if package.verify.endswith("--all") else "email_not_verified")
    assert answers["nora"] == "email_not_verified"
    assert answers["former refresh token"] == "invalid_token"


OTP_BEFORE = """
from django_otp.plugins.otp_totp.models import TOTPDevice
device = TOTPDevice.objects.create(user=ada, name="my phone")
secret = device.bin_key
"""
MFA_BEFORE = """
import base64
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
text = generate_totp_secret()
TOTP.activate(ada, text)
secret = base64.b32decode(text)
"""
# The code of two time steps ahead, whose moment has come by then: no code of the import's time counts.
SECOND_STEP = """
import hashlib, hmac, time_machine
moment = (int(time.time()) // 30 + 2) * 30
mac = hmac.digest(bytes.fromhex(os.environ["SECRET"]), (moment // 30).to_bytes(8), hashlib.sha1)
number = int.from_bytes(mac[mac[-1] & 15 :][:4]) & 0x7FFFFFFF
with time_machine.travel(moment):
    pending = post("/api/auth/login", email="ada@example.com", password=password)
    code = f"{number % 10**6:06}"
    pair = post("/api/auth/login/totp", challenge_token=pending["challenge_token"], code=code)
say([pending["status"], pair["acr"]])
"""


@pytest.mark.one_django
@pytest.mark.parametrize(
    ("source", "apps", "before"),
    [
        ("django-otp", ["django_otp", "django_otp.plugins.otp_totp"], OTP_BEFORE),
        ("allauth", ["allauth", "allauth.account", "allauth.mfa"], MFA_BEFORE),
    ],
)
def test_the_second_factors_of_another_package_are_imported_by_the_commands_of_the_page(
    tmp_path: Path, database: str, source: str, apps: list[str], before: str
) -> None:
    heading = "## From django-otp or allauth.mfa"
    if find_spec(apps[0]) is None:
        pytest.skip(f"{apps[0]} does not support this version of Python")
    project = Project(tmp_path, database, has_kit=False)
    project.settings(f"INSTALLED_APPS += {apps}")
    if source == "allauth":
        project.settings(ALLAUTH.settings)
    project.settings('ALLOWED_HOSTS = ["*"]')
    made = f"ada = User.objects.create_user('ada', 'ada@example.com', password)\n{before}\nsay(secret.hex())"

    def run(code: str) -> Any:
        project.write("step.py", START + code)
        (said,) = re.findall(r"^said: (.*)$", project.python("step.py"), re.MULTILINE)
        return json.loads(said)

    project.environment["SECRET"] = run(f"call_command('migrate', verbosity=0)\n{made}")
    project.environment["AUTHKIT_SECRET_KEY"] = secrets.token_urlsafe(64)
    for block in (*blocks("# Migrating"), *blocks(heading)):
        assert block.startswith("# settings.py")
        project.settings(block)
    (commands,) = blocks(heading, "console")
    printed = [
        project.manage(*line.replace("django-otp", source).removeprefix("$ python manage.py ").split())
        for line in commands.splitlines()
        if line.startswith("$ ")
    ]
    assert "1 factor would be imported (1 totp).\n" in printed[1]
    assert "1 factor imported (1 totp).\n" in printed[2]
    project.manage("authkit_verify", "--all")
    project.write(
        "mysite/urls.py",
        "from django.urls import include, path\nurlpatterns = [path('api/auth/', include('ninja_auth_kit.urls'))]",
    )

    assert run(SECOND_STEP) == ["factor_required", "aal2"]


class Former(HttpBearer):
    """The authenticator of another package."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        return "a former user" if token == "former" else None


def routes() -> NinjaAPI:
    """Return an API that has the kinds of routes of the page."""
    api = NinjaAPI(urls_namespace="migrating", auth=[Former(), JWTAuth()])

    def who(request: Any) -> str | None:
        return None if request.auth is None else str(request.auth)

    for name, options in {
        "inherits": {},
        "own": {"auth": Former()},
        "public": {"auth": [Former(), JWTAuth(optional=True)]},
        "token": {"auth": JWTAuth(scheme="Token")},
    }.items():
        api.get(f"/{name}", **options)(who)
    return api


def test_a_route_with_its_own_auth_does_not_get_that_of_the_api(user: Any) -> None:
    client, headers = TestClient(routes()), auth_headers(user)

    def answer(path: str, **headers: str) -> tuple[int, Any]:
        response = client.get(path, headers=headers)
        return response.status_code, response.json() if response.status_code == 200 else None

    former, new, forged = {"Authorization": "Bearer former"}, dict(headers), {"Authorization": "Bearer a.b.c"}
    as_token = {"Authorization": new["Authorization"].replace("Bearer", "Token")}
    assert {
        path: [answer(path, **sent) for sent in (former, new, forged, {}, as_token)]
        for path in ("/inherits", "/own", "/public", "/token")
    } == {
        "/inherits": [(200, "a former user"), (200, str(user)), (401, None), (401, None), (401, None)],
        "/own": [(200, "a former user"), (401, None), (401, None), (401, None), (401, None)],
        "/public": [(200, "a former user"), (200, str(user)), (401, None), (200, None), (401, None)],
        "/token": [(401, None), (401, None), (401, None), (401, None), (200, str(user))],
    }


def test_a_limit_of_sessions_that_is_set_later_counts_at_the_next_login_of_each_user(api: Api, user: Any) -> None:
    with override_auth_kit(SESSION_LIMIT=None):
        tokens = [api.pair()["access_token"] for _ in range(4)]
    with override_auth_kit(SESSION_LIMIT=3):
        assert [api.is_in(token) for token in tokens] == [True] * 4

        last = api.pair()["access_token"]

        assert [api.is_in(token) for token in (*tokens, last)] == [False, False, True, True, True]


# Statements of the table for psycopg2, each with its parameter, and what takes their place.
CHANGED = [
    ("WHERE id IN %s", "WHERE id = ANY(%s)", "SELECT 7 FROM (SELECT 7 AS id) AS rows {}", ((7, 8), [7, 8])),
    ("unnest(%s)", "unnest(%s::text[])", "SELECT 7 FROM {} LIMIT 1", (["a"], ["a"])),
]


@pytest.mark.parametrize(("former", "new", "statement", "parameters"), CHANGED)
def test_raw_sql_that_psycopg_3_refuses_has_the_replacement_that_the_page_gives(
    former: str, new: str, statement: str, parameters: tuple[Any, Any]
) -> None:
    assert f"| `{former}` " in PAGE
    assert f"| `{new}`" in PAGE
    with connection.cursor() as cursor:
        with pytest.raises(DatabaseError):
            cursor.execute(statement.format(former), [parameters[0]])
        cursor.execute(statement.format(new), [parameters[1]])
        assert cursor.fetchall() == [(7,)]


def test_values_and_errors_of_psycopg_3_are_as_the_page_says() -> None:
    from django.db.backends.postgresql import psycopg_any
    from psycopg.types.json import Jsonb

    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::bytea, ROW(1, 'a'), %s::jsonb", [b"a", Jsonb({"a": 1})])
        assert cursor.fetchone()[:2] == (b"a", ("1", "a"))
        cursor.execute("SELECT %s::int4range", [psycopg_any.NumericRange(1, 2)])
        cursor.execute("SELECT %s; SELECT 8", [7])
        assert cursor.fetchall() == [(7,)]
        cursor.nextset()
        assert cursor.fetchall() == [(8,)]
        cursor.execute("SELECT 'infinity'::date")
        with pytest.raises(DatabaseError):
            cursor.fetchall()
        with pytest.raises(DatabaseError) as refused:
            cursor.execute("SELECT 1 FROM no_such_table")
        assert refused.value.__cause__.sqlstate == "42P01"  # type: ignore[union-attr]
        cursor.execute("CREATE TEMPORARY TABLE copied (number integer)")
        with cursor.copy("COPY copied FROM STDIN") as copy:
            copy.write("1\n2\n")
        cursor.execute("SELECT count(*) FROM copied")
        assert cursor.fetchall() == [(2,)]
        cursor.execute("DROP TABLE copied")
    assert connection.connection.info.get_parameters()
