# ruff: noqa: ASYNC240 - a test waits for nobody else
"""Attempts that are forks of a process that is kept ready: whoever is killed, every trial runs, and none beside itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from adapters import doomed_runner, restless_runner
from adapters.contracts import until, until_ended, until_running
from adapters.local_world import LocalWorld, a_local_study, a_record
from adapters.restlessness import run_killed_again_and_again
from harness.processes import until_dead
from seatrial.adapters.local import group, records, warm
from seatrial.adapters.local.files import is_locked, open_locked
from seatrial.adapters.local.resources import Machine
from seatrial.decide.attempts import Phase

pytestmark = pytest.mark.slow

NOTES_ITSELF = ("python", "-c", "open('ran', 'a').write('ran\\n')")
WAITS = (
    "python",
    "-c",
    "import os, time; open('ran', 'a').write('ran\\n')\nwhile not os.path.exists('go'): time.sleep(0.01)\nraise SystemExit(5)",
)
STOPPABLE = (
    "python",
    "-c",
    "import os, signal, time; signal.signal(signal.SIGTERM, lambda *_: os._exit(6)); open('ran', 'a').write('ran\\n'); time.sleep(1000)",
)
# The runner dies at each of these. Of the first ones nothing has run, of the others the attempt runs on.
BEFORE = ["note made", "start recorded", "worker begun", "handed over", "before the order"]
AFTER = ["order sent", "warm start told"]


@pytest.fixture
def make(tmp_path: Path):
    worlds: list[LocalWorld] = []

    def build(*command: str, **options: object) -> LocalWorld:
        machine = {"machine": options.pop("machine")} if "machine" in options else {}
        worlds.append(LocalWorld(tmp_path, a_local_study(*command, **{"reuse": True, **options}), **machine))
        return worlds[-1]

    yield build
    for world in worlds:
        world.clean()


@pytest.fixture(params=[5.0, -0.5], ids=["as old as the attempt", "older than the attempt"])
def age(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks that have waited for their attempt for a while: more than is put up with where nothing but age tells whose they are."""
    monkeypatch.setattr(group, "_SLACK_SECONDS", request.param)


def run_doomed(root: Path, point: str, *command: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "REUSE": "1"}
    arguments = [sys.executable, doomed_runner.__file__, str(root), point, *command]
    return subprocess.run(arguments, env=environment, check=False).returncode


async def until_file(path: Path, text: str = "") -> None:
    deadline = time.monotonic() + 20
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline, f"{path} never came"
        await asyncio.sleep(0.01)


async def until_pid(world: LocalWorld, index: int = 0) -> int:
    await until_file(world.files(index).pid, "\n")
    return records.read_pid(world.files(index)) or 0


def kill_worker(world: LocalWorld) -> None:
    world.runner._starter._worker.process.kill()


# ---- what is the same and what is not ----------------------------------------------------------------------------------


async def test_attempts_are_forks_of_one_process_and_their_files_are_apart(make):
    world = make(
        "python", "-c", "import os; print(os.getppid() != 1, os.environ['SEATRIAL_TRIAL'], os.environ['HP_x'])"
    )

    ended = [await world.run(index, x=index / 4) for index in range(3)]

    assert [(attempt.exit_code, attempt.notes) for attempt in ended] == [(0, ())] * 3
    assert [world.output(index) for index in range(3)] == [f"True s-{index} {index / 4}\n" for index in range(3)]
    assert all(records.read_start(world.files(index)).warm for index in range(3))


async def test_what_one_attempt_does_to_a_library_the_next_one_does_not_see(make):
    world = make("python", "-c", "import json; print(hasattr(json, 'mine')); json.mine = 1")

    for index in range(2):
        await world.run(index)

    assert [world.output(index) for index in range(2)] == ["False\n", "False\n"]


async def test_gpus_are_each_attempts_own(make):
    container = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    machine = Machine(cores=4, memory_bytes=8 << 30, gpus=("GPU-a", "GPU-b"))
    program = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(1000)"
    world = make("python", "-c", program, container=container, machine=machine)

    for index in range(3):
        await world.start(index)
    for index in range(2):
        await until_file(world.files(index).output, "\n")

    seen = await world.runner.observe(world.study)
    assert {world.output(index) for index in range(2)} == {"GPU-a\n", "GPU-b\n"}
    assert (seen["s-2"].phase, seen["s-2"].reason) == (Phase.WAITING, "Insufficient")


