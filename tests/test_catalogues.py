"""The translation catalogues have every string of the source, translated, and no others.

Strings are found with Python's and Django's parsers. Catalogues are read with polib, which is pure
Python. These tests therefore need no gettext tools, which `make messages` needs.
"""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polib
import pytest
from django.template.backends.django import DjangoTemplates
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import templatize

import ninja_auth_kit

pytestmark = pytest.mark.one_user_model

ROOT = Path(ninja_auth_kit.__file__).parent
LOCALES = ["de", "es", "fr", "zh_Hans"]
HINT = (
    "Run `make messages`, translate what is new or marked as fuzzy in "
    "src/ninja_auth_kit/locale/*/LC_MESSAGES/django.po, and run it again."
)

# The parameters of each function. Each function has lazy variants.
ARGUMENTS = {
    "_": ("msgid",),
    "gettext": ("msgid",),
    "ngettext": ("msgid", "msgid_plural"),
    "pgettext": ("msgctxt", "msgid"),
    "npgettext": ("msgctxt", "msgid", "msgid_plural"),
}
LITERAL = r"""u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
CALL = re.compile(rf"(\w*gettext|_)\(({LITERAL}(?:, {LITERAL})*)")  # as `templatize` writes them

Key = tuple[str | None, str, str]


def key(**words: Any) -> Key:
    return words.get("msgctxt"), words["msgid"], words.get("msgid_plural", "")


def strings_of_python(code: str) -> set[Key]:
    """Return the strings that a module marks for translation."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        name = re.sub("_(lazy|noop)$", "", getattr(node.func, "id", getattr(node.func, "attr", "")))
        if name in ARGUMENTS:
            words = [ast.literal_eval(argument) for argument in node.args[: len(ARGUMENTS[name])]]
            found.add(key(**dict(zip(ARGUMENTS[name], words, strict=True))))
    return found


def strings_of_template(text: str) -> set[Key]:
    """Return the strings that a template marks for translation."""
    calls = "\n".join(f"{name}({words})" for name, words in CALL.findall(templatize(text)))
    return strings_of_python(calls)


def strings_of_source() -> set[Key]:
    found: set[Key] = set()
    for path in ROOT.rglob("*"):
        if path.suffix == ".py":
            found |= strings_of_python(path.read_text(encoding="utf-8"))
        elif "templates" in path.parts and path.is_file():
            found |= strings_of_template(path.read_text(encoding="utf-8"))
    return found


def folder(locale: str) -> Path:
    return ROOT / "locale" / locale / "LC_MESSAGES"


@pytest.fixture(params=LOCALES)
def catalogue(request: pytest.FixtureRequest) -> polib.POFile:
    return polib.pofile(str(folder(request.param) / "django.po"))


