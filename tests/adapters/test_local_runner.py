# ruff: noqa: ASYNC240 - a test waits for nobody else
"""What only real processes can show."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from adapters.contracts import a_record, until_ended, until_running
from adapters.local_world import MACHINE, LocalWorld, a_local_study
from harness.processes import until_dead
from seatrial.adapters.local.logs import LogLimits
from seatrial.adapters.local.resources import Machine
from seatrial.adapters.local.runner import LocalRunner
from seatrial.api.study import Study
from seatrial.decide.attempts import Phase, ReportStatus
from seatrial.errors import SpecError, TransientError

GPUS = Machine(cores=4, memory_bytes=8 << 30, gpus=("GPU-a", "GPU-b", "GPU-c"))


@pytest.fixture
def make(tmp_path: Path):
    worlds: list[LocalWorld] = []

    def build(study: Study | None = None, **options: object) -> LocalWorld:
        worlds.append(LocalWorld(tmp_path, study, **options))
        return worlds[-1]

    yield build
    for world in worlds:
        world.clean()


async def until_file(path: Path) -> str:
    """Return what stands in a file as soon as it is there."""
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} never came"
        await asyncio.sleep(0.01)
    return path.read_text()


# ---- what a trial is given ---------------------------------------------------------------------------------------------


async def test_a_trial_is_given_its_environment(make):
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    world = make(
        a_local_study("python", "-c", program, steps={"unit": "epoch", "max": 27}),
        environment={"PATH": "/usr/bin:/bin", "HOME": "/home/a", "HP_old": "1", "SEATRIAL_RUNGS": "[1]"},
    )

    ended = await world.run(3, lr=0.0031, hidden=128, optimizer="adamw", nesterov=True)

    given = json.loads(world.output(3))
    assert ended.exit_code == 0
    assert json.loads(given["SEATRIAL_PARAMETERS"]) == {
        "lr": 0.0031,
        "hidden": 128,
        "optimizer": "adamw",
        "nesterov": True,
    }
    assert [given[f"HP_{n}"] for n in ("lr", "hidden", "optimizer", "nesterov")] == ["0.0031", "128", "adamw", "true"]
    assert tuple(given[f"SEATRIAL_{n}"] for n in ("STUDY", "TRIAL", "TRIAL_INDEX", "ATTEMPT", "SEED")) == (
        "s",
        "s-3",
        "3",
        "0",
        "7",
    )
    assert (given["SEATRIAL_MAX_STEP"], given["SEATRIAL_STEP_UNIT"]) == ("27", "epoch")
    assert json.loads(given["SEATRIAL_OBJECTIVES"]) == [{"metric": "loss", "goal": "minimize"}]
    assert Path(given["SEATRIAL_CHECKPOINT_DIR"]) == world.directory.checkpoints("s-3").absolute()
    # As on a cluster: whoever saves a checkpoint makes it.
    assert not world.directory.checkpoints("s-3").exists()
    assert given["HOME"] == "/home/a"
    assert given["PATH"].startswith(str(Path(sys.executable).parent) + ":")
    assert given["OMP_NUM_THREADS"] == "2"  # 4 cores, 2 parallel trials
    assert "HP_old" not in given
    assert "SEATRIAL_RUNGS" not in given


async def test_a_thread_count_of_the_user_stays(make):
    world = make(
        a_local_study(
            "sh",
            "-c",
            "echo $OMP_NUM_THREADS $MKL_NUM_THREADS",
            container={"env": [{"name": "MKL_NUM_THREADS", "value": "7"}]},
        ),
        environment={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "3"},
    )

    await world.run()

    assert world.output() == "3 7\n"


async def test_command_and_args_are_expanded_and_never_interpreted(make, tmp_path: Path):
    world = make(
        a_local_study(
            "printf",
            r"%s\n",
            container={
                "args": [
                    "$(HP_x)",
                    "$$(HP_x)",
                    "$(UNKNOWN)",
                    "$(touch gone)",
                    "`touch gone`",
                    "a 'b' \"c\" ; exit 9",
                    "",
                ]
            },
        )
    )

    ended = await world.run(x="$(HP_y)", y="no")

    expected = ["$(HP_y)", "$(HP_x)", "$(UNKNOWN)", "$(touch gone)", "`touch gone`", "a 'b' \"c\" ; exit 9", ""]
    assert world.output().split("\n")[:-1] == expected
    assert ended.exit_code == 0
    assert not (tmp_path / "gone").exists()


async def test_a_name_that_is_a_word_of_the_shell_is_looked_up_as_a_program(make, tmp_path: Path):
    program = tmp_path / "exit"
    program.write_text("#!/bin/sh\necho I am a program\n")
    program.chmod(0o755)
    world = make(a_local_study("exit", "5"), environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})

    ended = await world.run()

    assert (ended.exit_code, world.output()) == (0, "I am a program\n")


async def test_a_variable_whose_name_is_no_identifier_arrives(make):
    world = make(a_local_study("/usr/bin/env", container={"env": [{"name": "my.dotted-name", "value": "a b"}]}))

    await world.run()

    assert "my.dotted-name=a b" in world.output().splitlines()


@pytest.mark.parametrize("ways", [(), ("--fork",)])
async def test_a_script_that_names_no_program_is_run_by_the_shell(make, tmp_path: Path, ways: tuple[str, ...]):
    script = tmp_path / "train"
    script.write_text('echo "I am $0 with $1"\nexit 4\n')
    script.chmod(0o755)
    world = make(a_local_study("./train", "one"), warden_options=ways)

    ended = await world.run()

    assert (ended.exit_code, world.output()) == (4, f"I am {script} with one\n")


@pytest.mark.parametrize("ways", [(), ("--fork",)])
async def test_a_program_that_cannot_be_run_ends_the_trial_with_126_and_the_next_one_runs(
    make, tmp_path: Path, ways: tuple[str, ...]
):
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    world = make(a_local_study("./broken"), warden_options=ways)

    refused = await world.run()
    world.study = a_local_study("sh", "-c", "exit 3")
    ended = await world.run(1)

    assert (refused.exit_code, ended.exit_code) == (126, 3)
    assert "cannot be started: No such file or directory" in world.output()


async def test_what_the_system_will_not_start_now_is_told_and_can_be_started_again(make):
    world = make(a_local_study("sh", "-c", "exit 3"))
    await world.run()
    warden = psutil.Process(world.runner._launcher._process.pid)
    held, usual = warden.num_fds(), warden.rlimit(psutil.RLIMIT_NOFILE)
    # No room for the two that come with a request, and then for the next one's.
    for limit in (held + 1, held):
        warden.rlimit(psutil.RLIMIT_NOFILE, (limit, usual[1]))
        await world.start(1)
        with pytest.raises(
            TransientError, match=r"^attempt 0 of s-1 cannot be started: Too many open files; make room for it$"
        ):
            await until_ended(world, "s-1")
    seen = await world.runner.observe(world.study)
    warden.rlimit(psutil.RLIMIT_NOFILE, usual)

    assert list(seen) == ["s-0"]
    assert (await world.run(1)).exit_code == 3
    assert warden.is_running()


async def test_what_no_system_would_start_ends_the_trial_and_not_who_starts_trials(make):
    world = make(a_local_study("sh", "-c", "exit 3"), environment={**os.environ, "": "nameless"})

    ended = await world.run()

    assert ended.exit_code == 126
    assert "cannot be started: Invalid argument" in world.output()


async def test_an_environment_too_long_for_the_system_ends_the_trial_with_126(make):
    # Longer than one message between two processes, and than Linux takes for one variable.
    world = make(a_local_study("true", container={"env": [{"name": "LONG", "value": "x" * 5_000_000}]}))

    assert (await world.run()).exit_code == 126


@pytest.mark.parametrize("ways", [(), ("--fork",)])
async def test_a_trial_has_nothing_of_its_starter_but_its_lock(make, ways: tuple[str, ...]):
    program = "import os; print(sorted(os.listdir('/dev/fd'))[:3], len(os.listdir('/dev/fd')), os.getpid() == os.getsid(0) == os.getpgid(0))"
    world = make(a_local_study("python", "-c", program))
    world.options["warden_options"] = ways
    world.runner = world.make_runner()

    await world.run()

    # Standard input, output and error, the lock, and the folder that is being listed.
    assert world.output().splitlines()[0] == "['0', '1', '2'] 5 True"


async def test_the_working_directory_is_the_studys_folder_unless_an_existing_one_is_named(make, tmp_path: Path):
    (tmp_path / "there").mkdir()
    for index, (named, expected) in enumerate(
        [(None, tmp_path), (str(tmp_path / "there"), tmp_path / "there"), ("/app/none", tmp_path)]
    ):
        world = make(a_local_study("pwd", container={"workingDir": named} if named else None))

        await world.run(index)

        assert world.output(index).strip() == str(expected)


async def test_an_image_without_a_command_is_refused_with_its_place(make):
    world = make()
    world.study = Study.model_validate(
        {
            "apiVersion": "seatrial.dev/v1alpha1",
            "kind": "Study",
            "metadata": {"name": "s"},
            "spec": {
                "objectives": [{"metric": "loss", "goal": "minimize"}],
                "parameters": [{"name": "x", "type": "float", "min": 0, "max": 1}],
                "trial": {"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}},
            },
        }
    )

    with pytest.raises(SpecError, match=r"containers\[0\] has no command"):
        await world.start()
    assert await world.runner.observe(world.study) == {}


async def test_a_program_that_does_not_exist_ends_the_trial_with_127_and_its_name(make):
    world = make(a_local_study("no-such-program"))

    ended = await world.run()

    assert (ended.phase, ended.exit_code) == (Phase.EXITED, 127)
    assert "no-such-program" in ended.message
    assert "install it" in ended.message


async def test_a_program_that_cannot_be_run_ends_the_trial(make, tmp_path: Path):
    (tmp_path / "broken").write_bytes(b"\x7fELF garbage")
    (tmp_path / "broken").chmod(0o755)
    world = make(a_local_study("./broken"))

    ended = await world.run()

    assert ended.phase is Phase.EXITED
    assert ended.exit_code != 0


# ---- resources ---------------------------------------------------------------------------------------------------------


async def test_gpus_are_shared_out_and_never_twice(make):
    study = a_local_study(
        "sh",
        "-c",
        'echo "$CUDA_VISIBLE_DEVICES"; exec sleep 1000',
        container={"resources": {"limits": {"nvidia.com/gpu": 2}}},
    )
    world = make(study, machine=GPUS)
    await world.start(0)
    await world.start(1)

    seen = await until_running(world, "s-0")

    assert (seen["s-0"].phase, seen["s-0"].gpus) == (Phase.RUNNING, 2)
    assert seen["s-1"].message == "Insufficient nvidia.com/gpu: 2 asked for, 1 of 3 free"
    assert await until_file(world.files(0).output) == "GPU-a,GPU-b\n"
    await world.runner.stop(study, a_record(0), 0)
    await until_running(world, "s-1")
    assert await until_file(world.files(1).output) == "GPU-a,GPU-b\n"


async def test_a_trial_that_asks_for_no_gpu_sees_none(make):
    world = make(a_local_study("sh", "-c", 'echo "[$CUDA_VISIBLE_DEVICES]"'), machine=GPUS)

    await world.run()

    assert world.output() == "[]\n"


async def test_a_gpu_that_the_machine_lacks_is_waited_for_in_words(make):
    world = make(a_local_study("true", container={"resources": {"limits": {"nvidia.com/gpu": "1"}}}))
    await world.start()

    seen = (await world.runner.observe(world.study))["s-0"]

    assert (seen.phase, seen.reason) == (Phase.WAITING, "Insufficient")
    assert seen.message.startswith("Insufficient nvidia.com/gpu: 1 asked for, this machine has 0")


async def test_gpus_can_be_done_without_on_request(make):
    study = a_local_study(
        "sh", "-c", 'echo "[$CUDA_VISIBLE_DEVICES]"', container={"resources": {"limits": {"nvidia.com/gpu": 1}}}
    )
    world = make(study, ignore_gpus=True)

    ended = await world.run()

    assert (ended.exit_code, world.output(), ended.gpus) == (0, "[]\n", 0)


async def test_gpus_held_by_an_attempt_stay_held_through_a_new_runner(make):
    study = a_local_study("sleep", "1000", container={"resources": {"limits": {"nvidia.com/gpu": 2}}})
    world = make(study, machine=GPUS)
    await world.start(0)
    await until_running(world, "s-0")

    await world.replace_runner()
    await world.start(1)

    seen = await world.runner.observe(study)
    assert (seen["s-0"].phase, seen["s-1"].phase) == (Phase.RUNNING, Phase.WAITING)


async def test_more_cores_than_the_machine_has_run_alone_with_a_note(make):
    world = make(a_local_study("sleep", "1000", container={"resources": {"requests": {"cpu": "16"}}}))
    await world.start(0)
    await world.start(1)

    seen = await until_running(world, "s-0")

    assert seen["s-1"].phase is Phase.WAITING
    assert any("16 cores" in note for note in seen["s-0"].notes)


@pytest.mark.slow
async def test_a_trial_above_its_memory_limit_is_ended_as_a_pod_would_be(make):
    program = "import time; block = b'x' * (200 << 20); time.sleep(1000)"
    world = make(a_local_study(sys.executable, "-c", program, container={"resources": {"limits": {"memory": "100Mi"}}}))

    ended = await world.run()

    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")
    assert "100 MiB" in ended.message


# ---- ends --------------------------------------------------------------------------------------------------------------


async def test_a_signal_is_named_and_the_last_lines_are_quoted(make):
    world = make(a_local_study("sh", "-c", "echo one; echo two >&2; kill -SEGV $$$$"))

    ended = await world.run()

    assert (ended.exit_code, ended.reason) == (139, "SIGSEGV")
    assert "one\ntwo" in ended.message


async def test_the_termination_message_is_read_at_the_end(make):
    text = '{"v": 1, "status": "diverged", "step": 3, "metrics": {"loss": {"last": NaN}}, "message": "it blew up"}'
    world = make(a_local_study("sh", "-c", f"echo '{text}' >$SEATRIAL_TERMINATION_PATH; exit 1"))

    ended = await world.run()

    assert ended.report is not None
    assert (ended.report.status, ended.report.message) == (ReportStatus.DIVERGED, "it blew up")


async def test_a_garbled_termination_message_is_a_note(make):
    world = make(a_local_study("sh", "-c", "head -c 300 /dev/urandom >$SEATRIAL_TERMINATION_PATH"))

    ended = await world.run()

    assert (ended.exit_code, ended.report) == (0, None)
    assert any("termination message" in note for note in ended.notes)


async def test_what_a_trial_leaves_running_ends_with_it(make):
    world = make(a_local_study("sh", "-c", "sleep 1000 & echo $! >child; (sleep 1000 & echo $! >grandchild)"))

    ended = await world.run()

    assert ended.exit_code == 0
    for name in ("child", "grandchild"):
        await until_dead(int((world.root / name).read_text()))


async def test_a_process_that_left_the_group_is_ended_too(make):
    program = (
        "import subprocess; p = subprocess.Popen(['sleep', '1000'], start_new_session=True, close_fds=False);"
        "open('stray', 'w').write(str(p.pid))"
    )
    world = make(a_local_study(sys.executable, "-c", program))

    ended = await world.run()

    assert ended.exit_code == 0
    await until_dead(int((world.root / "stray").read_text()))


async def test_stop_reaches_a_trial_that_writes_its_farewell(make):
    program = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
    world = make(a_local_study("sh", "-c", program))
    await world.start()
    await until_file(world.files().output)

    began = time.monotonic()
    await world.runner.stop(world.study, a_record(0), 0)
    returned = time.monotonic()

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert returned - began < 5  # it does not wait for the grace period of 30 s
    assert ended.exit_code == 0
    assert world.output().startswith("ready\n")
    assert world.output().endswith("bye\n")
    assert world.files().stop.exists()


async def test_a_whole_group_that_is_deaf_to_sigterm_is_killed(make):
    program = "trap '' TERM; (trap '' TERM; echo $$ >leader; sleep 1000 & echo $! >child; wait) & wait"
    world = make(a_local_study("sh", "-c", program, grace=0.2))
    await world.start()
    child = int(await until_file(world.root / "child"))

    await world.runner.stop(world.study, a_record(0), 0)

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.exit_code, ended.reason) == (137, "SIGKILL")
    await until_dead(child)


async def stopped_on_a_full_disk(world, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stop a deaf trial while nothing can be written, and hold that it was killed; return what failed."""
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr("seatrial.adapters.local.records.write_atomically", full)

    await world.runner.stop(world.study, a_record(0), 0)

    ended = (await until_ended(world, "s-0"))["s-0"]
    assert (ended.exit_code, ended.reason) == (137, "SIGKILL")
    assert ended.message.startswith("did not end by itself within 0.2 s")
    return full