@pytest.mark.usefixtures("age")
async def test_the_memory_of_what_was_imported_is_not_counted_twice(make):
    program = "import time; block = b'x' * (60 << 20); open('big', 'w').write('1'); time.sleep(1000)"
    world = make("python", "-c", program, container={"resources": {"limits": {"memory": "120Mi"}}})
    await world.start()
    await until_file(world.root / "big", "1")

    live = world.runner._live["s-0"]
    used = warm_group(live)

    assert 60 << 20 < used < 120 << 20


def warm_group(live) -> int:
    from seatrial.adapters.local.group import measure_group

    leader, lock = records.read_pid(live.files), live.files.note
    return measure_group(leader, live.record.started_at, lock, without_leader=live.record.warm)


@pytest.mark.usefixtures("age")
async def test_an_attempt_above_its_memory_limit_is_ended(make):
    program = "import time; block = b'x' * (200 << 20); time.sleep(1000)"
    world = make("python", "-c", program, container={"resources": {"limits": {"memory": "100Mi"}}})

    ended = await world.run()

    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


@pytest.mark.usefixtures("age")
async def test_a_process_that_left_the_group_is_ended_too(make):
    program = "import os, time\nif os.fork() == 0:\n    os.setsid(); open('stray', 'w').write(f'{os.getpid()}\\n'); time.sleep(1000)\nwhile not os.path.exists('stray'): time.sleep(0.01)"
    world = make("python", "-c", program)

    ended = await world.run()

    assert (ended.exit_code, ended.notes) == (0, ())
    assert not is_locked(world.files().note)


# ---- cold after all ----------------------------------------------------------------------------------------------------


async def test_a_variable_that_libraries_read_early_makes_its_attempt_cold(make):
    world = make("python", "-c", "print('here')", container={"env": [{"name": "MKL_DEBUG", "value": "$(HP_x)"}]})

    first, second = [await world.run(index, x=index) for index in range(2)]

    assert (first.notes, first.exit_code, second.exit_code) == ((), 0, 0)
    assert second.notes == (
        "started cold: MKL_DEBUG, which is read when libraries are loaded, is not that of the first trial",
    )


async def test_another_variable_of_the_user_arrives_warm(make):
    container = {"env": [{"name": "RATE", "value": "$(HP_x)"}]}
    world = make("python", "-c", "import os; print(os.environ['RATE'])", container=container)

    ended = [await world.run(index, x=index) for index in range(2)]

    assert [attempt.notes for attempt in ended] == [(), ()]
    assert [world.output(index) for index in range(2)] == ["0\n", "1\n"]


async def test_a_python_without_the_harness_starts_every_attempt_cold(make):
    world = make("python", "-I", "-S", "-c", "print('here')")

    ended = [await world.run(index) for index in range(2)]

    assert [(attempt.exit_code, world.output(attempt.number)) for attempt in ended] == [(0, "here\n")] * 2
    for attempt in ended:
        assert attempt.notes[0].startswith("started cold: the process that was kept ready has ended; its log is ")
    assert "No module named" in world.directory.warm_log.read_text()


async def test_libraries_that_start_threads_make_attempts_cold(make, tmp_path: Path):
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "restless.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True, name='ticker').start()\n"
    )
    container = {"env": [{"name": "PYTHONPATH", "value": str(packages)}]}
    world = make("python", "-c", "import restless; print('here')", container=container)

    ended = await world.run()

    assert (ended.exit_code, world.output()) == (0, "here\n")
    assert ended.notes == (
        "started cold: no process can be kept ready for it: importing the program's libraries starts threads (ticker)",
    )


