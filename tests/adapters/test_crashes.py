"""SIGKILL of the runner at every interesting point: no trial is lost, none runs twice, none runs beside itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from adapters import doomed_runner, restless_runner
from adapters.contracts import a_record, until, until_ended, until_running
from adapters.local_world import LocalWorld, a_local_study
from adapters.restlessness import run_killed_again_and_again
from seatrial.adapters.local import launch, records
from seatrial.adapters.local.claim import Claim
from seatrial.adapters.local.files import is_locked
from seatrial.adapters.local.layout import StudyDirectory
from seatrial.adapters.local.resources import Share
from seatrial.decide.attempts import Phase
from seatrial.errors import TransientError, UsageError

pytestmark = pytest.mark.slow

NOTES_ITSELF = ("sh", "-c", "echo ran >>ran; exit 0")
WAITS = ("sh", "-c", "echo ran >>ran; while ! test -e go; do sleep 0.01; done; exit 5")
STOPPABLE = ("sh", "-c", "trap 'exit 6' TERM; echo ran >>ran; while :; do sleep 0.01; done")

BEFORE = ["share taken", "folder made", "note made", "start recorded", "before the process"]


def run_doomed(root: Path, point: str, *command: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    arguments = [sys.executable, doomed_runner.__file__, str(root), point, *command]
    return subprocess.run(arguments, env=environment, check=False).returncode


def until_true(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


def until_pid(world: LocalWorld, index: int = 0) -> int:
    until_true(lambda: records.read_pid(world.files(index)) is not None)
    return records.read_pid(world.files(index)) or 0


def warden_of(pid: int) -> int:
    """Return the parent of a trial's leader: who started it, or who takes its place when that one is gone."""
    return psutil.Process(pid).ppid()


@pytest.fixture
def make(tmp_path: Path):
    worlds: list[LocalWorld] = []

    def build(*command: str, **options: object) -> LocalWorld:
        worlds.append(LocalWorld(tmp_path, a_local_study(*command, **options)))
        return worlds[-1]

    yield build
    for world in worlds:
        world.clean()


@pytest.mark.parametrize("point", BEFORE)
async def test_a_runner_that_dies_before_the_process_starts_leaves_nothing_to_adopt(make, tmp_path: Path, point: str):
    assert run_doomed(tmp_path, point, *NOTES_ITSELF) == -signal.SIGKILL
    world = make(*NOTES_ITSELF)

    assert await world.runner.observe(world.study) == {}
    ended = await world.run()

    assert (ended.phase, ended.exit_code, ended.number) == (Phase.EXITED, 0, 0)
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_a_runner_that_dies_right_after_the_start_leaves_one_run(make, tmp_path: Path):
    assert run_doomed(tmp_path, "process started", *NOTES_ITSELF) == -signal.SIGKILL
    world = make(*NOTES_ITSELF)

    await world.start()
    ended = (await until_ended(world, "s-0"))["s-0"]

    assert (ended.phase, ended.exit_code) == (Phase.EXITED, 0)
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_a_running_orphan_is_adopted_and_its_exit_code_told(make, tmp_path: Path):
    assert run_doomed(tmp_path, "running", *WAITS) == -signal.SIGKILL
    world = make(*WAITS)
    assert (await world.runner.observe(world.study))["s-0"].phase is Phase.RUNNING

    await world.start()
    (tmp_path / "go").touch()

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.phase, ended.exit_code, ended.infrastructure) == (Phase.EXITED, 5, False)
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_an_orphan_that_ends_unwatched_is_told_as_if_it_had_been_watched(make, tmp_path: Path):
    assert run_doomed(tmp_path, "running", *WAITS) == -signal.SIGKILL
    world = make(*WAITS)
    (tmp_path / "go").touch()
    until_true(lambda: records.read_exit(world.files()) is not None)

    ended = (await world.runner.observe(world.study))["s-0"]

    assert (ended.phase, ended.exit_code) == (Phase.EXITED, 5)


