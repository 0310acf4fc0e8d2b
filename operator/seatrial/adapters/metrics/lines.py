"""Lines of a growing file, read bit by bit in bounded memory, whatever is in it."""

import os
import re
from pathlib import Path

__all__ = ["CUT_MARK", "LineReader"]

CUT_MARK = b"\n[seatrial: %d bytes of output were cut out here]\n"
"""What stands in a log where its middle was cut out."""

_CUT = re.compile(re.escape(CUT_MARK).replace(b"%d", b"([0-9]+)"))
_HEAD_BYTES = 1 << 20


class LineReader:
    """Reads what was appended to a file since the last time.

    Args:
        path: The file; need not exist yet. By its name where there are many: a path takes as long to make.
        longest: Lines longer than this many bytes are skipped whole.

    Attributes:
        skipped: Number of lines that were too long.
    """

    def __init__(self, path: Path | str, longest: int) -> None:
        self._path = path
        self._longest = longest
        self._offset = 0
        self._partial = b""
        self._in_long_line = False
        self.skipped = 0

    def read(self, most_bytes: int) -> tuple[list[bytes], bool]:
        """Return new whole lines without their ends, and whether there is more to read at once.

        Args:
            most_bytes: How much of the file to look at.
        """
        try:
            size = os.stat(self._path).st_size  # noqa: PTH116 - asked for every running trial several times a second
            if size == self._offset:
                return [], False
            with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
                if size < self._offset:
                    self._offset = _find_again(file.read(_HEAD_BYTES), self._offset)
                    self._partial, self._in_long_line = b"", False
                file.seek(self._offset)
                chunk = file.read(most_bytes)
        except OSError:
            return [], False
        self._offset += len(chunk)
        return self._split(chunk), len(chunk) == most_bytes

    def finish(self) -> list[bytes]:
        """Return the last line if it was never ended: its writer is gone."""
        last, self._partial = self._partial, b""
        return [last] if last and not self._in_long_line else []

    def _split(self, chunk: bytes) -> list[bytes]:
        first, *others = chunk.split(b"\n")
        if not others:
            self._hold(first)
            return []
        lines = [self._partial + first, *others[:-1]]
        if self._in_long_line:
            del lines[0]
        self._partial, self._in_long_line = b"", False
        self._hold(others[-1])
        kept = [line for line in lines if len(line) <= self._longest]
        self.skipped += len(lines) - len(kept)
        return kept

    def _hold(self, rest: bytes) -> None:
        """Keep the beginning of a line that is not whole yet, unless it is too long already."""
        if self._in_long_line:
            return
        self._partial += rest
        if len(self._partial) > self._longest:
            self._partial, self._in_long_line = b"", True
            self.skipped += 1


def _find_again(head: bytes, offset: int) -> int:
    """Return where the byte that was at *offset* is now that the middle of the file was cut out."""
    cut = _CUT.search(head)
    if cut is None:
        return 0
    return cut.end() + max(0, offset - cut.start() - int(cut[1]))
