"""How a script may end, and what it leaves: real processes, real signals."""

import errno
import signal
from pathlib import Path

import pytest

from harness.scripts import ATrial
from seatrial_harness.files import write_atomically

TRAINING = """
    trial = seatrial.start(lr=0.1)
    for epoch in trial.steps(4):
        trial.report(epoch, val=epoch / 10)
"""


def test_a_script_that_runs_to_its_end_has_succeeded(trial: ATrial) -> None:
    ended = trial.run(TRAINING)

    assert (ended.code, ended.status, ended.err) == (0, "succeeded", "")
    assert ended.message == {
        "v": 1,
        "status": "succeeded",
        "step": 4,
        "metrics": {"val": {"last": 0.4, "lastStep": 4, "min": 0.1, "max": 0.4, "minStep": 1, "maxStep": 4}},
        "curve": {"metric": "val", "points": [[1, 0.1], [2, 0.2], [3, 0.3], [4, 0.4]]},
        "stepsTrained": 4,
        "message": "",
    }
    assert [(seen["step"], seen["metrics"]) for seen in ended.observations] == [
        (step, {"val": step / 10}) for step in (1, 2, 3, 4)
    ]


def test_the_study_s_last_step_wins_over_the_script_s(trial: ATrial) -> None:
    ended = trial.with_env(SEATRIAL_MAX_STEP="2").run(TRAINING)

    assert [seen["step"] for seen in ended.observations] == [1, 2]


def test_an_exception_fails_the_trial_with_its_words_its_place_and_its_exit_code(trial: ATrial) -> None:
    ended = trial.run(TRAINING + "        raise ValueError('no such layer')\n")

    assert (ended.code, ended.status) == (1, "failed")
    assert ended.message is not None
    assert ended.message["message"] == "ValueError: no such layer (script.py:6)"
    assert "Traceback" in ended.err


@pytest.mark.parametrize(
    "failure",
    [
        "raise MemoryError('16 GiB')",
        "raise type('OutOfMemoryError', (RuntimeError,), {})('CUDA')",
        "raise RuntimeError('CUDA error: out of memory')",
    ],
)
def test_running_out_of_memory_is_infeasible_not_failed(trial: ATrial, failure: str) -> None:
    ended = trial.run(TRAINING + f"        {failure}\n")

    assert (ended.code, ended.status) == (1, "infeasible")
    assert ended.message is not None
    assert str(ended.message["message"]).startswith("OutOfMemory: ")


@pytest.mark.parametrize(
    "line", ["trial.infeasible('heads must divide hidden')", "raise seatrial.Infeasible('heads must divide hidden')"]
)
def test_a_script_may_refuse_its_assignment(trial: ATrial, line: str) -> None:
    ended = trial.run(TRAINING + f"        {line}\n")

    assert (ended.code, ended.status) == (1, "infeasible")
    assert ended.message is not None
    assert ended.message["message"] == "heads must divide hidden"
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("last", ["nan", "inf", "-inf"])
def test_an_objective_that_ends_without_a_number_has_diverged(trial: ATrial, last: str) -> None:
    ended = trial.run(TRAINING + f"    trial.report(5, val=float('{last}'))\n")

    assert ended.status == "diverged"
    assert ended.message is not None
    assert ended.message["metrics"]["val"]["max"] == 0.4
    assert ended.message["message"] == f"val is {last} at step 5"


def test_a_nan_on_the_way_is_no_divergence(trial: ATrial) -> None:
    ended = trial.run("trial = seatrial.start()\ntrial.report(1, val=float('nan'))\ntrial.report(2, val=0.5)\n")

    assert ended.status == "succeeded"


def test_an_objective_that_was_never_reported_is_named(trial: ATrial) -> None:
    ended = trial.run("trial = seatrial.start()\ntrial.report(1, accuracy=0.9)\n")

    assert ended.message is not None
    assert ended.message["message"] == "never reported: val (reported: accuracy)"


def test_the_exit_code_of_the_script_is_kept(trial: ATrial) -> None:
    assert trial.run(TRAINING + "    import sys; sys.exit(3)\n").code == 3


def test_sigterm_ends_the_loop_at_the_next_step_with_a_checkpoint(trial: ATrial) -> None:
    process = trial.start("""
        trial = seatrial.start()
        for epoch in trial.steps(10**9):
            trial.report(epoch, val=epoch)
            trial.save(epoch=epoch)
            if epoch == 1:
                print("ready", flush=True)
        print("after the loop")
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGTERM)
    ended = trial.end(process)

    assert (ended.code, ended.out, ended.status) == (0, "after the loop\n", "stopped")
    assert ended.message is not None
    assert ended.message["checkpoint"]["step"] == ended.message["step"] == ended.observations[-1]["step"]


def test_a_script_that_never_asks_dies_of_sigterm_but_leaves_its_message_and_whole_lines(trial: ATrial) -> None:
    process = trial.start("""
        import itertools
        trial = seatrial.start()
        for epoch in itertools.count(1):
            trial.report(epoch, val=epoch)
            if epoch == 5000:
                print("ready", flush=True)
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGTERM)
    ended = trial.end(process)

    assert (ended.code, ended.status) == (-signal.SIGTERM, "stopped")
    assert ended.message is not None
    assert [seen["step"] for seen in ended.observations] == list(range(1, ended.message["step"] + 1))


