"""What commands take as arguments: numbers that make sense."""

from argparse import ArgumentTypeError


def count(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or len(text) > 18 or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is no whole number above 0.")
    return int(text)


def seconds(text: str) -> float:
    """Read a number of seconds above 0, which may have a fraction."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:  # nor is `nan`
        raise ArgumentTypeError(f"{text!r} is no number of seconds above 0.")
    return number
