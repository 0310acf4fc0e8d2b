"""Process 1 of a container that runs one attempt after another: ``python -m seatrial_harness.slot --directive FILE --port N --message FILE``.

What to run stands in a file that changes; docs/wire.md tells how. An attempt is a fork of a process that has its libraries imported
(:mod:`seatrial_harness.warm`), or a process of its own where that cannot be. Whether one runs is told by a port that is listened to then,
and how it ended by a line of the log and, should the container end, by its message. Single-threaded, and small: it imports no library.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from seatrial_harness.directive import Directive, read_directive
from seatrial_harness.processes import adopt_orphans, catch_signals, is_alive, kill_attempt, kill_session, listen
from seatrial_harness.relay import Relay, write_all
from seatrial_harness.starting import PATIENCE_SECONDS, Run, Starter, shared, strip
from seatrial_harness.telling import build_line, build_message, read_message, write_file
from seatrial_harness.waiting import wait_to_read

__all__ = ["Slot", "main"]

_TICK_SECONDS = 0.05
_NOT_STARTED = 127
_NOTHING_TOLD = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run attempts until the container is to end."""
    parser = argparse.ArgumentParser(prog="seatrial_harness.slot")
    parser.add_argument("--directive", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--message", type=Path, required=True)
    parser.add_argument("--idle", type=float, default=60.0)
    parser.add_argument("--repeat", type=float, default=10.0)
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS)
    parser.add_argument("cold", nargs="*")
    told = parser.parse_args(arguments)
    sys.stdout.flush()
    slot = Slot(
        told.directive,
        told.port,
        told.message,
        idle_seconds=told.idle,
        repeat_seconds=told.repeat,
        starter=Starter(told.patience),
    )
    code = slot.serve()
    # Nothing is left to be tidied up: the container ends with this process.
    os._exit(code)


