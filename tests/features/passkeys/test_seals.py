"""A row of a passkey that the kit has not written verifies for no user."""

from typing import Any

import pytest
from pytest_django import Settings

from ninja_auth_kit.contrib.passkeys.seals import is_seal_of, seal

USER, ID, KEY = 7, b"\x00\xffid", b"\xa5key\n"
OTHER_ROOT = "another-root-secret-of-the-tests-with-enough-letters-for-it"


def test_the_seal_of_a_row_is_that_of_its_values() -> None:
    assert is_seal_of(seal(USER, ID, KEY, backup_eligible=True), USER, ID, KEY, backup_eligible=True)


@pytest.mark.security("PASS-12")
@pytest.mark.parametrize(
    "moved",
    [
        (8, ID, KEY, True),
        (USER, b"other", KEY, True),
        (USER, ID, b"other", True),
        (USER, ID, KEY, False),
        (USER, ID + KEY, b"", True),
        (USER, b"", ID + KEY, True),
        (None, ID, KEY, True),
    ],
)
def test_a_row_that_was_moved_or_changed_has_a_broken_seal(moved: tuple[Any, bytes, bytes, bool]) -> None:
    written = seal(USER, ID, KEY, backup_eligible=True)
    user, credential_id, key, eligible = moved

    assert not is_seal_of(written, user, credential_id, key, backup_eligible=eligible)


@pytest.mark.security("PASS-12")
@pytest.mark.parametrize("planted", ["", "v1$00000000$" + "0" * 64, "x" * 77])
def test_a_row_that_was_planted_without_the_key_has_a_broken_seal(planted: str) -> None:
    assert not is_seal_of(planted, USER, ID, KEY, backup_eligible=True)


def test_a_seal_outlives_a_rotation_while_its_root_is_listed(settings: Settings) -> None:
    written, root = seal(USER, ID, KEY, backup_eligible=False), settings.JWT_SECRET_KEY
    settings.JWT_SECRET_KEY = OTHER_ROOT
    assert not is_seal_of(written, USER, ID, KEY, backup_eligible=False)

    listed = [
        {"alg": "HS256", "key": OTHER_ROOT, "state": "active"},
        {"alg": "HS256", "key": root, "state": "verify-only"},
    ]
    settings.NINJA_AUTH_KIT = {**settings.NINJA_AUTH_KIT, "SIGNING_KEYS": listed}

    assert is_seal_of(written, USER, ID, KEY, backup_eligible=False)
    assert seal(USER, ID, KEY, backup_eligible=False) != written