async def test_a_deaf_trial_that_has_filled_the_disk_is_killed(make, monkeypatch: pytest.MonkeyPatch):
    world = make(a_local_study(grace=0.2))
    await world.start(kind="deaf")
    await until_running(world, "s-0")
    await world.until_deaf()
    full = await stopped_on_a_full_disk(world, monkeypatch)

    assert full.call_count == 2


async def test_a_trial_of_an_earlier_runner_that_has_filled_the_disk_is_killed(make, monkeypatch: pytest.MonkeyPatch):
    world = make(a_local_study(grace=0.2))
    await world.start(kind="deaf")
    await until_running(world, "s-0")
    await world.until_deaf()
    await world.replace_runner()
    await stopped_on_a_full_disk(world, monkeypatch)


async def test_a_second_interrupt_kills_what_is_left_of_the_grace_period(make):
    world = make(a_local_study(grace=1000))
    await world.start(kind="deaf")
    await until_running(world, "s-0")
    await world.until_deaf()
    await world.runner.stop(world.study, a_record(0), 0)

    world.runner.hurry()

    assert (await until_ended(world, "s-0"))["s-0"].exit_code == 137


# ---- output ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_flood_of_output_keeps_its_beginning_and_its_end(make):
    program = "import sys\nfor i in range(400_000): print('line', i)\nsys.exit(2)"
    limits = LogLimits(most_bytes=1 << 20, head_bytes=1000, tail_bytes=5000)
    world = make(a_local_study(sys.executable, "-c", program), log_limits=limits)

    ended = await world.run()

    text = world.output()
    assert world.files().output.stat().st_size <= 1 << 20
    assert text.startswith("line 0\nline 1\n")
    assert "bytes of output were cut out here]" in text
    assert text.endswith("line 399999\n")
    assert ended.message.endswith("line 399999")