@pytest.mark.parametrize("point", ["settled", "released"])
async def test_a_result_outlives_its_runner_until_it_is_released(make, tmp_path: Path, point: str):
    assert run_doomed(tmp_path, point, *NOTES_ITSELF) == -signal.SIGKILL
    world = make(*NOTES_ITSELF)

    seen = await world.runner.observe(world.study)

    assert [attempt.exit_code for attempt in seen.values()] == ([0] if point == "settled" else [])
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_a_stop_goes_on_under_the_next_runner(make, tmp_path: Path):
    assert run_doomed(tmp_path, "stopping", *STOPPABLE) == -signal.SIGKILL
    world = make(*STOPPABLE)

    ended = (await until_ended(world, "s-0"))["s-0"]

    assert (ended.phase, ended.exit_code) == (Phase.EXITED, 6)


async def test_a_grace_period_that_ran_out_between_two_runners_is_over(make):
    world = make("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1000; done", grace=1000)
    await world.start()
    await until_running(world, "s-0")
    await world.until_deaf()
    await world.runner.close()
    records.write_stop(world.files(), time.time() - 1)

    world.runner = world.make_runner()

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.exit_code, ended.reason) == (137, "SIGKILL")


async def test_an_attempt_that_was_killed_from_outside_while_nobody_looked_is_told_like_any_other(make):
    world = make("sleep", "1000")
    await world.start()
    await world.runner.close()
    os.killpg(until_pid(world), signal.SIGKILL)
    until_true(lambda: not is_locked(world.files().note))

    world.runner = world.make_runner()

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.phase, ended.reason, ended.exit_code) == (Phase.EXITED, "SIGKILL", 137)


