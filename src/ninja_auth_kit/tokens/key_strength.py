"""How hard a secret is to guess: an estimate of its bits, and what makes it weak.

A length alone says nothing: `dev-jwt-secret-change-in-production` has 35 bytes. So the estimate is the length of the
shortest description of the key in parts that guessing programs try first: common words, repetitions, sequences, and
single random characters (the method of zxcvbn, Wheeler, USENIX Security 2016). Random keys have no such parts, so the
description of one is about as long as the key.

RFC 8725 section 3.5 forbids memorable passwords as keys. A phrase of at least seven random words is as strong as any
other random key, and is accepted. A phrase with three of the words that placeholders and sentences consist of is not
random, so its words do not count.
"""

import binascii
import re
from base64 import b64decode
from collections import defaultdict
from collections.abc import Container, Iterator
from functools import cache
from itertools import pairwise
from math import log2
from string import ascii_lowercase, ascii_uppercase, digits
from typing import NamedTuple

from django.contrib.auth.password_validation import CommonPasswordValidator

# Well below the 122 bits of a random UUID, which is acceptable, and more than can be tried.
MINIMUM_BITS = 90

_MAXIMUM_LENGTH = 256  # of what is examined: the rest can only add to it
_WORD_BITS, _COMMON_WORD_BITS, _LISTED_PASSWORD_BITS = 11, 6, 13
_RUN_BITS, _SHORTEST_RUN, _LONGEST_STEP = 10, 4, 4
_SAME_SEPARATOR_BITS = 2
_COMMON_WORDS_OF_A_SENTENCE = 3
_SHORTEST_WORD, _LONGEST_WORD = 3, 14

WORDS, REPETITION, SEQUENCE, CHARACTERS = "words", "repetition", "sequence", "characters"

# Words of placeholders, and those that sentences are made of.
_COMMON_WORDS = frozenset(
    """
    about above access account add admin aendern after again algorithm all amet an and any api app application are
    as at auth authentication backend bar base baz be because before below best bit bits bitte but by bytes cambia
    cambiame cambiami cambiar can change changed changeit changeme changer changethis changez changing char
    character characters chars chave chiave choose ci clave cle clé code company config configuration contrasena
    contraseña create current custom db debug default demo deploy deploying deployment dev develop developer
    development different django docker docs does dolor dont dummy each enough ensure enter env environment esta
    every everywhere example fake fallback favor fill first fixme flask foo for from geheim geheimnis generate
    generated generic get github go goes good hardcoded has hash have hello here hex hidden hmac hs256 hs384 hs512
    https ici if in independent initial insecure insert int into ipsum is it its just jwt keep key keys know known
    least leave length less letters like live local localhost long longer lorem main make master may me mine minimum
    mode more mot motdepasse mudar must my mysecret name never new ninja no nobody node none not nothing now number
    of off on one only openssl or other our out outside over own parola pass passe passphrase password passwort
    phrase please por pour private prod producao produccion producción production produktion produzione produção
    program project provide public put python rand random randomly read real really refresh refreshtoken replace
    replaced replaceme replacethis required reset root safe sample save schluessel schlüssel sec secret secreta
    secrete secretkey secreto secrets secrète secure security seed segredo segreta segreto senha server session set
    setting settings share shared should sign signature signed signing simple sit site so some somebody someone
    something spring staging startup store string strings strong stuff sua super supersecret supersecure sure
    symmetric system tbd temp temporary test testing tests text than that the their them these they thing this time
    tmp to todo token tokens top topsecret trocar troque true tua unique unsafe until up update use used user using
    value values variable version very votre was we web website were what when which will with word words work world
    xxx yes you your yours ändern
    """.split()  # noqa: SIM905
)
_LENGTHS_OF_WORDS: dict[str, set[int]] = defaultdict(set)  # by the first two letters
for _word in _COMMON_WORDS:
    _LENGTHS_OF_WORDS[_word[:2]].add(len(_word))
_LEET = str.maketrans("013457@$!", "oieastasi")

# What people type when a key has to be long. A circle goes on with its first character.
_CIRCLES = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "0123456789abcdef")
_ROWS = (
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "!@#$%^&*()_+",
    '!"§$%&/()=?',
)
_CONSTANTS = (
    "3141592653589793238462643383279502884197169399375105",
    "2718281828459045235360287471352662497757247093699959",
)
_ANY = frozenset("".join((*_CIRCLES, *_ROWS)))
_FORWARD = (
    {pair for line in (*_CIRCLES, *_ROWS) for pair in pairwise(line)}
    | {(line[-1], line[0]) for line in _CIRCLES}
    | {(one, one) for one in _ANY}
)
_BACKWARD = {(after, before) for before, after in _FORWARD}

