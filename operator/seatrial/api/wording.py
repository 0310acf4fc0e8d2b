"""Words of messages: how values and paths are shown, and which known name was probably meant.

Charter: pure text. It knows no field and no rule.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

__all__ = ["Path", "is_number_like", "list_words", "nearest", "path_text", "show", "suggest"]

Path = tuple[str | int, ...]
"""Place in a document: mapping keys and list positions from the top."""

_LONGEST = 60
_WORD = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]*$")
_NUMBER = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")


def path_text(path: Path) -> str:
    """Write *path* as kubectl does: ``spec.parameters[2].min``; a key that is no word stands in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int) or not _WORD.match(part):
            text += f"[{_cut(str(part))}]"
        else:
            text += f".{_cut(part)}" if text else _cut(part)
    return text


def show(value: object) -> str:
    """Show *value* as it would stand in YAML, cut to one short line."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(_cut(value))
        case int() | float():
            return _cut(f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value))
        case list() | tuple():
            return "a list" if value else "an empty list"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case _:
            return _cut(str(value))


def list_words(words: Iterable[object], *, most: int = 20) -> str:
    """Join *words* by commas; a long list is cut with the number that was left out."""
    shown = [_cut(str(word)) for word in words]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def nearest(word: str, known: Sequence[str], *, likeness: float = 0.6) -> str | None:
    """Return the known name that *word* is probably a misspelling of, None when nothing is near.

    Args:
        word: What was written.
        known: What could have been.
        likeness: Part of the letters, from 0 to 1, that both must have in common.
    """
    lowered = {name.lower(): name for name in reversed(known)}
    found = difflib.get_close_matches(word.lower()[:200], list(lowered), n=1, cutoff=likeness)
    return lowered[found[0]] if found else None


def suggest(word: str, known: Sequence[str], *, noun: str = "known here are") -> str:
    """Return the next step after an unknown name: the nearest known one, or all of them."""
    near = nearest(word, known)
    return f"did you mean `{near}`?" if near else f"{noun}: {list_words(known)}"


def is_number_like(text: str) -> bool:
    """Whether *text* reads as a decimal number, such as ``1e-5`` or ``32``."""
    return len(text) <= _LONGEST and _NUMBER.match(text) is not None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
