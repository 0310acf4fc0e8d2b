"""Trials as forks of a process that has imported what takes long, where the import is not what is tested."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from harness.scripts import ATrial, Ended

__all__ = ["AForkedTrial", "Nest"]

# The child becomes what `python script.py` would be, and ends as that does, but for taking all modules apart: that takes longer than the rest.
_PROGRAM = """
import atexit, gc, json, os, runpy, sys, threading
for name in sys.argv[1:]:
    __import__(name)
gc.collect()
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    order, code = json.loads(line), 0
    for number, name in enumerate((os.devnull, order["out"], order["err"])):
        handle = os.open(name, os.O_RDWR | os.O_CREAT | (number and os.O_TRUNC))
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = [order["script"]]
    sys.path[0] = os.path.dirname(order["script"])
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    try:
        runpy.run_path(order["script"], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
"""


class Nest:
    """A process with some modules, whose forks run scripts, one after the other."""

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *modules],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._hear() == "ready"

    def run(self, **order: object) -> int:
        """Run a script to its end; return its exit status, below zero where a signal ended it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._hear())

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate(timeout=60)

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass(kw_only=True)
class AForkedTrial(ATrial):
    """A trial whose scripts find the modules of a nest imported."""

    nest: Nest

    def run(self, script: str) -> Ended:
        path, out, err = self.write(script), self.folder / "out", self.folder / "err"
        order = {"script": path, "folder": self.folder, "out": out, "err": err}
        code = self.nest.run(**{name: str(path) for name, path in order.items()}, environment=dict(self.environment))
        told = out.read_text(), err.read_text()
        return Ended(code=code, out=told[0], err=told[1], message=self.message, observations=self.observations)