_LETTERS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LONG_ROW = re.compile(r"[a-z]{15,}")
# The pairs of letters that English words mostly consist of: "ab", "ac" and so on. They are less than a third of all.
_PAIRS = frozenset(
    first + second
    for first, _, seconds in (
        group.partition(":")
        for group in """
        a:bcdgiklmnprstuvy b:aeilou c:aehiklortu d:aeilorsu e:acdefglmnprstvwx f:aefilo g:ehinrsu h:aeio
        i:abcdefglmnoprstv k:eis l:adeilostuy m:aeiops n:acdefginostv o:cdgklmnoprstuvw p:aeiloprstu q:u
        r:adegikmnorstuvy s:acehiopstu t:acehilorstuy u:abceilmnprst v:aei w:aehio x:p y:p
        """.split()  # noqa: SIM905
    )
    for second in seconds
)
_A_TO_F = "abcdef"
_SEPARATORS = re.compile(r"[-_ .:]")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")


class Estimate(NamedTuple):
    """About how many bits a key has, and what most of it consists of: one of the constants above."""

    bits: float
    kind: str


class _Part(NamedTuple):
    """A part of a key that guessing programs try: where it is, its bits, and its kind."""

    start: int
    end: int
    bits: float
    kind: str


def estimate(key: str) -> Estimate:
    """Return the lowest estimate of a key, of it without separators, and of what it encodes as text."""
    if _is_repeated(key):
        return Estimate(0, REPETITION)
    decoded = _decode(key)
    if len({(b - a) % 256 for a, b in pairwise(decoded)}) in (1, 2):
        return Estimate(0, SEQUENCE)
    texts = {key, _SEPARATORS.sub("", key)}
    if decoded and all(0x20 <= byte < 0x7F for byte in decoded):
        texts.add(decoded.decode())
    return min(_estimate_text(text[:_MAXIMUM_LENGTH]) for text in texts)