def translations(entry: polib.POEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def test_strings_are_found_wherever_they_can_stand() -> None:
    code = "x = _('a' 'b'); y = translation.ngettext_lazy('one', 'many', 3); z = pgettext('may', 'May')"
    template = (
        "{% load i18n %}XX {% translate \"it's\" %}<a title=\"{% trans 'a' as b %}\">{{ b|default:_('c') }}"
        "{% blocktranslate count n=n %}one {{ x }}{% plural %}many{% endblocktranslate %}"
        "{% blocktranslate context 'may' trimmed %}\n  May\n{% endblocktranslate %}"
    )

    assert strings_of_python(code) == {(None, "ab", ""), (None, "one", "many"), ("may", "May", "")}
    assert strings_of_template(template) == {
        (None, "it's", ""),
        (None, "a", ""),
        (None, "c", ""),
        (None, "one %(x)s", "many"),
        ("may", "May", ""),
    }


def test_there_is_a_catalogue_for_each_language_and_no_other() -> None:
    assert sorted(path.name for path in (ROOT / "locale").iterdir()) == LOCALES


def test_a_catalogue_has_the_strings_of_the_source(catalogue: polib.POFile) -> None:
    has, wanted = {key(**vars(entry)) for entry in catalogue}, strings_of_source()

    assert wanted - has == set(), HINT
    assert has - wanted == set(), HINT


def test_every_string_is_translated_and_certain(catalogue: polib.POFile) -> None:
    undone = [entry.msgid for entry in catalogue if entry.fuzzy or entry.obsolete or not all(translations(entry))]

    assert undone == [], HINT
    assert not catalogue.metadata_is_fuzzy, HINT


def test_every_plural_form_of_the_language_is_there(catalogue: polib.POFile) -> None:
    rule = re.match(r"nplurals=(\d); plural=", catalogue.metadata["Plural-Forms"])

    assert rule is not None
    for entry in catalogue:
        if entry.msgid_plural:
            assert list(entry.msgstr_plural) == list(range(int(rule[1]))), (entry.msgid, HINT)


@pytest.mark.parametrize("locale", LOCALES)
def test_what_is_compiled_is_what_is_written(locale: str, tmp_path: Path) -> None:
    polib.pofile(str(folder(locale) / "django.po")).save_as_mofile(str(tmp_path / "django.mo"))

    shipped, written = (polib.mofile(str(path / "django.mo")) for path in (folder(locale), tmp_path))

    assert shipped.metadata["Plural-Forms"] == written.metadata["Plural-Forms"], HINT
    assert {key(**vars(entry)): translations(entry) for entry in shipped} == {
        key(**vars(entry)): translations(entry) for entry in written
    }, HINT


def test_placeholders_survive_the_translation(catalogue: polib.POFile) -> None:
    def placeholders(text: str) -> Counter[str]:
        return Counter(re.findall(r"%(?:\(\w+\))?.|\{.*?\}", text))

    for entry in catalogue:
        for translated in translations(entry):
            assert placeholders(translated) == placeholders(entry.msgid), entry.msgid


@pytest.mark.security("CRED-07")
def test_a_translation_brings_no_markup_no_link_and_no_second_line(catalogue: polib.POFile) -> None:
    # Translations are not escaped in templates, subjects are one line, and links come only from the
    # settings.
    for entry in catalogue:
        for translated in translations(entry):
            assert not re.search(r"[<>&\x00-\x1f]|://|www\.|@", translated), translated


def test_a_translation_ends_as_its_original_does(catalogue: polib.POFile) -> None:
    ends = {"。": ".", "：": ":"}

    for entry in catalogue:
        for translated in translations(entry):
            last = ends.get(translated[-1], translated[-1])
            assert (last in ".:") == (entry.msgid[-1] in ".:"), translated
            assert last not in ".:" or last == entry.msgid[-1], translated


@pytest.mark.parametrize("template", sorted(ROOT.rglob("email/*")), ids=lambda path: path.name)
def test_no_word_of_a_mail_is_left_in_english(template: Path) -> None:
    context = {"site_name": "1", "link": "2", "lifetime": "3", "password_required": True, "left": 4}
    folders = [ROOT / "templates", template.parents[2]]  # those of optional apps are not installed here
    engine = DjangoTemplates({"NAME": "mails", "DIRS": folders, "APP_DIRS": False, "OPTIONS": {}})

    with translation.override("zh-hans"):
        text = engine.get_template(f"ninja_auth_kit/email/{template.name}").render(context)

    assert set(latin_words(text)) <= {"API"}


@pytest.mark.parametrize("page", ["verify_email", "reset_password", "change_email"])
def test_no_word_of_a_page_is_left_in_english(page: str) -> None:
    with translation.override("zh-hans"):
        text = render_to_string(f"ninja_auth_kit/pages/{page}.html", {"password_required": True})

    assert latin_words(text) == ["JavaScript"]


def latin_words(text: str) -> list[str]:
    """Return the Latin words that are visible, without tags, styles and scripts."""
    shown = re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    return re.findall(r"[A-Za-z]{2,}", shown)
