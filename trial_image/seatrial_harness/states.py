"""A training state as one file: plain values as JSON, everything else by torch, and back without unpickling code.

torch is used only when the script has imported it. Must not know about steps or manifests.
"""

import errno
import hashlib
import importlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["read_state", "write_state"]

_PLAIN = "state.json"
_TENSORS = "state.pt"


# torch writes a state in a hundred pieces or more, and each piece that reaches Python costs more than its bytes.
_BUFFER_BYTES = 1 << 20


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is written, so that nobody has to read it again."""

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(path, "wb")
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        """It is there to be written."""
        return True

    def write(self, block: Any) -> int:  # noqa: ANN401  (whatever has bytes, as io says)
        """Write some of *block*, all of it as a rule; return how many bytes."""
        written = self._file.write(block)
        self._digest.update(memoryview(block)[:written])
        return written

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of what was written."""
        return self._digest.hexdigest()


def write_state(folder: Path, state: Mapping[str, object]) -> dict[str, str]:
    """Write *state* into *folder* as ``state.json`` or, where something is not plain, as ``state.pt``.

    Returns:
        Hexadecimal SHA-256 of each file by name.

    Raises:
        OSError: If the disk is full or read-only.
        TypeError: If a value is neither plain nor something that torch can save.
    """
    odd = next(((name, value) for name, value in state.items() if not _is_plain(value)), None)
    if odd is None:
        content = json.dumps(state).encode()
        (folder / _PLAIN).write_bytes(content)
        return {_PLAIN: hashlib.sha256(content).hexdigest()}
    if "torch" not in sys.modules:
        name, value = odd
        raise TypeError(
            f"save({name}=…) got a {type(value).__name__}: without torch only numbers, strings, lists, dicts with string keys and None can be "
            f"saved. Write your own files: with trial.checkpoint(step) as folder: …"
        )
    hashed = _Hashed(folder / _TENSORS)
    with io.BufferedWriter(hashed, _BUFFER_BYTES) as file:
        _save_by_torch(state, file)
    return {_TENSORS: hashed.digest()}


def _save_by_torch(state: Mapping[str, object], file: IO[bytes]) -> None:
    try:
        importlib.import_module("torch").save(dict(state), file)
    except RuntimeError as error:
        # torch tells a failed write as a RuntimeError while the file's own error waits in the context.
        raise OSError(errno.EIO, f"torch could not write: {str(error).splitlines()[0]}") from error


def read_state(folder: Path, *, weights_only: bool, map_location: object) -> dict[str, Any]:
    """Read what :func:`write_state` wrote.

    Args:
        folder: A verified checkpoint folder.
        weights_only: Let torch refuse anything that would run code.
        map_location: As in ``torch.load``.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If ``state.json`` is not JSON.
    """
    if (folder / _TENSORS).exists():
        torch = importlib.import_module("torch")
        return dict(torch.load(folder / _TENSORS, weights_only=weights_only, map_location=map_location))
    return dict(json.loads((folder / _PLAIN).read_text(encoding="utf-8")))


def _is_plain(value: object) -> bool:
    """Whether JSON gives the same value back; tuples and numbers as keys would come back changed."""
    if value is None or isinstance(value, bool | int | float | str):
        return True
    if type(value) is list:
        return all(_is_plain(item) for item in value)
    return type(value) is dict and all(type(key) is str and _is_plain(item) for key, item in value.items())
