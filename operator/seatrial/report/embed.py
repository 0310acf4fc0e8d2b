"""Putting foreign text and programs into a page safely, and small.

Everything that a user wrote (names, values, messages) reaches the page either through ``html.escape`` or as JSON whose characters
cannot end a script element. A content security policy lists the hashes of the page's own two scripts: nothing else runs, and
nothing is fetched.
"""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

__all__ = ["Json", "asset", "pack", "plotly_script", "policy", "to_json"]

Json = Mapping[str, "Json"] | Sequence["Json"] | str | float | bool | None

# Beyond this integers lose digits in JavaScript.
_LARGEST_EXACT = 2**53

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def to_json(value: Json) -> str:
    """Return JSON for a script element: no ``<``, ``>`` or ``&``, so that no text can end or open anything.

    NaN and infinities, which JSON does not have, and integers that JavaScript cannot hold become strings.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, written in _UNSAFE.items():
        text = text.replace(character, written)
    # A lone surrogate cannot be written as UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(value: Json) -> Json:
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and abs(value) > _LARGEST_EXACT:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return value


def pack(text: str) -> str:
    """Return *text* compressed, in base64; the same text always gives the same result."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


@cache
def asset(name: str) -> str:
    """Return a file of this package's ``assets`` folder."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


@cache
def plotly_script() -> tuple[str, str]:
    """Return plotly's own program, packed, and the source expression that lets a browser run it.

    The wheel has one bundle, 4.8 MB; packed it is 1.9 MB, and the page shows its text before the program is unpacked.
    """
    from plotly.offline import get_plotlyjs

    # The parser of HTML would turn CR LF into LF and so change the hash; the page sets the text itself, but stay exact.
    program = str(get_plotlyjs()).replace("\r\n", "\n")
    return pack(program), _hash(program)


def policy(*programs: str) -> str:
    """Return the content security policy under which only *programs* and plotly run and nothing is fetched."""
    allowed = " ".join([*(_hash(program) for program in programs), plotly_script()[1]])
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"


def _hash(program: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(program.encode()).digest()).decode() + "'"