async def test_bytes_that_are_no_text_do_no_harm(make):
    program = "import os; os.write(1, bytes(range(256)) * 50 + b'\\x1b[31mred\\x1b[0m last\\n'); os._exit(4)"
    world = make(a_local_study(sys.executable, "-c", program))

    ended = await world.run()
    curves = await world.metrics.read(world.study, {"s-0": ended})

    assert ended.message.endswith("red last")
    assert "\x1b" not in ended.message
    assert len(ended.message) <= 1000
    assert curves == {"s-0": {}}


# ---- waiting -----------------------------------------------------------------------------------------------------------


async def test_waiting_ends_with_the_trial_and_not_with_the_timeout(make):
    world = make(a_local_study("sh", "-c", "read line <gate"))
    os.mkfifo(world.root / "gate")
    await world.start()
    await world.runner.observe(world.study)
    waiting = asyncio.create_task(world.runner.wait(1000))

    await asyncio.to_thread((world.root / "gate").write_text, "go\n")

    await asyncio.wait_for(waiting, 20)
    assert (await until_ended(world, "s-0"))["s-0"].exit_code == 0


async def test_waiting_ends_with_an_observation(make):
    world = make(a_local_study("sleep", "1000"))
    await world.start()
    await until_running(world, "s-0")
    waiting = asyncio.create_task(world.runner.wait(1000))

    world.files().observations.write_text('{"step": 1, "metrics": {"loss": 1}}\n')

    await asyncio.wait_for(waiting, 20)


