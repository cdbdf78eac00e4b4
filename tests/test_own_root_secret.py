"""`NINJA_AUTH_KIT["JWT_SECRET_KEY"]`: it wins over the plain setting, is named in errors, and is shown nowhere."""

import re
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import RequestFactory, modify_settings
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter
from pytest_django import Settings

from ninja_auth_kit.testing import override_auth_kit
from ninja_auth_kit.tokens import ACTIVE, AccessKey, check_keys, key_ring
from tests.conftest import Api
from tests.keys import entry
from tests.settings import JWT_SECRET_KEY

OWN = "kR7-uV2xQm9Wb4TzLp6Yh1Jc8Nf3Sd5Gg0AeKi_own-of-the-kit"
OTHER = "Pz4-mC8yHs1Dn6Xw3Qr9Lt2Vb7Jk5Ff0UoEiYa_of-another-package"
NAME = "NINJA_AUTH_KIT['JWT_SECRET_KEY']"


def keys(*arguments: str) -> str:
    output = StringIO()
    call_command("authkit_keys", *arguments, stdout=output)
    return output.getvalue()


def warnings() -> dict[str, str]:
    """Return the texts of the two checks by their number."""
    return {
        str(message.id).removeprefix("ninja_auth_kit."): f"{message.msg} {message.hint}"
        for message in run_checks()
        if message.id in {"ninja_auth_kit.W007", "ninja_auth_kit.W008"}
    }


@pytest.mark.django_db
def test_it_signs_whatever_the_plain_setting_is(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings
) -> None:
    kit(JWT_SECRET_KEY=OWN)
    pair = api.pair()
    settings.JWT_SECRET_KEY = OTHER
    assert api.is_in(pair["access_token"])
    del settings.JWT_SECRET_KEY
    check_keys()
    assert api.is_in(pair["access_token"])
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 200

    kit(JWT_SECRET_KEY=OTHER)
    assert not api.is_in(pair["access_token"])


@pytest.mark.django_db
def test_a_move_of_the_secret_into_the_dict_logs_nobody_out(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings
) -> None:
    pair = api.pair()

    kit(JWT_SECRET_KEY=JWT_SECRET_KEY)
    settings.JWT_SECRET_KEY = OTHER  # the plain setting belongs to another package from now on

    assert api.is_in(pair["access_token"])
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 200


@pytest.mark.django_db
@pytest.mark.security("JWT-27")
def test_a_rotation_to_a_secret_of_its_own_logs_nobody_out(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings
) -> None:
    pair = api.pair()
    settings.JWT_SECRET_KEY = OTHER
    kit(JWT_SECRET_KEY=OWN, SIGNING_KEYS=[entry("HS256", JWT_SECRET_KEY, "verify-only")])
    check_keys()

    pair = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
    kit(SIGNING_KEYS=None)

    assert api.is_in(pair["access_token"])


@override_auth_kit(JWT_SECRET_KEY=OWN)
def test_the_helper_for_tests_changes_it_for_one_test(settings: Settings) -> None:
    assert key_ring().keys[0].kid != AccessKey(algorithm="HS256", key=settings.JWT_SECRET_KEY, state=ACTIVE).kid


@pytest.mark.security("CFG-01")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("short", "has 5 bytes"),
        (OWN.encode(), "must be a string, not bytes"),
        (7, "must be a string, not int"),
        (None, "is missing or empty"),
        ("", "is missing or empty"),
        ("\udcff" + OWN, "contains bytes that are not UTF-8"),
        ("ab" * 30, "repeats a few characters"),
    ],
)
def test_a_weak_or_missing_one_stops_the_start_although_the_plain_setting_is_good(
    kit: Callable[..., None], value: Any, reason: str
) -> None:
    kit(JWT_SECRET_KEY=value)

    with pytest.raises(ImproperlyConfigured) as caught:
        check_keys()

    assert f"refuses to start: {NAME} {reason}" in str(caught.value).replace("the setting ", "")
    assert str(value) not in str(caught.value) or len(str(value)) < 6
    if isinstance(value, str) and "\udcff" not in value:
        assert f"set {NAME} to it" in str(caught.value)


def test_errors_about_the_other_keys_name_it(kit: Callable[..., None]) -> None:
    kit(JWT_SECRET_KEY=OWN, SIGNING_KEYS=[entry("HS256", OWN, "verify-only")])
    with pytest.raises(ImproperlyConfigured, match=re.escape(f"SIGNING_KEYS[0] and {NAME} are the same key")):
        check_keys()

    kit(JWT_SECRET_KEY=OWN, SIGNING_KEYS=[entry("HS256", OTHER, "active")])
    with pytest.raises(ImproperlyConfigured, match=re.escape(f"put the secret into {NAME}")):
        check_keys()


