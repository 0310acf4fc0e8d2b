"""Runs a Python program in this process as the interpreter would have run it from the command line.

Must not return to whoever imported things beforehand: what follows is the program's end and the interpreter's.
"""

import atexit
import contextlib
import gc
import importlib
import io
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn

__all__ = ["end_process", "run_program", "start_folder"]


# What the interpreter says when its last words could not be written.
_FLUSH_FAILED = 120


def start_folder(program: Sequence[str]) -> str:
    """Return what the interpreter puts first on ``sys.path``: the script's folder, or the working directory for ``-m`` and ``-c``."""
    match program:
        case ["-m", *_]:
            return os.getcwd()  # noqa: PTH109 - a text is wanted
        case ["-c", *_] | []:
            return ""
        case [path, *_]:
            return str(Path(path).resolve().parent)
    return ""


def run_program(program: Sequence[str], environment: Mapping[str, str], folder: str) -> NoReturn:
    """Run a program to its end.

    Args:
        program: ``train.py --epochs 3``, ``-m package.train`` or ``-c text``.
        environment: All of it.
        folder: Working directory.

    Raises:
        SystemExit: Always: with the program's exit code, 1 after an exception that nobody caught.
    """
    _enter(program, environment, folder)
    try:
        _run(program)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the interpreter's own handling, less our frames
        error.__traceback__ = _without_us(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        raise SystemExit(1) from None
    raise SystemExit(0)


def end_process(end: SystemExit, own: Sequence[str]) -> NoReturn:
    """End this process as the interpreter ends, without taking down what was imported beforehand.

    Threads are waited for, exit handlers run, the program's own modules go and with them what only they hold, and open files are
    flushed. The interpreter would then take down every library, and copy their pages by it: with torch a third of a second.

    Args:
        end: How the program ended.
        own: Names of the program's own modules.
    """
    code = _code_of(end)
    # Tracebacks hold frames, and these the program's variables.
    end.__traceback__ = end.__context__ = None
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - what the interpreter calls first
        atexit._run_exitfuncs()  # noqa: SLF001 - and then
        for name in own:
            sys.modules.pop(name, None)
        gc.collect()
        for thing in gc.get_objects():
            if isinstance(thing, io.IOBase) and thing not in {sys.stdout, sys.stderr}:
                with contextlib.suppress(OSError, ValueError):
                    thing.flush()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                code = code or _FLUSH_FAILED
        os._exit(code)


def _code_of(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1


def _enter(program: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    if not sys.flags.safe_path:
        sys.path[0] = start_folder(program)
    importlib.invalidate_caches()
    random = sys.modules.get("numpy.random")
    if random is not None:
        # Python's own generator is seeded anew in every fork, NumPy's is not: all trials would draw the same.
        random.seed()


def _run(program: Sequence[str]) -> None:
    match program:
        case ["-m", module, *rest]:
            sys.argv = ["-m", *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", text, *rest]:
            sys.argv = ["-c", *rest]
            # The text is the trial's own command, which a cold start would hand to the interpreter just so.
            exec(compile(text, "<string>", "exec", dont_inherit=True), _main_module(None).__dict__)  # noqa: S102
        case [path, *rest]:
            sys.argv = [path, *rest]
            whole = os.path.join(os.getcwd(), path.removeprefix("./"))  # noqa: PTH109, PTH118 - as the interpreter does it
            # Its module stays until the end, unlike runpy's: threads and exit handlers still need it.
            exec(_compile(whole), _main_module(whole).__dict__)  # noqa: S102 - the trial's own script


def _compile(path: str) -> CodeType:
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        sys.stderr.write(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}\n")
        raise SystemExit(2) from None
    return compile(source, path, "exec", dont_inherit=True)


def _main_module(path: str | None) -> ModuleType:
    module = ModuleType("__main__")
    if path is not None:
        module.__file__ = path
        module.__loader__ = SourceFileLoader("__main__", path)
    sys.modules["__main__"] = module
    return module


def _without_us(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace
