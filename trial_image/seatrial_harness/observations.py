"""Appends reports to the observations file, a JSON line each, at a cost that is small against the reporting.

Must not raise for a full or missing disk: it tells and goes on.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from seatrial_harness import wire
from seatrial_harness.notices import Notices

__all__ = ["ObservationFile"]

_LONGEST_DELAY_SECONDS = 0.2
_BUFFER_LIMIT = 512
# A write may cost a twentieth of the time between two writes: with a quick disk every report of a usual training
# is written at once, while a million reports in a second share few writes.
_DELAY_PER_COST = 20


class ObservationFile:
    """The laptop's way of reporting. Not thread-safe: the caller holds a lock."""

    def __init__(self, path: Path, notices: Notices, clock: Callable[[], float]) -> None:
        self._path = path
        self._notices = notices
        self._clock = clock
        self._lines: list[str] = []
        self._prefixes: dict[str, str] = {}
        self._next_write = 0.0
        self._descriptor: int | None = None
        self._torn = False

    def append(self, step: int, time: float, values: Mapping[str, float]) -> None:
        """Take one observation; it reaches the file now or within 0.2 s of further reporting.

        Args:
            step: Training progress.
            time: Unix time in seconds.
            values: Value by metric.
        """
        prefixes = self._prefixes
        parts = []
        for name, value in values.items():
            prefix = prefixes.get(name)
            if prefix is None:
                prefix = self._remember(name)
            # value - value is 0 for every finite number, NaN otherwise: quicker than a call of isfinite.
            parts.append(prefix + (repr(value) if value - value == 0.0 else json.dumps(value)))
        line = f'{{"step": {step}, "time": {time:.3f}, "metrics": {{{", ".join(parts)}}}}}\n'
        if len(line) > wire.OBSERVATION_LIMIT_BYTES:
            self._append_halves(step, time, values)
            return
        self._lines.append(line)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write what is buffered when the last write is long enough ago."""
        if self._lines and (self._clock() >= self._next_write or len(self._lines) >= _BUFFER_LIMIT):
            self.flush()

    def flush(self) -> None:
        """Write what is buffered now."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        began = self._clock()
        try:
            self._write("".join(lines).encode())
        except OSError as error:
            self._torn = True
            self._notices.once(
                "disk observations",
                f"the observations at {self._path} cannot be written: {error.strerror or error}; training goes on",
            )
        ended = self._clock()
        self._next_write = ended + min(_LONGEST_DELAY_SECONDS, _DELAY_PER_COST * (ended - began))

    def close(self) -> None:
        """Write the rest and close the file."""
        self.flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, content: bytes) -> None:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(self._path, flags, 0o644)
            self._torn = self._ends_within_a_line(self._descriptor)
        if self._torn:
            # An earlier write, or the attempt before this one, ended within a line: keep the damage to that line.
            content = b"\n" + content
            self._torn = False
        while content:
            content = content[os.write(self._descriptor, content) :]

    @staticmethod
    def _ends_within_a_line(descriptor: int) -> bool:
        size = os.fstat(descriptor).st_size
        return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"

    def _append_halves(self, step: int, time: float, values: Mapping[str, float]) -> None:
        # Lines of one step are merged by the reader, so a wide report may take several.
        names = list(values)
        middle = len(names) // 2
        for half in (names[:middle], names[middle:]):
            self.append(step, time, {name: values[name] for name in half})

    def _remember(self, name: str) -> str:
        prefix = json.dumps(name) + ": "
        if len(self._prefixes) < 4 * _BUFFER_LIMIT:
            self._prefixes[name] = prefix
        return prefix