async def test_waiting_gives_up_at_its_timeout(make):
    world = make()
    await world.runner.observe(world.study)

    await asyncio.wait_for(world.runner.wait(0.01), 20)


async def test_released_attempts_are_not_looked_at_again(make, monkeypatch: pytest.MonkeyPatch):
    world = make(a_local_study("true"))
    for index in range(3):
        await world.run(index)
        await world.runner.release(world.study, a_record(index), 0)
    await world.replace_runner()
    asked: list[object] = []
    monkeypatch.setattr("seatrial.adapters.local.runner.find_attempt", lambda *args: asked.append(args))

    assert await world.runner.observe(world.study) == {}
    assert asked == []


async def test_a_runner_without_a_machine_looks_at_this_one(tmp_path: Path):
    runner = LocalRunner(LocalWorld(tmp_path).directory, tmp_path, environment={"CUDA_VISIBLE_DEVICES": "2, GPU-x,-1"})

    assert runner._machine.gpus == ("2", "GPU-x")
    assert runner._machine.cores >= 1
    assert runner._machine.memory_bytes > MACHINE.memory_bytes / 64


async def test_a_runner_that_finds_the_disk_full_finds_what_an_earlier_one_left_when_there_is_room(
    make, monkeypatch: pytest.MonkeyPatch
):
    world = make()
    await world.start(kind="long")
    await until_running(world, "s-0")
    await world.replace_runner()
    with monkeypatch.context() as full:
        full.setattr(Path, "mkdir", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(TransientError, match="No space left on device; make room on the disk"):
            await world.runner.observe(world.study)

    assert (await world.runner.observe(world.study))["s-0"].phase is Phase.RUNNING
