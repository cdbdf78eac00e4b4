"""The checks of Django's own settings for passwords."""

from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import hashers
from django.core.checks import CheckMessage, Tags, register

from ninja_auth_kit.checks.messages import warning

# ASVS 5.0 11.4.2 and appendix C: the least that counts as approved.
_PBKDF2_ITERATIONS = {"sha512": 210_000, "sha256": 600_000, "sha1": 1_300_000}
_ARGON2_MEMORY = {1: 47_104, 2: 19_456, 3: 12_288}  # KiB for this many passes
_SCRYPT_WORK = {1: 2**17, 2: 2**16, 3: 2**15}  # N for this much parallelism
_BCRYPT_ROUNDS = 10
_CHEAP = {"md5", "sha1", "unsalted_md5", "unsalted_sha1", "crypt"}


@register(Tags.security, deploy=True)
def check_validators(**_: Any) -> list[CheckMessage]:
    """W015: the kit's own rules hold for the kit's own doors alone."""
    if django_settings.AUTH_PASSWORD_VALIDATORS:
        return []
    hint = (
        "Name them, such as [{'NAME': 'django.contrib.auth.password_validation.MinimumLengthValidator', 'OPTIONS': "
        "{'min_length': 15}}, {'NAME': 'django.contrib.auth.password_validation.CommonPasswordValidator'}]. Without "
        "any, the kit asks for 15 characters that are neither common nor like the name or the address, but the admin, "
        "`createsuperuser` and your own forms take every password."
    )
    return [warning("W015", "AUTH_PASSWORD_VALIDATORS is empty.", hint)]


@register(Tags.security, deploy=True)
def check_hasher(**_: Any) -> list[CheckMessage]:
    """W016: who reads the database can guess passwords as fast as they can be hashed (ASVS 11.4.2)."""
    try:
        first = next(iter(hashers.get_hashers()), None)
    except Exception as failure:  # Django reads the setting at the first login, and a hasher of the host is any code
        hint = "Correct the paths in PASSWORD_HASHERS, or leave it out for Django's default."
        return [warning("W016", f"No password can be hashed: {type(failure).__name__}: {failure}", hint)]
    if first is not None and _is_costly(first):
        return []
    hint = (
        "Leave PASSWORD_HASHERS out for Django's default, or put "
        "'django.contrib.auth.hashers.Argon2PasswordHasher' first (pip install argon2-cffi) and keep the present ones "
        "below it: a hash is renewed when its user logs in. One with parameters of its own needs those of ASVS 5.0, "
        "appendix C: PBKDF2-SHA256 600000 iterations, argon2id 19 MiB and 2 passes, scrypt N 2^17, bcrypt 10 rounds."
    )
    name = "nothing" if first is None else type(first).__name__
    return [warning("W016", f"New passwords get a hash that is cheap to guess: {name} is first.", hint)]


def _is_costly(hasher: Any) -> bool:
    """Tell whether a hasher of Django, or one derived from it, asks for enough work; another is its host's affair."""
    if isinstance(hasher, hashers.PBKDF2PasswordHasher):
        return bool(hasher.iterations >= _PBKDF2_ITERATIONS.get(hasher.digest().name, float("inf")))
    if isinstance(hasher, hashers.Argon2PasswordHasher):
        return bool(hasher.memory_cost >= _ARGON2_MEMORY[max(1, min(hasher.time_cost, 3))])
    if isinstance(hasher, hashers.ScryptPasswordHasher):
        needed = _SCRYPT_WORK[max(1, min(hasher.parallelism, 3))]
        return bool(hasher.work_factor >= needed and hasher.block_size >= 8)
    if isinstance(hasher, hashers.BCryptSHA256PasswordHasher):
        return bool(hasher.rounds >= _BCRYPT_ROUNDS)
    return hasher.algorithm not in _CHEAP
