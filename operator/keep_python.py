"""Takes every program but Python away from the root it runs in, and the package manager's own files: ``python3 -IB keep_python.py``.

The last step of the operator's image. Libraries stay, and so does the list of what Debian installed, so that a scanner knows what there is.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin")
_PYTHON = re.compile(r"python(3(\.\d+)?)?")
# The loader and some libraries may be run, too, and some of Python's modules.
_LIBRARY = re.compile(r"\.so(\.|$)|^ld-|\.py$")
_NO_FILES = {"dev", "proc", "sys"}
_DATA = (
    "etc/apt",
    "usr/lib/apt",
    "usr/lib/dpkg",
    "usr/libexec",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/perl",
    "usr/share/perl5",
    "usr/**/python3*/ensurepip",
    "usr/**/site-packages/pip*",
    "var/cache/apt",
    "var/lib/apt",
    "var/lib/dpkg/info",
)


def find_programs(root: Path) -> Iterator[Path]:
    """Yield all that could be run, and names of such, but Python's."""
    for folder in {(root / name).resolve() for name in _FOLDERS}:
        yield from (path for path in folder.glob("*") if not _PYTHON.fullmatch(path.name))
    for folder, inside, names in os.walk(root):
        if Path(folder) == root:
            inside[:] = [name for name in inside if name not in _NO_FILES]
        for path in (Path(folder, name) for name in names):
            mode = path.lstat().st_mode
            kept = _PYTHON.fullmatch(path.name) or _LIBRARY.search(path.name)
            if stat.S_ISREG(mode) and mode & 0o111 and not kept:
                yield path


def strip(root: Path) -> None:
    """Take them away."""
    for path in [*find_programs(root), *(path for name in _DATA for path in root.glob(name))]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    strip(Path("/"))
    Path(__file__).unlink()