@dataclass(slots=True)
class Slot:
    """A container's only long-lived program.

    Args:
        directive: File that says what to run.
        port: Listened to while something runs.
        message: File that the kubelet takes for the container's last words.
        idle_seconds: After so long without a new attempt it ends.
        repeat_seconds: How often it tells again how the last one ended.
        starter: Begins attempts.
    """

    directive: Path
    port: int
    message: Path
    idle_seconds: float = field(kw_only=True)
    repeat_seconds: float = field(kw_only=True)
    _base: dict[str, str] = field(default_factory=dict, init=False)
    starter: Starter = field(kw_only=True)
    _listener: socket.socket | None = field(default=None, init=False)
    _over: set[str] = field(default_factory=set, init=False)
    _last_line: bytes = field(default=b"", init=False)
    _last_code: int = field(default=0, init=False)
    _idle_since: float = field(default=0.0, init=False)
    _told_at: float = field(default=0.0, init=False)
    _ended: dict[int, int] = field(default_factory=dict, init=False)
    _terminated: bool = field(default=False, init=False)

    def serve(self) -> int:
        """Run attempts; return the exit code of the container."""
        woken = catch_signals(self._on_end)
        adopt_orphans()
        self._listen(True)
        self._idle_since = time.monotonic()
        run: Run | None = None
        while True:
            self._wait(woken, run)
            self._reap()
            if run is None:
                run, code = self._rest()
                if code is not None:
                    return code
                continue
            self._advance(run)
            code = self._find_end(run)
            if code is not None:
                self._conclude(run, code)
                if self._terminated or (code != 0 and run.why != "stop"):
                    return self._leave(code)
                run = None

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self, woken: socket.socket, run: Run | None) -> None:
        sources = [woken.fileno()]
        if self._listener is not None:
            sources.append(self._listener.fileno())
        warm = self.starter.warm
        if warm is not None:
            sources += [-1 if warm.broken else warm.channel.fileno(), warm.talk.source]
        if run is not None:
            sources.append(run.relay.source)
        ready = wait_to_read([source for source in sources if source >= 0], _TICK_SECONDS)
        if woken.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
        if self._listener is not None and self._listener.fileno() in ready:
            with contextlib.suppress(OSError):
                self._listener.accept()[0].close()
        if warm is not None and warm.channel.fileno() in ready:
            warm.listen()
        if warm is not None and warm.talk.source in ready:
            warm.talk.copy()
        if run is not None and run.relay.source in ready:
            run.relay.copy()

    def _rest(self) -> tuple[Run | None, int | None]:
        """Look for the next attempt; return it, or the exit code when there is to be none."""
        now = time.monotonic()
        # Looked at before the clock: what came in the last moment is not left undone.
        found = None if self._terminated else read_directive(self.directive)
        if found is None or found.id in self._over:
            if self._terminated or now - self._idle_since >= self.idle_seconds:
                return None, self._leave(self._last_code if self._over else self._complain())
            if self._last_line and now - self._told_at >= self.repeat_seconds:
                self._tell(self._last_line)
            return None, None
        if found.stop:
            # It was called off before it was heard of.
            run = Run(directive=found, environment={}, command=(), begun=time.time(), since=now, relay=Relay())
            run.why = "stop"
            self._conclude(run, 128 + signal.SIGTERM)
            return None, None
        self._listen(True)
        run = self._prepare(found)
        self._print(build_line("began", {"id": found.id, "at": round(run.begun, 3)}))
        write_file(self.message, b"")
        return run, None

    def _prepare(self, found: Directive) -> Run:
        if self.starter.first is None:
            self._base = strip(os.environ, found, called_off=bool(self._over))
        # Process ids come again: those that have ended are none of this attempt's.
        self._ended.clear()
        environment = found.build_environment(self._base)
        if self.starter.first is None:
            self.starter.first = shared(environment)
        return Run(
            directive=found,
            environment=environment,
            command=found.build_command(environment),
            begun=time.time(),
            since=time.monotonic(),
            relay=Relay(),
        )

    # ---- running -----------------------------------------------------------------------------------------------------

    def _advance(self, run: Run) -> None:
        """Bring an attempt forward: begin it, or ask it to end."""
        now = time.monotonic()
        found = read_directive(self.directive)
        if found is not None and found.id == run.directive.id and found.stop:
            self._stop(run, "stop", found.grace_seconds)
        timeout = run.directive.timeout_seconds
        if timeout is not None and now - run.since >= timeout:
            self._stop(run, "timeout", run.directive.grace_seconds)
        if self._terminated:
            # The kubelet's own SIGKILL follows.
            self._stop(run, "", float("inf"))
        # What was ordered may have begun, and cannot be asked to end before it is known.
        if run.leader == 0 and (run.kill_at is None or run.folder is not None):
            self.starter.begin(run, now)
            if run.kill_at is not None:
                self._ask_to_end(run)
        if run.leader != 0 and run.kill_at is not None and now >= run.kill_at:
            kill_session(run.leader)
            run.kill_at = now + 1.0

    def _stop(self, run: Run, why: str, grace_seconds: float) -> None:
        if run.kill_at is not None:
            return
        run.why, run.kill_at = why, time.monotonic() + grace_seconds
        if run.folder is not None:
            # Read by a leader that has not begun.
            write_file(run.folder / "stop", b"1\n")
        self._ask_to_end(run)

    @staticmethod
    def _ask_to_end(run: Run) -> None:
        if run.leader > 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(run.leader, signal.SIGTERM)

    # ---- ends --------------------------------------------------------------------------------------------------------

    def _find_end(self, run: Run) -> int | None:
        """Return the exit code of an attempt, None while it runs."""
        if run.leader == -1:
            return _NOT_STARTED
        if run.leader == 0:
            # Nothing has begun that could end, unless an order is on its way.
            return 128 + signal.SIGTERM if run.kill_at is not None and run.folder is None else None
        if run.folder is None:
            return self._ended.pop(run.leader, None)
        ended = self.starter.warm is not None and run.leader in self.starter.warm.ended
        gone = run.leader in self._ended or not is_alive(run.leader)
        with contextlib.suppress(OSError, ValueError):
            return int((run.folder / "exit").read_bytes())
        # A leader that was killed notes nothing.
        return 128 + signal.SIGKILL if ended or gone else None

    def _conclude(self, run: Run, code: int) -> None:
        """Tell how an attempt ended, and leave nothing of it."""
        if run.leader > 0:
            warm = self.starter.warm
            kill_attempt(run.leader, None if warm is None or warm.process.returncode is not None else warm.process.pid)
        output = run.relay.finish()
        run.forget_folder()
        message = read_message(self.message) if run.leader != 0 else ""
        if not message and code != 0:
            message = output
        finished = round(time.time(), 3)
        told = {
            "id": run.directive.id,
            "code": code,
            "begun": round(run.begun, 3),
            "finished": finished,
            "message": message,
            "why": run.why,
        }
        write_file(self.message, build_message(run.directive.id, code, finished, run.why, message))
        # For good: what is told of an attempt may come after the next one has ended.
        self._over.add(run.directive.id)
        self._last_code = code
        self._last_line = build_line("ended", told)
        self._tell(self._last_line)
        self._idle_since = time.monotonic()
        self._listen(False)

    def _complain(self) -> int:
        """Say that nothing was ever told to run; return the exit code for it, which must not be that of a trial that ended well."""
        if self._terminated:
            self._print(b"seatrial: nothing was run: the container was told to end\n")
            return 128 + signal.SIGTERM
        text = f"seatrial: nothing was run: {self.directive} has told nothing that can be understood for {self.idle_seconds:g} s\n"
        self._print(text.encode(errors="replace"))
        return _NOTHING_TOLD

    def _leave(self, code: int) -> int:
        if self.starter.warm is not None:
            self.starter.warm.talk.finish()
            self.starter.warm.close()
        return code

    # ---- telling -----------------------------------------------------------------------------------------------------

    def _listen(self, wanted: bool) -> None:
        """Let the kubelet's probe find somebody, or nobody."""
        if wanted and self._listener is None:
            self._listener = listen(self.port)
            if self._listener is None:
                self._print(f"seatrial: nobody can listen on port {self.port}\n".encode())
        elif not wanted and self._listener is not None:
            self._listener.close()
            self._listener = None

    def _tell(self, line: bytes) -> None:
        self._told_at = time.monotonic()
        self._print(line)

    def _print(self, line: bytes) -> None:
        if self.starter.warm is not None:
            self.starter.warm.talk.end_line()
        write_all(1, line)

    def _on_end(self, _number: int, _frame: FrameType | None) -> None:
        self._terminated = True

    def _reap(self) -> None:
        """Wait for whoever has ended: orphans are ours."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                code = os.waitstatus_to_exitcode(status)
                self._ended[pid] = 128 - code if code < 0 else code
                if self.starter.warm is not None and pid == self.starter.warm.process.pid:
                    self.starter.warm.process.returncode = code


if __name__ == "__main__":
    main()