def _is_repeated(key: str) -> bool:
    """Return whether a key consists of one part that is repeated, the last time possibly without its end."""
    return any(key[step:] == key[:-step] for step in range(1, (len(key) + 1) // 2 + 1))


def _decode(key: str) -> bytes:
    """Return the bytes that a key encodes in hexadecimal or base64, or none."""
    try:
        return bytes.fromhex(key)
    except ValueError:
        pass
    if not _BASE64.fullmatch(key):
        return b""
    standard = key.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(standard + "=" * (-len(standard) % 4))
    except binascii.Error:
        return b""


def _estimate_text(text: str) -> Estimate:
    """Return the bits of the shortest description, by dynamic programming over where its parts begin."""
    parts = _parts(text)
    if _may_be_weak_by_a_listed_password(text, parts):
        for part in _listed_passwords(_lower(text)):
            parts[part.start].append(part)
    bits, last = _shortest(parts)
    covered = dict.fromkeys((WORDS, REPETITION, SEQUENCE, CHARACTERS), 0)
    of_words, common, chosen = 0.0, 0, last[-1]
    while chosen is not None:
        covered[chosen.kind] += chosen.end - chosen.start
        if chosen.kind == WORDS:
            of_words += chosen.bits
            common += chosen.bits == _COMMON_WORD_BITS and chosen.end - chosen.start > 2
        chosen = last[chosen.start]
    is_sentence = common >= _COMMON_WORDS_OF_A_SENTENCE and covered[WORDS] * 2 > len(text)
    return Estimate(bits[-1] - of_words * is_sentence, max(covered, key=covered.__getitem__))


def _shortest(parts: list[list[_Part]]) -> tuple[list[float], list[_Part | None]]:
    """Return the fewest bits that describe a text up to each position, and the part that ends there."""
    bits = [0.0] + [float("inf")] * len(parts)
    last: list[_Part | None] = [None] * (len(parts) + 1)
    for start, here in enumerate(parts):
        for part in here:
            if bits[start] + part.bits < bits[part.end]:
                bits[part.end], last[part.end] = bits[start] + part.bits, part
    return bits, last


def _may_be_weak_by_a_listed_password(text: str, parts: list[list[_Part]]) -> bool:
    """Return whether a text could be weak because of what is in a list of common passwords.

    It is not, if it is strong even when words and all letters of long rows count nothing. That is so for nearly all
    random keys, and reading the list is a noticeable part of the start of a process, and of its memory.
    """
    rows = list(_LONG_ROW.finditer(_lower(text)))
    if not rows:
        return False
    lowest = [[part._replace(bits=0) if part.kind == WORDS else part for part in here] for here in parts]
    for row in rows:
        for index in range(row.start(), row.end()):
            lowest[index].append(_Part(index, index + 1, 0, WORDS))
    bits, _ = _shortest(lowest)
    return bits[-1] < MINIMUM_BITS


def _lower(text: str) -> str:
    lower = text.lower()
    return lower if len(lower) == len(text) else text  # some capitals become two letters


def _parts(text: str) -> list[list[_Part]]:
    """Return the parts that begin at each position, without those of `_listed_passwords`."""
    found: list[list[_Part]] = [[part] for part in _characters(text)]
    for parts in (_common_words, _repetitions, _sequences, _constants):
        for part in parts(_lower(text)):
            found[part.start].append(part)
    for match in _LETTERS.finditer(text):
        if _looks_like_a_word(match[0].lower()):
            found[match.start()].append(_Part(match.start(), match.end(), _WORD_BITS, WORDS))
    return found


def _characters(text: str) -> Iterator[_Part]:
    """Yield each character alone. A separator that was there before is expected."""
    each = log2(_alphabet(text))
    separators: set[str] = set()
    for index, letter in enumerate(text):
        yield _Part(index, index + 1, _SAME_SEPARATOR_BITS if letter in separators else each, CHARACTERS)
        if not letter.isalnum():
            separators.add(letter)


def _alphabet(text: str) -> int:
    """Return about how many characters the ones of a text were chosen from; at least 2."""
    used, size = set(text), 0
    for some, all_of_them in ((_A_TO_F, ascii_lowercase), (_A_TO_F.upper(), ascii_uppercase), (digits, digits)):
        group = used.intersection(all_of_them)
        size += 0 if not group else len(some) if group.issubset(some) else len(all_of_them)
        used -= group
    return max(2, size + len(used))


def _common_words(text: str) -> Iterator[_Part]:
    """Yield common words anywhere, even if some of their letters are written as digits."""
    for spelling in {text, text.translate(_LEET)}:
        for start in range(len(text) - 1):
            for length in _LENGTHS_OF_WORDS.get(spelling[start : start + 2], ()):
                if spelling[start : start + length] in _COMMON_WORDS:
                    yield _Part(start, min(start + length, len(text)), _COMMON_WORD_BITS, WORDS)


def _looks_like_a_word(letters: str) -> bool:
    if not _SHORTEST_WORD <= len(letters) <= _LONGEST_WORD:
        return False
    return sum(a + b not in _PAIRS for a, b in pairwise(letters)) <= (len(letters) - 1) // 4


def _listed_passwords(text: str) -> Iterator[_Part]:
    """Yield the common passwords in a long row of letters."""
    for row in _LONG_ROW.finditer(text):
        for start in range(row.start(), row.end()):
            for end in range(start + 4, min(start + _LONGEST_WORD, row.end()) + 1):
                if text[start:end] in _password_list():
                    yield _Part(start, end, _LISTED_PASSWORD_BITS, WORDS)


@cache
def _password_list() -> Container[str]:
    return CommonPasswordValidator().passwords


def _repetitions(text: str) -> Iterator[_Part]:
    """Yield what has been there before."""
    seen: dict[str, list[int]] = {}
    for start in range(len(text) - _SHORTEST_RUN + 1):
        before = seen.setdefault(text[start : start + _SHORTEST_RUN], [])
        for former in before:
            end = start
            while end < len(text) and text[end] == text[end - start + former]:
                end += 1
            yield _Part(start, end, _RUN_BITS, REPETITION)
        before.append(start)


def _sequences(text: str) -> Iterator[_Part]:
    """Yield what goes on in one direction, such as "abcd", "a1b2c3" and "000102"."""
    for step in range(1, _LONGEST_STEP + 1):
        for neighbours in (_FORWARD, _BACKWARD):
            goes_on = [pair in neighbours for pair in zip(text, text[step:], strict=False)]
            end = len(text)
            for index in reversed(range(len(goes_on))):
                if not goes_on[index]:
                    end = index + step
                elif end - index - step >= _SHORTEST_RUN:
                    yield _Part(index + step, end, _RUN_BITS, SEQUENCE)


def _constants(text: str) -> Iterator[_Part]:
    for match in re.finditer(r"\d{12,}", text):
        if any(match[0][:12] in decimals for decimals in _CONSTANTS):
            yield _Part(match.start(), match.end(), _COMMON_WORD_BITS, SEQUENCE)