async def test_another_program_than_the_first_one_starts_cold(make, tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(f"print('{name}')\n")
    world = make("python", "$(HP_kind).py")

    first, second = await world.run(0, kind="a"), await world.run(1, kind="b")

    assert (world.output(0), world.output(1), first.notes) == ("a\n", "b\n", ())
    assert second.notes == ("started cold: its command is another one than that of the first trial",)


# ---- the runner dies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", BEFORE)
async def test_a_runner_that_dies_before_the_order_leaves_nothing_to_adopt(make, tmp_path: Path, point: str):
    assert run_doomed(tmp_path, point, *NOTES_ITSELF) == -signal.SIGKILL
    world = make(*NOTES_ITSELF)

    assert await world.runner.observe(world.study) == {}
    ended = await world.run()

    assert (ended.phase, ended.exit_code, ended.number) == (Phase.EXITED, 0, 0)
    assert (tmp_path / "ran").read_text() == "ran\n"


@pytest.mark.parametrize("point", AFTER)
async def test_a_runner_that_dies_after_the_order_leaves_one_run(make, tmp_path: Path, point: str):
    assert run_doomed(tmp_path, point, *NOTES_ITSELF) == -signal.SIGKILL
    world = make(*NOTES_ITSELF)

    await world.start()
    ended = (await until_ended(world, "s-0"))["s-0"]

    assert (ended.phase, ended.exit_code, ended.number) == (Phase.EXITED, 0, 0)
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


@pytest.mark.parametrize("stops", [False, True])
async def test_an_adopted_attempt_that_nobody_starts_after_all_never_began(make, tmp_path: Path, stops: bool):
    assert run_doomed(tmp_path, "start recorded", *NOTES_ITSELF) == -signal.SIGKILL
    world = make(*NOTES_ITSELF)
    dying = open_locked(world.files().note)
    assert dying is not None
    assert (await world.runner.observe(world.study))["s-0"].phase is Phase.RUNNING
    if stops:
        await world.runner.stop(world.study, a_record(0), 0)

    os.close(dying)

    await until(world, lambda seen: seen == {})
    ended = await world.run()
    assert (ended.phase, ended.exit_code, ended.number) == (Phase.EXITED, 0, 0)
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_an_adopted_attempt_that_said_something_did_begin_though_nobody_noted_its_id(make, tmp_path: Path):
    assert run_doomed(tmp_path, "start recorded", *NOTES_ITSELF) == -signal.SIGKILL
    world = make(*NOTES_ITSELF)
    dying = open_locked(world.files().note)
    assert dying is not None
    await world.runner.observe(world.study)
    world.files().output.write_text("epoch 1\n")

    os.close(dying)

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.phase, ended.reason, ended.infrastructure) == (Phase.LOST, "Lost", True)
    assert world.output() == "epoch 1\n"


async def test_an_attempt_that_notes_its_id_while_it_is_looked_at_lives(make, monkeypatch: pytest.MonkeyPatch):
    world = make(*WAITS)
    await world.start()
    await until_pid(world)
    looks = iter([None])
    real = records.read_pid
    monkeypatch.setattr(records, "read_pid", lambda files: next(looks, real(files)))

    assert (await world.runner.observe(world.study))["s-0"].phase is Phase.RUNNING
    (world.root / "go").touch()

    assert (await until_ended(world, "s-0"))["s-0"].exit_code == 5


async def test_an_orphan_that_noted_its_id_late_is_adopted_all_the_same(make, tmp_path: Path):
    assert run_doomed(tmp_path, "running", *WAITS) == -signal.SIGKILL
    world = make(*WAITS)
    late = time.time() + 60
    os.utime(world.files().pid, (late, late))

    assert (await world.runner.observe(world.study))["s-0"].phase is Phase.RUNNING
    (tmp_path / "go").touch()

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.phase, ended.exit_code) == (Phase.EXITED, 5)


def test_a_leader_is_known_by_its_lock_in_a_folder_that_is_reached_by_a_link(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to("disk")
    lock = open_locked(link / "lock")
    assert lock is not None

    held = group.has_leader(os.getpid(), link / "message", None, link / "lock")
    os.close(lock)

    assert held
    assert not group.has_leader(os.getpid(), link / "message", None, link / "lock")


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


def test_a_study_that_is_killed_again_and_again_runs_every_trial_once(tmp_path: Path):
    code = run_killed_again_and_again(tmp_path, REUSE="1")

    ran = Counter((tmp_path / "ran").read_text().split())
    stored = [json.loads(path.read_text()) for path in (tmp_path / "study" / "trials").glob("*.json")]
    assert code == 0
    assert len(stored) == restless_runner.TRIALS
    assert {trial["status"]["conditions"][-1]["reason"] for trial in stored} == {"Completed"}
    assert ran == {f"s-{index}.0": 1 for index in range(restless_runner.TRIALS)}
    assert list((tmp_path / "study" / "open").iterdir()) == []


# ---- the process that is kept ready dies -------------------------------------------------------------------------------


async def test_a_worker_that_dies_before_it_is_ready_makes_its_attempts_cold(make, tmp_path: Path):
    packages = tmp_path / "site-packages"
    packages.mkdir()
    # A library whose import does not end before there is a file.
    (packages / "slow.py").write_text("import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n")
    container = {"env": [{"name": "PYTHONPATH", "value": str(packages)}]}
    world = make("python", "-c", f"import slow; {NOTES_ITSELF[-1]}", container=container)
    await world.start()
    worker = world.runner._starter._worker.process

    worker.kill()
    worker.wait()
    (tmp_path / "go").touch()

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.phase, ended.exit_code, ended.number) == (Phase.EXITED, 0, 0)
    assert ended.notes[0].startswith("started cold: the process that was kept ready has ended")
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_a_worker_that_dies_with_an_order_in_hand_gives_it_back(make, tmp_path: Path, monkeypatch):
    world = make(*NOTES_ITSELF)
    await world.run(0)
    # Stopped, it takes no order; killed, it never did.
    os.kill(world.runner._starter._worker.process.pid, signal.SIGSTOP)
    await world.start(1)

    kill_worker(world)

    ended = (await until_ended(world, "s-1"))["s-1"]
    assert (ended.phase, ended.exit_code, ended.number) == (Phase.EXITED, 0, 0)
    assert (tmp_path / "ran").read_text() == "ran\n" * 2


