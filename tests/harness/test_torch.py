"""States of torch: saved by torch, loaded without running code."""

from pathlib import Path

import pytest

from harness.scripts import ATrial

pytestmark = pytest.mark.torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_tensors_tuples_and_plain_values_come_back_as_they_were(trial: ATrial) -> None:
    ended = trial.run("""
        import torch
        trial = seatrial.start()
        trial.save(3, weights=torch.arange(3.0), pair=(1, 2), epoch=3, by_number={1: "a"}, nothing=None, half=float("nan"))
        state = trial.load()
        assert torch.equal(state["weights"], torch.arange(3.0))
        print(state["pair"], state["epoch"], state["by_number"], state["nothing"], state["half"], state.step, state.inherited)
        again = seatrial.load(trial.latest().path)
        print(sorted(again))
    """)

    assert ended.err == ""
    assert ended.out.splitlines() == [
        "(1, 2) 3 {1: 'a'} None nan 3 False",
        "['by_number', 'epoch', 'half', 'nothing', 'pair', 'weights']",
    ]


def test_a_state_that_only_unpickling_code_could_load_is_refused_when_it_is_saved(trial: ATrial) -> None:
    ended = trial.run("""
        import torch, fractions
        trial = seatrial.start()
        try:
            trial.save(1, odd=fractions.Fraction(1, 2))
        except TypeError as error:
            print(str(error).split(":")[0])
        print(trial.latest())
    """)

    assert ended.out.splitlines() == ["save() got something that cannot be loaded without running code", "None"]


def test_a_full_disk_under_torch_costs_the_checkpoint_but_not_the_training(trial: ATrial) -> None:
    ended = trial.run("""
        import resource, torch
        trial = seatrial.start()
        trial.save(1, weights=torch.zeros(10))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        trial.save(2, weights=torch.zeros(100_000))
        trial.report(2, val=1)
    """)

    assert (ended.code, ended.status) == (0, "succeeded")
    assert ended.message is not None
    assert ended.message["checkpoint"]["step"] == 1
    assert "the checkpoint of step 2 cannot be saved" in ended.err


def test_after_a_parent_s_checkpoint_the_trial_s_own_hyperparameters_are_applied_again(trial: ATrial) -> None:
    mine = trial.with_env(SEATRIAL_PARAMETERS='{"lr": 0.125, "momentum": 0.5}')
    ended = mine.run("""
        import os, torch
        def build():
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.9, momentum=0.9)
            torch.optim.lr_scheduler.StepLR(optimizer, 10)
            return optimizer
        winner = seatrial.start()
        winner.save(9, optimizer=build().state_dict())
        os.environ["SEATRIAL_PARENT_CHECKPOINT"] = str(winner.latest().path)
        os.environ["SEATRIAL_CHECKPOINT_DIR"] = os.path.abspath("loser")
        winner.finish()

        for attempt in (0, 1):
            trial, optimizer = seatrial.start(), build()
            state = trial.load()
            optimizer.load_state_dict(state["optimizer"])
            if attempt == 1:
                optimizer.param_groups[0]["lr"] = 0.01
            trial.reapply(optimizer)
            group = optimizer.param_groups[0]
            print(state.step, state.inherited, group["lr"], group["initial_lr"], group["momentum"], next(trial.steps(20)))
            trial.save(10, optimizer=optimizer.state_dict())
            trial.finish()
    """)

    assert ended.err == ""
    # The second attempt goes on from its own checkpoint, where a schedule may have moved the learning rate.
    assert ended.out.splitlines() == ["9 True 0.125 0.125 0.5 10", "10 False 0.01 0.125 0.5 11"]


@pytest.mark.parametrize("module", ["digits_mlp", "digits_cnn"])
def test_a_resumed_training_of_the_example_ends_like_one_that_was_never_interrupted(trial: ATrial, module: str) -> None:
    mine = trial.with_env(
        SEATRIAL_OBJECTIVES='[{"metric": "val_accuracy", "goal": "maximize"}]',
        SEATRIAL_PARAMETERS='{"dropout": 0.3}',
        PYTHONPATH=str(EXAMPLES),
        OMP_NUM_THREADS="1",
    )
    ended = mine.run(f"""
        import os, {module}
        {module}.torch.set_num_threads(1)
        for name, last in (("whole", "4"), ("parts", "2"), ("parts", "4")):
            os.environ["SEATRIAL_MAX_STEP"] = last
            os.environ["SEATRIAL_CHECKPOINT_DIR"] = os.path.abspath(name)
            {module}.train()
            seatrial.start().finish()
    """)

    assert (ended.code, ended.status) == (0, "succeeded"), ended.err
    results = [(seen["step"], seen["metrics"]) for seen in ended.observations]
    assert [step for step, _ in results] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert results[4:] == results[:4]
