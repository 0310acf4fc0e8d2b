"""Writing small files so that a reader sees the old or the new content, never a part.

Must not decide what a failure means: OSError goes to the caller.
"""

import contextlib
import os
import stat
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Put *content* at *path* by a temporary file and a rename, or in place where the path is a mount.

    The kubelet mounts ``/dev/termination-log`` as a file: nothing can be renamed over it, so it gets one single write.

    Raises:
        OSError: If neither works.
    """
    if path.exists() and (path.is_symlink() or not path.is_file()):
        # A device, a pipe or a link must stay what it is.
        _write_in_place(path, content)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        _write_in_place(path, content)


def _write_in_place(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        os.write(descriptor, content)
        # A device has no length to set.
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)
