"""Texts for people are translated into their language; texts for programs are not translated."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.utils import translation
from pytest_django import Settings

from ninja_auth_kit import emails, exceptions
from ninja_auth_kit.api import errors
from tests.conftest import EMAIL, PASSWORD, Api

pytestmark = pytest.mark.django_db(transaction=True)

LANGUAGES = ["de", "es", "fr", "zh-hans"]

REFUSED = {
    "en": "The account or the password is not correct. Check both and try again.",
    "de": "Das Konto oder das Passwort ist nicht richtig. Prüfen Sie beides und versuchen Sie es erneut.",
    "es": "La cuenta o la contraseña no es correcta. Compruebe ambas e inténtelo de nuevo.",
    "fr": "Le compte ou le mot de passe est incorrect. Vérifiez les deux et réessayez.",
    "zh-hans": "账户或密码不正确。请检查两者后重试。",
}
REQUIRED = {
    "de": "Dieses Feld ist zwingend erforderlich.",
    "es": "Este campo es obligatorio.",
    "fr": "Ce champ est obligatoire.",
    "zh-hans": "这个字段是必填项。",
}
REGISTERED = {
    "de": "Wir haben Ihnen eine E-Mail gesendet. Öffnen Sie den Link darin, um Ihre E-Mail-Adresse zu bestätigen.",
    "es": (
        "Le hemos enviado un correo electrónico. Abra el enlace que contiene para verificar su dirección de correo "
        "electrónico."
    ),
    "fr": "Nous vous avons envoyé un e-mail. Ouvrez le lien qu’il contient pour vérifier votre adresse e-mail.",
    "zh-hans": "我们已向您发送了一封邮件。请打开其中的链接以验证您的电子邮件地址。",
}
SUBJECT = {
    "de": "Bestätigen Sie Ihre E-Mail-Adresse für example.com",
    "es": "Verifique su dirección de correo electrónico para example.com",
    "fr": "Vérifiez votre adresse e-mail pour example.com",
    "zh-hans": "请验证您在 example.com 的电子邮件地址",
}
LIFETIME = {
    "de": "Der Link ist 1\xa0Tag lang gültig und kann nur einmal verwendet werden.",
    "es": "El enlace es válido durante 1\xa0día y solo se puede usar una vez.",
    "fr": "Le lien est valable pendant 1\xa0jour et ne peut être utilisé qu’une seule fois.",
    "zh-hans": "链接在 1\xa0日 内有效，且只能使用一次。",
}
HEADING = {
    "de": "<h1>Neues Passwort setzen</h1>",
    "es": "<h1>Establecer una nueva contraseña</h1>",
    "fr": "<h1>Définir un nouveau mot de passe</h1>",
    "zh-hans": "<h1>设置新密码</h1>",
}
UNANSWERED = {
    "de": "Der Server hat nicht geantwortet. Versuchen Sie es erneut.",
    "es": "El servidor no respondió. Inténtelo de nuevo.",
    "fr": "Le serveur n’a pas répondu. Réessayez.",
    "zh-hans": "服务器没有响应。请重试。",
}


@pytest.fixture(autouse=True)
def deactivate_language() -> Iterator[None]:
    """Deactivate the language that the middleware has activated in this thread."""
    yield
    translation.deactivate()


@pytest.fixture
def client_for(settings: Settings) -> Callable[[str], Api]:
    """Return a function that creates clients with a language, and enable LocaleMiddleware."""
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware"]
    return lambda language: Api(HTTP_ACCEPT_LANGUAGE=language)


@pytest.fixture
def threaded_emails(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the emails that threads send.

    As outside of a test run, there is no `mail.outbox`.
    """
    sent: list[Any] = []
    monkeypatch.delattr(mail, "outbox")
    monkeypatch.setattr(mail.EmailMultiAlternatives, "send", lambda message: sent.append(message))
    return sent


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_error_has_its_detail_in_the_language_of_the_request(
    client_for: Callable[[str], Api], language: str
) -> None:
    response = client_for(language).login()

    assert response.json()["detail"] == REFUSED[language]
    assert response["Content-Language"] == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_wrong_with_a_field_is_told_in_the_language_of_the_request(
    client_for: Callable[[str], Api], language: str
) -> None:
    (missing,) = client_for(language).post("login", {"email": EMAIL}).json()["errors"]

    assert missing == {"field": "password", "code": "required", "message": REQUIRED[language]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_codes_and_the_shape_of_answers_are_the_same_in_every_language(
    client_for: Callable[[str], Api], user: Any, language: str
) -> None:
    def answers(spoken: str) -> tuple[list[Any], list[str]]:
        api = client_for(spoken)
        responses = [
            api.login(password="wrong wrong wrong"),
            api.get("me"),
            api.get("nothing"),
            api.post("login", b"{"),
            api.post("login", {}),
            api.post("login", {"email": EMAIL, "password": "\x00", "x": 1}),
            api.register("nonsense"),
            api.register("new@example.com", "é" * 1000),
            api.post("verify-email", {"token": "x"}),
            api.post("verify-email", {"token": "x", "password": PASSWORD}),
            api.post("refresh", {"refresh_token": "x"}),
        ]
        bodies = [response.json() for response in responses]
        texts = [body.pop("detail") for body in bodies]
        texts += [error.pop("message") for body in bodies for error in body.get("errors", ())]
        return [(response.status_code, body) for response, body in zip(responses, bodies, strict=True)], texts

    (english, said), (translated, told) = answers("en"), answers(language)

    assert translated == english
    assert len(said) == len(told) > len(english)
    assert [text for text in told if text in said] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_registration_is_answered_and_its_mail_written_in_the_language_of_the_request(
    client_for: Callable[[str], Api], language: str
) -> None:
    response = client_for(language).register()

    assert response.json()["detail"] == REGISTERED[language]
    (message,) = mail.outbox
    ((page, _),) = message.alternatives
    assert message.subject == SUBJECT[language]
    assert LIFETIME[language] in message.body
    assert LIFETIME[language] in page
    assert f'<html lang="{language}" dir="ltr">' in page
    assert f"<title>{SUBJECT[language]}</title>" in page


def test_a_mail_that_another_thread_writes_is_in_the_language_of_its_request(
    client_for: Callable[[str], Api], threaded_emails: list[Any]
) -> None:
    for language in ("de", "fr"):
        client_for(language).register(f"{language}@example.com")
    translation.activate("es")

    assert emails.flush()

    assert {message.to[0]: message.subject for message in threaded_emails} == {
        "de@example.com": SUBJECT["de"],
        "fr@example.com": SUBJECT["fr"],
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_is_in_the_language_of_the_request_and_says_so(client_for: Callable[[str], Api], language: str) -> None:
    page = client_for(language).get("password/reset").content.decode()

    assert f'<html lang="{language}" dir="ltr">' in page
    assert HEADING[language] in page
    assert f'answer.textContent = "{UNANSWERED[language]}"' in page


def test_a_page_in_a_language_from_right_to_left_says_so(client_for: Callable[[str], Api]) -> None:
    assert '<html lang="ar" dir="rtl">' in client_for("ar").get("verify-email").content.decode()


def test_a_mail_that_is_written_in_no_language_says_english() -> None:
    with translation.override(None):
        message = emails.render("account_exists", to=EMAIL, context=emails.site_context())

    ((page, _),) = message.alternatives
    assert '<html lang="en" dir="ltr">' in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_the_middleware_the_language_of_the_site_counts(settings: Settings, language: str) -> None:
    settings.LANGUAGE_CODE = language
    api = Api(HTTP_ACCEPT_LANGUAGE="en")

    assert api.login().json()["detail"] == REFUSED[language]
    assert api.register().json()["detail"] == REGISTERED[language]
    assert mail.outbox[0].subject == SUBJECT[language]
    assert HEADING[language] in api.get("password/reset").content.decode()


@pytest.mark.parametrize(
    ("wanted", "spoken"),
    [
        ("de-AT", "de"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("es-MX", "es"),
        ("es-419", "es"),
        ("fr-CA", "fr"),
        ("fr-BE, nl;q=0.5", "fr"),
        ("zh", "zh-hans"),
        ("zh-CN", "zh-hans"),
        ("zh-SG", "zh-hans"),
        ("zh-Hans-CN", "zh-hans"),
        ("tlh, de;q=0.3", "de"),
    ],
)
def test_a_variant_of_a_language_is_answered_in_that_language(
    client_for: Callable[[str], Api], wanted: str, spoken: str
) -> None:
    assert client_for(wanted).login().json()["detail"] == REFUSED[spoken]


@pytest.mark.parametrize("wanted", ["", "*", "tlh", "it", "zh-TW", "en-GB", "../de", "de\x00", "x" * 5000, "é;q=ü"])
def test_a_language_that_the_kit_does_not_speak_is_answered_in_english(
    client_for: Callable[[str], Api], wanted: str
) -> None:
    assert client_for(wanted).login().json()["detail"] == REFUSED["en"]


@pytest.mark.security("CRED-01", "CRED-05", "CRED-07")
@pytest.mark.parametrize("language", LANGUAGES)
def test_in_no_language_an_answer_tells_who_has_an_account(
    client_for: Callable[[str], Api], make_user: Callable[..., Any], language: str
) -> None:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)
    api = client_for(language)

    def ask(path: str, email: str) -> tuple[Any, ...]:
        body = {"email": email, **({"password": "wrong wrong wrong"} if path == "login" else {})}
        response = api.register(email, username=f"other_{email[:4]}") if path == "register" else api.post(path, body)
        return response.status_code, response.content, sorted(response.headers.items())

    for path in ("login", "password/reset", "verify-email/resend", "register"):
        names = ("verified", "pending", "disabled", "nobody")
        answers = [ask(path, f"{name}@example.com") for name in names]
        assert answers[1:] == answers[:-1], path


def test_every_error_has_a_message_in_chinese() -> None:
    kinds = [kind for module in (exceptions, errors) for kind in vars(module).values()]
    codes = {kind.code for kind in kinds if isinstance(kind, type) and issubclass(kind, exceptions.AuthKitError)}
    messages = {
        kind: str(kind.message)
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, exceptions.AuthKitError)
    }

    with translation.override("zh-hans"):
        assert [kind for kind, english in messages.items() if str(kind.message) == english] == []
    assert all(code.isascii() and code.islower() for code in codes)


def test_openapi_is_english_in_whatever_language_it_is_built_and_asked_for(
    host_api: Callable[..., Api], client_for: Callable[[str], Api], settings: Settings
) -> None:
    english = host_api().get("/api/auth/openapi.json").json()
    settings.LANGUAGE_CODE = "de"

    german = host_api().get("/api/auth/openapi.json", HTTP_ACCEPT_LANGUAGE="de").json()

    assert german == english
    assert "The session has ended." in str(german)


def test_an_error_that_was_described_in_english_is_answered_in_the_language_of_the_request(
    host_api: Callable[..., Api], client_for: Callable[[str], Api]
) -> None:
    api = host_api()

    for language in ("de", "en", "fr"):
        assert api.login(HTTP_ACCEPT_LANGUAGE=language).json()["detail"] == REFUSED[language]


def test_names_of_models_and_fields_are_translated_and_no_migration_is_due_for_that(settings: Settings) -> None:
    models = importlib.import_module("ninja_auth_kit.models")
    sessions = importlib.import_module("ninja_auth_kit.models.sessions")
    settings.LANGUAGE_CODE = "de"

    assert str(models.UserSession._meta.verbose_name_plural) == "Sitzungen"
    assert str(models.UserSession._meta.get_field("ip_address").verbose_name) == "IP-Adresse"
    assert sessions.EndReason.EXPIRED.label == "abgelaufen"
    assert str(models.BlacklistedToken(pk=7)) == "gesperrtes Token 7"
    call_command("makemigrations", "ninja_auth_kit", check_changes=True, dry_run=True, verbosity=0)
