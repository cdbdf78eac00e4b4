"""The check of the wording, which is part of the lint step."""

import pytest

from docs.prose import check

pytestmark = [pytest.mark.one_django, pytest.mark.one_user_model]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.md", "Whoever asks.\nFine.\n\n```\nnobody\n```\nThat is none.\n", [1, 7]),
        ("a.md", "`nobody@example.com` and nobody@example.com and `told`", []),
        ("a.py", '"""Tell whether\nit is good for a day."""\nx = "nobody"  # it was mended\n', [3, 1, 2]),
        ("a.py", 'y = _("Enter an e-mail address.")\nz = f("told")\n', [1]),
        ("a.po", 'msgid ""\n"It stands for all"\nmsgstr "told"\n', [2]),
        ("a.html", "<p>Your e-mail</p>", [1]),
    ],
)
def test_a_word_of_the_list_is_found_where_people_read_and_nowhere_else(
    name: str, text: str, lines: list[int]
) -> None:
    assert [int(line.split(":")[1]) for line in check(name, text)] == lines
