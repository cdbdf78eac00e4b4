"""Secrets that can be guessed are refused at start, and random ones never are."""

import base64
import random
import string
import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from ninja_auth_kit.tokens import KEY_COMMAND, check_keys, key_strength
from ninja_auth_kit.tokens.key_strength import MINIMUM_BITS, estimate

pytestmark = [pytest.mark.one_django, pytest.mark.one_user_model]

WORDS, REPETITION = "is made of words", "repeats a part of itself"
SEQUENCE, FEW = "follows a sequence", "has too few different characters"
GUESSABLE = {
    # words of placeholders
    "dev-jwt-secret-change-in-production": WORDS,
    "replace-with-an-independent-long-random-value": WORDS,
    "development-only-jwt-signing-key-change-me": WORDS,
    "<put at least 32 random characters here>": WORDS,
    "${JWT_SECRET_KEY:-set_me_before_you_deploy_this}": WORDS,
    "thisisthesecretkeyofourlittlebackend": WORDS,
    "OurSuperSecretSigningKeyForTheShop2025": WORDS,
    "Ch4ng3-Th1s-S3cr3t-B3f0r3-Pr0duct10n!": WORDS,
    "bitte-diesen-geheimen-schluessel-aendern": WORDS,
    "cambia-esta-clave-secreta-en-produccion": WORDS,
    "my_jwt_secret_for_the_acme_shop_backend_2026_please_rotate": WORDS,
    "jwt.signing.key.for.local.development.x7Kq2m": WORDS,
    # sentences, passwords and short phrases
    "It was the best of times, it was the worst of times.": WORDS,
    "correct-horse-battery-staple-lantern": WORDS,
    "sunshinefootballprincessdragonmonkey": WORDS,
    # the same, in an encoding
    base64.b64encode(b"replace this secret with your own").decode(): WORDS,
    b"your-very-secret-key-goes-here".hex(): WORDS,
    # one part, more than once
    "your-256-bit-secret-your-256-bit-secret": REPETITION,
    "x7Kq2mP9bT" * 4: REPETITION,
    "Vx93-kQpLm0z" * 3 + "Vx93": REPETITION,
    "uT5#pQ9z!" + "rW2k" * 8: REPETITION,
    # the alphabet, counters and keyboards
    "0123456789abcdef0123456789abcdef": REPETITION,
    "fedcba98765432100123456789abcdef": SEQUENCE,
    "zyxwvutsrqponmlkjihgfedcba9876543210": SEQUENCE,
    "00112233445566778899aabbccddeeff": SEQUENCE,
    "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6": SEQUENCE,
    "100101102103104105106107108109110111112113": SEQUENCE,
    "AbCdEfGhIjKlMnOpQrStUvWxYz1234567890": SEQUENCE,
    "qwertyuiopasdfghjklzxcvbnm1234567890": SEQUENCE,
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p": SEQUENCE,
    "aaaabbbbccccddddeeeeffffgggghhhhiiiijjjj": SEQUENCE,
    "314159265358979323846264338327950288": SEQUENCE,
    base64.b64encode(bytes(range(32))).decode(): SEQUENCE,
    bytes(range(200, 168, -1)).hex(): SEQUENCE,
    # digits of dates and telephone numbers
    "2026-01-17 2024-06-30 2025-11-08": FEW,
}


@pytest.mark.security("CFG-01")
@pytest.mark.parametrize("key", GUESSABLE)
def test_a_key_that_can_be_guessed_is_refused_for_its_reason_and_not_shown(settings: Settings, key: str) -> None:
    settings.JWT_SECRET_KEY = key

    with pytest.raises(ImproperlyConfigured) as caught:
        check_keys()

    text = str(caught.value)
    assert text.startswith("ninja_auth_kit refuses to start: JWT_SECRET_KEY ")
    assert GUESSABLE[key] in text
    assert KEY_COMMAND in text
    assert key not in text


@pytest.mark.parametrize(
    "key",
    [
        "unwatched outpour cherub stammer blissful gestate grumble mutate",
        "Zipper_Sherbet_Tundra_Walnut_Quartz_Pelican_Gravity_Velvet",
        "Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0A-production-2026",
        "jwt-secret-Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0A",
        "Ж7я" + "Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0A",
    ],
)
def test_random_words_and_a_random_key_with_a_label_are_strong(settings: Settings, key: str) -> None:
    settings.JWT_SECRET_KEY = key

    check_keys()


def urlsafe(source: random.Random, size: int) -> str:
    return base64.urlsafe_b64encode(source.randbytes(size)).decode().rstrip("=")


def chosen(letters: str, count: int) -> Callable[[random.Random], str]:
    return lambda source: "".join(source.choices(letters, k=count))


FORMATS: dict[str, Callable[[random.Random], str]] = {
    "token_urlsafe": lambda source: urlsafe(source, source.randint(32, 64)),
    "token_hex(32)": lambda source: source.randbytes(32).hex(),
    "openssl rand -base64 32": lambda source: base64.b64encode(source.randbytes(32)).decode(),
    "openssl rand -base64 48": lambda source: base64.b64encode(source.randbytes(48)).decode(),
    "get_random_secret_key()": chosen("abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)", 50),
    "two UUIDs": lambda source: "".join(str(uuid.UUID(bytes=source.randbytes(16), version=4)) for _ in range(2)),
    "64 letters and digits": chosen(string.ascii_letters + string.digits, 64),
    # No format that this project recommends, but common; the margin is smaller.
    "one UUID": lambda source: str(uuid.UUID(bytes=source.randbytes(16), version=4)),
    "32 letters and digits": chosen(string.ascii_letters + string.digits, 32),
    "32 lowercase letters and digits": chosen(string.ascii_lowercase + string.digits, 32),
}


def test_no_key_of_common_passwords_gets_through_because_their_list_is_not_read_for_every_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = random.Random(7)
    listed = sorted(filter(str.isalpha, CommonPasswordValidator().passwords))
    keys = ["".join(source.choices(listed, k=source.randint(1, 8))) + urlsafe(source, length) for length in range(40)]

    refused = [key for key in keys if estimate(key).bits < MINIMUM_BITS]
    monkeypatch.setattr(key_strength, "_may_be_weak_by_a_listed_password", lambda *_: True)

    assert refused == [key for key in keys if estimate(key).bits < MINIMUM_BITS]
    assert 0 < len(refused) < len(keys)


@pytest.mark.parametrize("name", FORMATS)
def test_no_random_key_in_a_usual_format_is_refused(name: str) -> None:
    source = random.Random(name)

    refused = [key for key in (FORMATS[name](source) for _ in range(10_000)) if estimate(key).bits < MINIMUM_BITS]

    assert refused == []