def test_sigterm_after_the_last_step_does_not_take_the_result_away(trial: ATrial) -> None:
    process = trial.start(TRAINING + "    print('ready', flush=True)\n    input()\n")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGTERM)
    ended = trial.end(process)

    assert (ended.code, ended.status) == (-signal.SIGTERM, "succeeded")


def test_a_second_sigterm_ends_a_script_that_does_not_come_to_its_next_step(trial: ATrial) -> None:
    process = trial.start("""
        import os, signal
        signals, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told)
        trial = seatrial.start()
        for epoch in trial.steps(2):
            print("ready", flush=True)
            while True:
                os.read(signals, 1)  # unlike pause(), it cannot miss a signal that came a moment earlier
                print("still here", flush=True)
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "still here\n"

    process.send_signal(signal.SIGTERM)
    ended = trial.end(process)

    assert (ended.code, ended.status) == (-signal.SIGTERM, "stopped")


def test_the_user_s_own_sigterm_handler_is_called_as_well(trial: ATrial) -> None:
    process = trial.start("""
        import signal, sys
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
        trial = seatrial.start()
        trial.report(1, val=1)
        print("ready", flush=True)
        input()
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGTERM)
    ended = trial.end(process)

    assert (ended.code, ended.status) == (7, "stopped")


def test_the_stop_file_ends_the_loop_without_a_signal(trial: ATrial) -> None:
    ended = trial.run("""
        import pathlib, os
        trial = seatrial.start()
        for epoch in trial.steps(10**9):
            trial.report(epoch, val=epoch)
            if epoch == 3:
                pathlib.Path(os.environ["SEATRIAL_STOP_PATH"]).touch()
    """)

    assert (ended.code, ended.status) == (0, "stopped")


def test_a_stop_that_comes_too_late_is_a_success(trial: ATrial) -> None:
    ended = trial.run(TRAINING + "    open('stop', 'w').close()\n    trial.should_stop()\n")

    assert ended.status == "succeeded"


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 15)", "trial.report(99, val=99); sys.exit(3)"])
def test_a_forked_worker_neither_reports_nor_ends_the_trial(trial: ATrial, how: str) -> None:
    ended = trial.run(f"""
        import os, pathlib, sys
        trial = seatrial.start()
        trial.report(1, val=0.5)
        pid = os.fork()
        if pid == 0:
            {how}
        os.waitpid(pid, 0)
        print(pathlib.Path("message.json").exists())
    """)

    assert (ended.out, ended.status) == ("False\n", "succeeded")
    assert [seen["step"] for seen in ended.observations] == [1]


def test_a_started_worker_reads_parameters_but_does_not_report(trial: ATrial) -> None:
    ended = trial.run("""
        import subprocess, sys
        trial = seatrial.start()
        trial.report(1, val=0.5)
        worker = "import seatrial_harness as s; t = s.start(); print(t.lr); t.report(9, val=9)"
        print(subprocess.run([sys.executable, "-c", worker], capture_output=True, text=True).stdout)
    """)

    assert ended.out.strip() == "0.5"
    assert [seen["step"] for seen in ended.observations] == [1]


def test_only_rank_0_of_a_distributed_training_speaks(trial: ATrial) -> None:
    ended = trial.with_env(RANK="1").run(TRAINING)

    assert (ended.code, ended.message, ended.observations) == (0, None, [])


def test_a_longer_message_behind_a_link_is_replaced_in_place_and_the_link_stays(trial: ATrial) -> None:
    target = trial.folder / "mounted-log"
    target.write_text("x" * 5000)
    (trial.folder / "message.json").symlink_to(target)

    ended = trial.run(TRAINING)

    assert ended.status == "succeeded"
    assert (trial.folder / "message.json").is_symlink()
    assert target.stat().st_size < 2048


def test_a_message_that_nothing_can_be_renamed_over_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kubelet mounts /dev/termination-log as a file: a rename over it is refused as busy.
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    path = tmp_path / "termination-log"
    path.write_text("x" * 5000)

    write_atomically(path, b"{}")

    assert path.read_bytes() == b"{}"
    assert list(tmp_path.iterdir()) == [path]


def test_a_message_that_cannot_be_written_is_told_and_costs_nothing(trial: ATrial) -> None:
    ended = trial.with_env(SEATRIAL_TERMINATION_PATH=str(trial.folder / "nowhere" / "message.json")).run(TRAINING)

    assert (ended.code, len(ended.observations)) == (0, 4)
    assert "the final message cannot be written to" in ended.err


def test_parameters_that_were_never_read_are_pointed_out(trial: ATrial) -> None:
    ended = trial.with_env(SEATRIAL_PARAMETERS='{"lr": 0.5, "hiden": 3}').run(TRAINING + "    trial.lr\n")

    assert "the script never read hiden: is a name misspelt?" in ended.err


def test_garbage_in_the_environment_is_told_with_variable_value_and_rule(trial: ATrial) -> None:
    ended = trial.with_env(SEATRIAL_PARAMETERS="[1]").run(TRAINING)

    assert ended.code == 1
    assert "SEATRIAL_PARAMETERS is [1], but must be one JSON object of plain values" in ended.err


def test_finishing_early_lets_the_process_start_another_trial(trial: ATrial) -> None:
    ended = trial.run("""
        first = seatrial.start()
        assert seatrial.start() is first
        first.report(1, val=0.1)
        first.finish()
        second = seatrial.start()
        second.report(2, val=0.2)
    """)

    assert (ended.code, ended.status) == (0, "succeeded")
    assert [seen["step"] for seen in ended.observations] == [1, 2]
