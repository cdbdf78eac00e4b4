"""The admin's pages of second factors: what they show, and that an action removes all factors of a user."""

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.management import call_command
from django.utils import timezone

import ninja_auth_kit
from ninja_auth_kit.contrib.api_keys.models import ApiKey
from ninja_auth_kit.contrib.factors.models import Factor, RecoveryCode, RememberedDevice
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.passkeys.models import Passkey
from ninja_auth_kit.contrib.totp.models import TotpSecret
from tests.admin.conftest import Pages, admin_user, host_with_admin, pages, told
from tests.conftest import EMAIL, PASSWORD, Api, events
from tests.features.conftest import Enrolled, enrol
from tests.features.passkeys.conftest import new_passkey, register
from tests.servers import ROOT

__all__ = ["admin_user", "host_with_admin", "pages"]  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)

SPELLINGS: list[Callable[[Any], str]] = [
    lambda value: bytes(value).hex(),
    lambda value: base64.b64encode(bytes(value)).decode().rstrip("="),
    lambda value: base64.urlsafe_b64encode(bytes(value)).decode().rstrip("="),
]


@pytest.fixture
def device(enrolled: Enrolled) -> RememberedDevice:
    """Return a remembered device."""
    digest = "v1$00000000$" + "0" * 64
    return RememberedDevice.objects.create(
        user=enrolled.user, digest=digest, auth_hash=digest, expires_at=timezone.now(), user_agent="Lynx"
    )


