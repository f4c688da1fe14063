"""What of a text a reader would see: words of others go to models and to terminals."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Terminal sequences go whole: without their first character the rest would stay as litter.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -~])?")
# Letters and marks by category, blank or unseen by nature.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Cn")


def clean(text: str) -> str:
    """Without what could hide, reorder or erase text: only what a reader would see is left."""
    if text.isascii() and text.isprintable():
        return text
    plain = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(map(_visible, plain))


@lru_cache(maxsize=8_192)
def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if character in "\u2028\u2029":
        return "\n"
    if character in _INVISIBLE or _is_variation_selector(character):
        return ""
    return "" if unicodedata.category(character) in _HIDDEN_CATEGORIES else character


def _is_variation_selector(character: str) -> bool:
    """They follow a character unseen, and any bytes can be written in them."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
