"""The process that starts trials, where the disk takes nothing."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from unittest.mock import Mock

import pytest

from seatrial.adapters.local import warden
from seatrial.adapters.local.files import is_locked, open_locked
from seatrial.adapters.local.warden import ANSWER, HEADER, REFUSED, START, Warden


@pytest.mark.parametrize("forks", [False, True])
def test_a_command_whose_process_id_nobody_can_note_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: bool
):
    monkeypatch.chdir(tmp_path)
    here, there = socket.socketpair()
    lock = open_locked(tmp_path / "note")
    assert lock is not None
    output = os.open(tmp_path / "output.log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    request = b"\0".join([START, b"7", os.fsencode(tmp_path), b"2", b"/bin/sleep", b"1000", b"PATH=/bin"])
    socket.send_fds(here, [HEADER.pack(len(request)) + request], [lock, output])
    os.close(lock)
    os.close(output)
    monkeypatch.setattr(warden, "_note", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))

    with here, there:
        Warden(there, forks=forks)._serve()

        assert ANSWER.unpack(here.recv(ANSWER.size)) == (REFUSED, 7, errno.ENOSPC)
    # Neither the command nor anybody else holds it.
    assert not is_locked(tmp_path / "note")