def viewer(make_user: Callable[..., Any]) -> Pages:
    """Return the pages of a user who may view the models, and change none of them."""
    user = make_user("viewer@example.com", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return Pages(user)


def test_the_admin_has_five_models_and_django_finds_no_fault() -> None:
    found = {model for model in admin.site._registry if model._meta.app_label.startswith("ninja_auth_kit_")}

    assert found == {ApiKey, Factor, Identity, RememberedDevice, Passkey}
    call_command("check", verbosity=0)


def test_a_project_without_the_admin_never_imports_it() -> None:
    source = Path(ninja_auth_kit.__file__).parent
    files = [path.relative_to(source.parent).with_suffix("") for path in source.glob("contrib/**/*.py")]
    names = [".".join(path.parts).removesuffix(".__init__") for path in files if path.name != "admin"]
    code = f"""
import django, importlib, sys
django.setup()
from django.urls import get_resolver
get_resolver().url_patterns
for name in {names}:
    importlib.import_module(name)
print([name for name in sys.modules if "ninja_auth_kit" in name and ".admin" in name])
"""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings_features", "PYTHONPATH": ":".join([str(ROOT), *sys.path])}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert "ninja_auth_kit.contrib.totp.services" in names
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


@pytest.mark.security("CFG-04")
def test_lists_and_details_show_no_digest_and_no_secret(
    pages: Pages, enrolled: Enrolled, device: RememberedDevice
) -> None:
    hidden = [
        TotpSecret.objects.get().secret,
        device.digest,
        device.auth_hash,
        enrolled.user.password,
        *RecoveryCode.objects.values_list("digest", flat=True),
    ]
    factor = Factor.objects.get()
    for response in (
        pages.list(Factor),
        pages.list(Factor, q=EMAIL),
        pages.list(Factor, q=str(factor.pk)),
        pages.page(Factor, "change", factor.pk),
        pages.list(RememberedDevice),
        pages.page(RememberedDevice, "change", device.pk),
    ):
        assert response.status_code == 200
        page = response.content.decode()
        assert "my phone" in page.replace("<wbr>", "") or "Lynx" in page
        assert [secret for secret in hidden if secret in page] == []
    assert pages.list(RememberedDevice, digest__startswith="v1").status_code == 400
    assert pages.list(Factor, user__password__startswith="m").status_code == 400


def test_a_search_finds_the_factors_of_one_user(
    pages: Pages, api: Api, enrolled: Enrolled, make_user: Callable[..., Any]
) -> None:
    make_user("grace@example.com")
    enrol(api, api.pair("grace@example.com")["access_token"])

    assert len(pages.list(Factor).context["cl"].result_list) == 2
    (found,) = pages.list(Factor, q=EMAIL.upper()).context["cl"].result_list
    assert found.user_id == enrolled.user.pk
    assert len(pages.list(Factor, q="nobody@example.com").context["cl"].result_list) == 0


@pytest.mark.security("CFG-04")
def test_passkeys_are_shown_with_their_owner_and_without_ids_keys_and_seals(
    pages: Pages, api: Api, enrolled: Enrolled
) -> None:
    passkey = new_passkey()
    assert register(api, enrolled.token, passkey, name="my laptop").status_code == 201
    row = Passkey.objects.get()
    hidden = [row.seal, *(encode(value) for value in (row.credential_id, row.public_key) for encode in SPELLINGS)]

    for response in (
        pages.list(Passkey),
        pages.list(Passkey, q=EMAIL.upper()),
        pages.list(Passkey, q=str(row.pk)),
        pages.page(Passkey, "change", row.pk),
    ):
        assert response.status_code == 200
        page = response.content.decode().replace("<wbr>", "")
        assert "my laptop" in page or str(row.pk) in page
        assert [secret for secret in hidden if secret in page] == []
    assert "internal" in page
    assert len(pages.list(Passkey, q="nobody@example.com").context["cl"].result_list) == 0
    for action, post in (("change", {"sign_count": "7"}), ("delete", {"post": "yes"})):
        assert pages.page(Passkey, action, row.pk, post=post).status_code == 403
    assert Passkey.objects.values().get() == Passkey.objects.values().filter(sign_count=row.sign_count).get()


@pytest.mark.parametrize("model", [Factor, RememberedDevice])
def test_a_row_cannot_be_added_changed_or_deleted(
    pages: Pages, enrolled: Enrolled, device: RememberedDevice, model: Any
) -> None:
    row = model.objects.get()
    before = model.objects.values().get()

    assert pages.page(model, "add").status_code == 403
    assert pages.page(model, "change", row.pk, post={"name": "x", "user_agent": "x"}).status_code == 403
    assert pages.page(model, "delete", row.pk, post={"post": "yes"}).status_code == 403
    assert model.objects.values().get() == before


@pytest.mark.security("AUD-01")
def test_the_action_removes_all_factors_of_the_user_and_says_who_did_it(
    pages: Pages, api: Api, enrolled: Enrolled
) -> None:
    _, confirmed = enrol(api, enrolled.token, "my tablet")
    assert confirmed.status_code == 200
    mail.outbox.clear()

    response = pages.act(Factor, "remove_all", Factor.objects.get(name="my phone"))

    assert told(response) == ["All second factors of 1 user were removed."]
    assert (Factor.objects.count(), RecoveryCode.objects.count(), TotpSecret.objects.count()) == (0, 0, 0)
    assert api.login().status_code == 200
    (event,) = [event for event in events() if event["type"] == "ninja-auth-kit.factor.reset.v1"]
    assert event["data"]["actor"] == {"type": "admin", "id": str(pages.user.pk)}
    assert event["data"]["target"]["id"] == str(enrolled.user.pk)
    assert event["data"]["client"]["ip"] == "192.0.2.7"
    assert event["data"]["details"] == {"kinds": ["totp", "totp"]}
    assert [(sent.to, "were removed" in sent.subject) for sent in mail.outbox] == [([EMAIL], True)]
    from django.contrib.admin.models import LogEntry  # the admin is installed by the fixture

    entry = LogEntry.objects.get()
    assert (entry.user_id, entry.object_id) == (pages.user.pk, str(enrolled.user.pk))
    assert "Removed all second factors." in entry.get_change_message()


def test_the_action_of_two_users_is_one_event_and_one_email_for_each(
    pages: Pages, api: Api, enrolled: Enrolled, make_user: Callable[..., Any]
) -> None:
    make_user("grace@example.com")
    enrol(api, api.pair("grace@example.com")["access_token"])
    mail.outbox.clear()

    response = pages.act(Factor, "remove_all", *Factor.objects.all())

    assert told(response) == ["All second factors of 2 users were removed."]
    assert sorted(sent.to for sent in mail.outbox) == [[EMAIL], ["grace@example.com"]]
    reset = [event for event in events() if event["type"] == "ninja-auth-kit.factor.reset.v1"]
    assert len(reset) == 2


def test_without_the_permission_to_change_there_is_no_action(
    api: Api, enrolled: Enrolled, make_user: Callable[..., Any]
) -> None:
    browser = viewer(make_user)
    assert b"remove_all" not in browser.list(Factor).content

    browser.act(Factor, "remove_all", Factor.objects.get())

    assert Factor.objects.count() == 1
    assert api.login(password=PASSWORD).status_code == 202
