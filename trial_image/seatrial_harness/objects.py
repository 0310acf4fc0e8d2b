"""Checkpoints in an object store, through fsspec: ``s3://bucket/prefix/<trial>/<attempt>/step-<n>/``.

One object, ``manifest.json``, written by one request after all others, is the commit: what a killed upload leaves is never looked at. The
files lie in a folder named by the checkpoint's digest, so that saving a step again never touches what an older manifest speaks of.
fsspec and its back end are imported only here and only when an address needs them; credentials are those of the environment.
Must not decide which checkpoints stay.
"""

import errno
import importlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from seatrial_harness.directory import digest_file
from seatrial_harness.manifest import MANIFEST, CheckpointError, Manifest, Mark, check_step, parse_manifest

__all__ = ["ObjectPlace"]

_PART_LENGTH = 16
# botocore waits a minute for a connection and tries for many more: a trial should say sooner that its store is away.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}}
}
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}


class ObjectPlace:
    """The checkpoints of one trial below one URL."""

    def __init__(self, url: str, *, opened: tuple[Any, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._fs, root = opened or _open(self._url)
        self._root = root.rstrip("/")
        self._scratch: Path | None = None

    @property
    def address(self) -> str:
        """The URL of the trial."""
        return self._url

    def beside(self, trial: str) -> "ObjectPlace":
        """Return the place of another trial of the same study."""
        parent, _, _ = self._root.rpartition("/")
        url, _, _ = self._url.rpartition("/")
        return ObjectPlace(f"{url}/{trial}", opened=(self._fs, f"{parent}/{trial}"))

    def stage(self, mark: Mark) -> Path:
        """Return a new empty folder on this machine."""
        return Path(tempfile.mkdtemp(prefix=f"step-{mark.step}.", dir=self._local()))

    def put(self, staged: Path, manifest: Manifest) -> Path:
        """Upload the files, then the manifest; the staged folder stays until the next one, to be read without a download."""
        part = manifest.digest.removeprefix("sha256:")[:_PART_LENGTH]
        mark = Mark(manifest.step, manifest.attempt)
        base = f"{self._root}/{mark.path}"
        with self._answering(f"{self._url}/{mark.path}"):
            older = self._parts(base)
            for entry in manifest.files:
                self._fs.put_file(str(staged / entry.path), f"{base}/{part}/{entry.path}")
            self._fs.pipe_file(f"{base}/{MANIFEST}", replace(manifest, part=part).to_json())
            for other in older - {part}:
                self._fs.rm(f"{base}/{other}", recursive=True)
        for earlier in self._local().iterdir():
            if earlier != staged:
                shutil.rmtree(earlier, ignore_errors=True)
        return staged

    def settle(self, mark: Mark) -> None:
        """An object store answers when an object is safe."""

    def marks(self) -> list[Mark]:
        """Return the checkpoints whose manifest is there, newest first."""
        with self._answering(self._url):
            keys = self._find(self._root)
        return sorted(_marks(keys), reverse=True)

    def survey(self) -> dict[str, list[Mark]]:
        """Return the checkpoints of every trial below the study's prefix, by one listing."""
        parent, _, _ = self._root.rpartition("/")
        with self._answering(self._url):
            keys = self._find(parent)
        found: dict[str, list[Mark]] = {}
        for key in keys:
            trial, _, rest = key.partition("/")
            found.setdefault(trial, []).extend(_marks([rest]))
        return {trial: sorted(marks, reverse=True) for trial, marks in found.items()}

    def read(self, mark: Mark) -> tuple[Manifest, Path]:
        """Download a checkpoint and verify what came."""
        where, base = f"{self._url}/{mark.path}", f"{self._root}/{mark.path}"
        folder = self.stage(mark)
        try:
            with self._answering(where):
                manifest = parse_manifest(self._fs.cat_file(f"{base}/{MANIFEST}"), where)
                check_step(manifest, mark, where)
                for entry in manifest.files:
                    path = folder / entry.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._fs.get_file("/".join(filter(None, [base, manifest.part, entry.path])), str(path))
        except FileNotFoundError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise CheckpointError(f"the checkpoint {where} is not whole: {error} is missing") from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        for entry in manifest.files:
            if digest_file(folder / entry.path) != entry.sha256:
                shutil.rmtree(folder, ignore_errors=True)
                raise CheckpointError(f"the checkpoint {where} was changed: {entry.path} does not match its digest")
        return manifest, folder

    def remove(self, mark: Mark) -> int:
        """Remove a checkpoint, its manifest first."""
        base = f"{self._root}/{mark.path}"
        with self._answering(f"{self._url}/{mark.path}"):
            sizes = self._find(base)
            if MANIFEST in sizes:
                self._fs.rm_file(f"{base}/{MANIFEST}")
            for name in sizes:
                if name != MANIFEST:
                    self._fs.rm_file(f"{base}/{name}")
        return sum(sizes.values())

    def sweep(self, attempt: int | None = None) -> int:
        """Remove the files of killed uploads of one attempt. Those of others stay: that attempt may still be alive."""
        if attempt is None:
            return 0
        freed, base = 0, f"{self._root}/{attempt}"
        with self._answering(self._url):
            sizes = self._find(base)
            whole = {name.split("/")[0] for name in sizes if name.endswith(f"/{MANIFEST}")}
            for name, size in sizes.items():
                if name.split("/")[0] not in whole:
                    self._fs.rm_file(f"{base}/{name}")
                    freed += size
        return freed

    def close(self) -> None:
        """Remove the copies on this machine."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _local(self) -> Path:
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="seatrial-"))
        return self._scratch

    def _find(self, base: str) -> dict[str, int]:
        """Return name below *base* and size of every object there."""
        try:
            found = self._fs.find(base, detail=True)
        except FileNotFoundError:
            return {}
        names = {key.removeprefix(base).strip("/"): int(entry.get("size") or 0) for key, entry in found.items()}
        return {name: size for name, size in names.items() if name}

    def _parts(self, base: str) -> set[str]:
        return {name.split("/")[0] for name in self._find(base) if "/" in name}

    @contextmanager
    def _answering(self, where: str) -> Iterator[None]:
        """Tell every way in which a back end fails as an OSError; a missing object stays what it is."""
        try:
            yield
        except (FileNotFoundError, CheckpointError):
            raise
        except Exception as error:
            number = getattr(error, "errno", None)
            raise OSError(number if isinstance(number, int) else errno.EIO, f"{where}: {_words(error)}") from error


def _marks(keys: Iterable[str]) -> list[Mark]:
    found = [Mark.parse(key[: -len(MANIFEST) - 1]) for key in keys if key.endswith(f"/{MANIFEST}")]
    return list(filter(None, found))


def _words(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(getattr(error, "strerror", None) or error) or type(error).__name__)[:300]


def _open(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    try:
        core = importlib.import_module("fsspec.core")
        options = _OPTIONS.get(scheme, {})
        fs, root = core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False, **options)
    except (ImportError, ValueError) as error:
        package = (
            "fsspec" if isinstance(error, ModuleNotFoundError) and error.name == "fsspec" else _PACKAGES.get(scheme)
        )
        advice = f"; pip install {package} in the trial's image" if package else ""
        raise ValueError(
            f"the checkpoints of this trial lie at {url}, for which this Python has nothing: {error}{advice}"
        ) from error
    return fs, str(root)