async def test_an_attempt_that_was_killed_together_with_its_warden_is_lost(make):
    world = make("sleep", "1000")
    await world.start()
    await world.runner.close()
    pid = until_pid(world)
    os.kill(warden_of(pid), signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
    until_true(lambda: not is_locked(world.files().note))

    world.runner = world.make_runner()

    lost = (await until_ended(world, "s-0"))["s-0"]
    assert (lost.phase, lost.reason, lost.infrastructure, lost.exit_code) == (Phase.LOST, "Lost", True, None)


async def test_an_attempt_outlives_its_warden_and_the_next_one_has_another(make, tmp_path: Path):
    world = make(*WAITS)
    await world.start()
    pid = until_pid(world)
    first = warden_of(pid)
    os.kill(first, signal.SIGKILL)
    until_true(lambda: warden_of(pid) != first)

    await world.start(1)
    seen = await world.runner.observe(world.study)
    other = warden_of(until_pid(world, 1))
    (tmp_path / "go").touch()
    ended = await until_ended(world, "s-0", "s-1")

    assert [seen[name].phase for name in ("s-0", "s-1")] == [Phase.RUNNING, Phase.RUNNING]
    assert other not in {first, warden_of(os.getpid())}
    # Nobody was there to note how the first one ended.
    assert [(ended[name].phase, ended[name].exit_code) for name in ("s-0", "s-1")] == [
        (Phase.LOST, None),
        (Phase.EXITED, 5),
    ]
    assert (tmp_path / "ran").read_text() == "ran\nran\n"


async def stop_warden(world: LocalWorld) -> int:
    """Start a first trial, and let the process that did so hang."""
    await world.start()
    warden = warden_of(until_pid(world))
    os.kill(warden, signal.SIGSTOP)
    return warden


async def let_go_of_warden(world: LocalWorld) -> int:
    """Ask a warden that hangs for a second trial, and look until the next one would have another warden."""
    warden = await stop_warden(world)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(launch, "HANG_SECONDS", 0.3)
        await world.start(1)
        await until(world, lambda _: world.runner._launcher._socket is None)
    return warden


NOT_STARTED = (
    r"^attempt 0 of s-1 cannot be started: the process that starts trials was ended; the next try has another one$"
)


async def test_an_attempt_whose_warden_dies_before_it_starts_it_is_told_and_started_again(make, tmp_path: Path):
    world = make(*WAITS)
    warden = await stop_warden(world)
    await world.start(1)
    asked = await world.runner.observe(world.study)
    os.kill(warden, signal.SIGKILL)

    with pytest.raises(TransientError, match=NOT_STARTED):
        await until(world, lambda seen: "s-1" not in seen)
    seen = await world.runner.observe(world.study)
    await world.start(1)
    (tmp_path / "go").touch()
    ended = await until_ended(world, "s-0", "s-1")

    assert (asked["s-1"].phase, list(seen)) == (Phase.RUNNING, ["s-0"])
    assert (ended["s-1"].phase, ended["s-1"].exit_code) == (Phase.EXITED, 5)
    assert (tmp_path / "ran").read_text() == "ran\nran\n"


async def test_a_warden_that_hangs_holds_up_nobody_but_those_who_asked_it(make, tmp_path: Path):
    world = make(*WAITS)
    warden = await let_go_of_warden(world)
    await world.start(2)
    other = warden_of(until_pid(world, 2))

    os.kill(warden, signal.SIGCONT)
    (tmp_path / "go").touch()
    ended = await until_ended(world, "s-0", "s-1", "s-2")

    assert other != warden
    assert [ended[name].exit_code for name in ("s-0", "s-1", "s-2")] == [5, 5, 5]
    assert (tmp_path / "ran").read_text() == "ran\nran\nran\n"


async def test_a_run_that_is_hurried_does_not_wait_for_a_warden_that_hangs(make, tmp_path: Path):
    world = make(*WAITS)
    warden = await let_go_of_warden(world)

    world.runner.hurry()
    with pytest.raises(TransientError, match=NOT_STARTED):
        await until_ended(world, "s-0", "s-1")
    ended = (await until_ended(world, "s-0"))["s-0"]

    assert (ended.exit_code, ended.reason) == (137, "SIGKILL")
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert not psutil.pid_exists(warden) or psutil.Process(warden).status() == psutil.STATUS_ZOMBIE


async def test_a_stop_that_a_warden_did_not_live_to_pass_on_is_sent_again(make):
    world = make(*STOPPABLE, grace=1000)
    warden = await stop_warden(world)
    until_true(lambda: (world.root / "ran").exists())
    await world.runner.stop(world.study, a_record(0), 0)
    os.kill(warden, signal.SIGKILL)

    # It ends by the signal; nobody was there to note its code.
    ended = (await until_ended(world, "s-0"))["s-0"]

    assert (ended.phase, ended.exit_code) == (Phase.LOST, None)


async def test_an_attempt_whose_warden_is_gone_can_be_stopped(make):
    world = make("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1000; done", grace=0.3)
    await world.start()
    await world.until_deaf()
    pid = until_pid(world)
    os.kill(warden_of(pid), signal.SIGKILL)

    await world.runner.stop(world.study, a_record(0), 0)

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.exit_code, ended.reason) == (137, "SIGKILL")


@pytest.mark.parametrize("ways", [(), ("--fork",), ("--no-waitid",)])
async def test_a_warden_without_a_runner_ends_when_its_last_trial_has_ended(
    make, tmp_path: Path, ways: tuple[str, ...]
):
    world = make(*WAITS)
    world.options["warden_options"] = ways
    world.runner = world.make_runner()
    await world.start()
    warden = psutil.Process(warden_of(until_pid(world)))
    await world.runner.close()
    alive = warden.is_running()

    (tmp_path / "go").touch()
    until_true(lambda: not warden.is_running() or warden.status() == psutil.STATUS_ZOMBIE)

    assert alive
    assert records.read_exit(world.files()) == 5


async def test_a_leader_that_is_killed_alone_takes_its_command_along(make):
    world = make("sh", "-c", "echo $$ >command; exec sleep 1000")
    await world.start()
    await until_running(world, "s-0")
    pid = until_pid(world)
    command = world.root / "command"
    until_true(lambda: command.exists() and command.read_text())

    os.kill(pid, signal.SIGKILL)

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.exit_code, ended.reason) == (137, "SIGKILL")
    assert not is_locked(world.files().note)


BLANK = b" " * 24


