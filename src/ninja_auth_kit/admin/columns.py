"""Columns of the lists. Long values wrap, so that a list fits a screen of 1280 pixels without scrolling sideways.

Django shows a time, a foreign key and a word on one line, whatever its length.
"""

import re
from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.contrib import admin
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator
from django.utils.timezone import is_aware, localtime

Column = Callable[[Any], Any]

# A word that is longer than this may wrap: after punctuation, or else after this many characters.
_PIECE = 12
_PIECES = re.compile(rf"[^\s@.:;/_-]{{1,{_PIECE}}}[@.:;/_-]?|[@.:;/_-]|\s+")


def text_column(name: str, description: Any, *, limit: int | None = None) -> Column:
    """Return a column of texts that wrap. A text beyond `limit` characters is cut, and its tooltip is the whole.

    `name` may be a path to a row that the list has joined, such as "factor.name".
    """
    return _column(name, description, lambda value: wrapping(str(value), limit=limit))


def time_column(name: str, description: Any) -> Column:
    """Return a column of times, in the short format of the language."""
    return _column(name, description, short_time)


def _column(name: str, description: Any, show: Callable[[Any], Any]) -> Column:
    @admin.display(description=description)
    def column(row: Any) -> Any:
        value = attrgetter(name)(row)
        return None if value is None or value == "" else show(value)

    column.__name__ = name.rpartition(".")[2]  # the class of the column in HTML
    return column


def wrapping(text: str, *, limit: int | None = None) -> str:
    """Return a text as HTML in which long words may wrap. The text is escaped."""
    shown = text if limit is None else Truncator(text).chars(limit)
    words = re.split(r"(\s+)", shown)
    pieces = [piece for word in words for piece in (_PIECES.findall(word) if len(word) > 2 * _PIECE else [word])]
    html = format_html_join("", "{}<wbr>", ((piece,) for piece in pieces if piece))
    return html if shown == text else format_html('<span title="{}">{}</span>', text, html)


def short_time(value: datetime) -> str:
    """Return a time in the short format of the language and in the current time zone."""
    return date_format(localtime(value) if is_aware(value) else value, "SHORT_DATETIME_FORMAT")