@pytest.mark.one_user_model
def test_the_printed_steps_name_the_setting_to_change(kit: Callable[..., None]) -> None:
    assert NAME not in keys("rotate") + keys("show") + keys("generate", "--alg", "HS512")
    kit(JWT_SECRET_KEY=OWN)

    for output in (keys("rotate"), keys("rotate", "--alg", "ES256"), keys("generate", "--alg", "HS512"), keys("show")):
        flat = " ".join(output.split())
        assert NAME in flat
        assert not re.search(r"(?<![\['_])JWT_SECRET_KEY(?!_|')", flat)
        assert OWN not in output


@pytest.mark.security("CFG-04")
@pytest.mark.parametrize("debug", [False, True])
def test_no_error_report_of_django_shows_it(
    kit: Callable[..., None], settings: Settings, rf: RequestFactory, debug: bool
) -> None:
    settings.DEBUG = debug
    kit(JWT_SECRET_KEY=OWN, SIGNING_KEYS=[entry("HS256", OTHER, "verify-only")])
    assert key_ring().signing.algorithm == "HS256"

    def fail() -> None:
        kit(JWT_ALGORITHM="HS512")
        check_keys()

    try:
        fail()
    except ImproperlyConfigured:
        reporter = ExceptionReporter(rf.get("/"), *sys.exc_info())
        shown = reporter.get_traceback_html() + reporter.get_traceback_text()

    assert "NINJA_AUTH_KIT" in shown
    for secret in (OWN, OTHER):
        assert secret not in shown
    assert OWN not in str(SafeExceptionReporterFilter().get_safe_settings())


@pytest.mark.django_db
@pytest.mark.security("CFG-04")
@pytest.mark.parametrize("debug", [False, True])
def test_a_failure_in_a_request_does_not_show_it(
    api: Api, kit: Callable[..., None], settings: Settings, rf: RequestFactory, monkeypatch: Any, debug: bool
) -> None:
    reports: list[str] = []

    def report(**_: Any) -> None:
        reporter = ExceptionReporter(rf.get("/"), *sys.exc_info())
        reports.append(reporter.get_traceback_html() + reporter.get_traceback_text())

    from django.core.signals import got_request_exception

    settings.DEBUG = debug
    kit(JWT_SECRET_KEY=OWN)
    monkeypatch.setattr("hmac.digest", lambda *_: 1 / 0)
    got_request_exception.connect(report)
    try:
        answers = [api.login(), api.post("refresh", {"refresh_token": "nakr_x"})]
    finally:
        got_request_exception.disconnect(report)

    assert 500 in {answer.status_code for answer in answers}
    assert reports
    assert not any(OWN in text for text in [*reports, *(answer.content.decode() for answer in answers)])


# W007 and W008


@pytest.fixture
def jwt_ninja(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make an app importable that has the name of jwtninja."""
    (tmp_path / "jwt_ninja").mkdir()
    (tmp_path / "jwt_ninja" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield "jwt_ninja"
    sys.modules.pop("jwt_ninja", None)


def test_an_app_that_reads_the_same_setting_is_named(jwt_ninja: str) -> None:
    assert warnings() == {}
    with modify_settings(INSTALLED_APPS={"append": jwt_ninja}):
        text = warnings()["W007"]

    assert "JWT_SECRET_KEY is also read by jwtninja." in text
    assert NAME in text
    assert "Code of your own" in text
    assert JWT_SECRET_KEY not in text


@pytest.mark.parametrize("module", ["django_ninja_jwt_basic", "jwt_auth.settings"])
def test_a_package_that_is_imported_and_is_no_app_is_named_too(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, sys)

    assert list(warnings()) == ["W007"]


def test_a_secret_of_its_own_ends_the_warning_unless_it_is_the_same(
    jwt_ninja: str, kit: Callable[..., None], settings: Settings
) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, jwt_ninja]
    kit(JWT_SECRET_KEY=OWN)
    assert warnings() == {}
    settings.JWT_SECRET_KEY = OWN
    assert list(warnings()) == ["W007"]
    del settings.JWT_SECRET_KEY
    assert warnings() == {}


@pytest.mark.parametrize(
    ("name", "key"),
    [("NINJA_JWT", "SIGNING_KEY"), ("SIMPLE_JWT", "SIGNING_KEY"), ("GRAPHQL_JWT", "JWT_SECRET_KEY")],
)
def test_another_package_that_signs_with_the_same_secret_is_named(
    settings: Settings, kit: Callable[..., None], name: str, key: str
) -> None:
    setattr(settings, name, {key: OTHER})
    assert warnings() == {}

    kit(JWT_SECRET_KEY=OTHER)

    text = warnings()["W008"]
    assert f"Another package signs with the same secret: {name}[{key!r}]." in text
    assert OTHER not in text