@pytest.mark.parametrize(
    "torn", [b"", b" ", BLANK, BLANK + b'{"startedAt": 17', BLANK + b"[]", b"\x00\xff garbage", BLANK + b"\xff" * 9]
)
async def test_a_torn_note_without_a_process_is_no_start(make, torn: bytes):
    world = make(*NOTES_ITSELF)
    files = world.files()
    files.folder.mkdir(parents=True)
    world.directory.open.mkdir()
    files.note.write_bytes(torn)

    assert await world.runner.observe(world.study) == {}
    assert (await world.run()).exit_code == 0


def note_a_dead_leader(world: LocalWorld) -> None:
    files, record = world.files(), records.StartRecord(started_at=datetime.now(UTC), share=Share(), grace_seconds=1)
    files.folder.mkdir(parents=True)
    world.directory.open.mkdir()
    with files.note.open("w+b") as note:
        records.write_start(note.fileno(), record)
        os.pwrite(note.fileno(), b"  999999999\n", 0)


@pytest.mark.parametrize("torn", [b"13", b"x\n", b"         13", b"          x\n"])
@pytest.mark.parametrize("itself", [False, True])
async def test_an_exit_code_that_is_not_wholly_written_is_none(make, torn: bytes, itself: bool):
    world = make(*NOTES_ITSELF)
    note_a_dead_leader(world)
    with world.files().exit.open("wb") if itself else world.files().note.open("r+b") as file:
        file.seek(0 if itself else 12)
        file.write(torn)

    lost = (await until_ended(world, "s-0"))["s-0"]

    assert (lost.phase, lost.infrastructure) == (Phase.LOST, True)


async def test_what_a_note_says_of_an_end_is_told_with_its_time(make):
    world = make(*NOTES_ITSELF)
    note_a_dead_leader(world)
    records.write_exit(world.files(), 5)
    os.utime(world.files().note, (1764000000, 1764000000))

    ended = (await until_ended(world, "s-0"))["s-0"]

    assert (ended.phase, ended.exit_code) == (Phase.EXITED, 5)
    assert ended.finished_at == datetime.fromtimestamp(1764000000, UTC)


async def test_rubbish_among_the_notes_is_left_alone(make):
    world = make(*NOTES_ITSELF)
    world.directory.open.mkdir(parents=True)
    for name in ("noise", "s-0.x", ".tmp", "s-7.0"):
        (world.directory.open / name).touch()

    assert await world.runner.observe(world.study) == {}


def test_a_second_runner_is_refused_and_told_who_was_first(tmp_path: Path):
    directory = StudyDirectory(tmp_path / "study")
    program = (
        "import sys, pathlib; from seatrial.adapters.local.claim import Claim; from seatrial.adapters.local.layout import StudyDirectory\n"
        "with Claim(StudyDirectory(pathlib.Path(sys.argv[1]))): print('claimed', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", program, str(directory.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "claimed\n"

    with pytest.raises(UsageError, match=f"process {first.pid} runs this study"), Claim(directory):
        pass

    first.communicate("")
    with Claim(directory):
        assert directory.lock.read_text() == f"{os.getpid()}\n"


def test_trials_do_not_inherit_the_claim(tmp_path: Path):
    assert run_doomed(tmp_path, "running", "sh", "-c", "echo ran >>ran; exec sleep 1000") == -signal.SIGKILL
    world = LocalWorld(tmp_path)

    try:
        with Claim(world.directory):
            assert is_locked(world.files().note)
    finally:
        world.clean()


def test_a_study_that_is_killed_again_and_again_runs_every_trial_once(tmp_path: Path):
    code = run_killed_again_and_again(tmp_path)

    ran = Counter((tmp_path / "ran").read_text().split())
    stored = [json.loads(path.read_text()) for path in (tmp_path / "study" / "trials").glob("*.json")]
    assert code == 0
    assert len(stored) == restless_runner.TRIALS
    assert {trial["status"]["conditions"][-1]["reason"] for trial in stored} == {"Completed"}
    assert ran == {f"s-{index}.0": 1 for index in range(restless_runner.TRIALS)}
    assert list((tmp_path / "study" / "open").iterdir()) == []
