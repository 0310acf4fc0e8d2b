"""Bodies of server-side apply, which an API server reads as YAML: nearly all JSON is YAML, but not all that Python writes as JSON."""

import json
import re

__all__ = ["write_yaml"]

# What YAML wants escaped, and halves of a character, which are none.
_STRANGE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def write_yaml(body: object) -> str:
    r"""Return *body* as JSON that is YAML, too: a character beyond U+FFFF is itself, and not the two escapes that YAML refuses."""
    return _STRANGE.sub(_escape, json.dumps(body, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\u{0xFFFD if 0xD800 <= number <= 0xDFFF else number:04x}"