async def test_attempts_outlive_the_worker_that_started_them(make, tmp_path: Path):
    world = make(*WAITS)
    await world.start()
    await until_file(tmp_path / "ran", "ran")

    kill_worker(world)
    await until(world, lambda _: world.runner._starter._worker is None)
    (tmp_path / "go").touch()

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.phase, ended.exit_code, ended.infrastructure) == (Phase.EXITED, 5, False)


async def test_after_its_death_another_one_is_made_but_not_for_ever(make):
    world = make("python", "-c", "print('here')")

    for index in range(3):
        assert (await world.run(index)).notes == ()
        kill_worker(world)
        await until(world, lambda _: world.runner._starter._worker is None)

    assert (await world.run(3)).notes[0].startswith("started cold: the process that was kept ready has ended")
    assert world.runner._starter._worker is None


async def test_a_worker_that_hangs_is_ended_and_its_attempts_start_cold(make, monkeypatch: pytest.MonkeyPatch):
    world = make(*NOTES_ITSELF)
    await world.run(0)
    monkeypatch.setattr(warm, "_PATIENCE_SECONDS", 0.05)
    os.kill(world.runner._starter._worker.process.pid, signal.SIGSTOP)

    ended = await world.run(1)

    assert (ended.exit_code, ended.notes[0].split(";")[0]) == (
        0,
        "started cold: the process that was kept ready has not answered within 0.05 s",
    )


# ---- leader and child die ----------------------------------------------------------------------------------------------


async def test_a_child_that_is_killed_is_told_by_its_leader(make):
    world = make("python", "-c", "import os, signal; print('here', flush=True); os.kill(os.getpid(), signal.SIGKILL)")

    ended = await world.run()

    assert (ended.phase, ended.exit_code, ended.reason) == (Phase.EXITED, 137, "SIGKILL")


@pytest.mark.usefixtures("age")
async def test_a_leader_that_is_killed_takes_its_child_along_and_is_lost(make):
    world = make("python", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(1000)")
    await world.start()
    await until_file(world.files().output, "\n")
    child = int(world.output())

    os.kill(await until_pid(world), signal.SIGKILL)

    lost = (await until_ended(world, "s-0"))["s-0"]
    assert (lost.phase, lost.infrastructure) == (Phase.LOST, True)
    assert not is_locked(world.files().note)
    await until_dead(child)


async def test_an_end_is_found_although_the_process_that_would_tell_hangs(make):
    world = make("python", "-c", "import time; print('here', flush=True); time.sleep(1000)")
    await world.start()
    await until_file(world.files().output, "\n")
    # It says that it has started an attempt after that one may have printed something.
    await until(world, lambda _: world.runner._live["s-0"].minded)
    worker = world.runner._starter._worker.process
    worker.send_signal(signal.SIGSTOP)
    try:
        world.runner.hurry()

        assert (await until_ended(world, "s-0"))["s-0"].exit_code == 137
    finally:
        worker.send_signal(signal.SIGCONT)


# ---- stopping ----------------------------------------------------------------------------------------------------------


async def test_an_attempt_that_waits_for_the_worker_is_told_to_stop_and_never_runs(make, tmp_path: Path):
    world = make(*NOTES_ITSELF)
    await world.start()

    await world.runner.stop(world.study, (await _trial(0)), 0)

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.phase, ended.exit_code) == (Phase.EXITED, 143)
    assert not (tmp_path / "ran").exists()


async def _trial(index: int):
    from adapters.contracts import a_record

    return a_record(index)


@pytest.mark.usefixtures("age")
async def test_a_stop_reaches_a_program_that_writes_its_farewell(make):
    world = make(*STOPPABLE)
    await world.start()
    await until_file(world.root / "ran", "ran")

    await world.runner.stop(world.study, (await _trial(0)), 0)

    assert (await until_ended(world, "s-0"))["s-0"].exit_code == 6


@pytest.mark.usefixtures("age")
async def test_a_hurried_end_reaches_forks_and_those_that_wait(make):
    world = make("python", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)", grace=1000)
    await world.start(0)
    await until_pid(world)
    await until_running(world, "s-0")

    world.runner.hurry()

    assert (await until_ended(world, "s-0"))["s-0"].exit_code in {137, 143}
