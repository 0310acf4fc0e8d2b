"""States of torch: saved by torch, loaded without running code.

Each script is a process of its own, a fork of one that has torch: its import takes ten times as long as what is tested. In a process
that begins with nothing torch is trained by ``entry/test_lineage.py``.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.forks import AForkedTrial, Nest
from harness.scripts import ATrial

pytestmark = pytest.mark.torch

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def nest() -> Iterator[Nest]:
    # The first optimizer imports the second one.
    started = Nest("torch", "torch._dynamo")
    yield started
    started.close()


@pytest.fixture
def trial(nest: Nest, tmp_path: Path) -> ATrial:
    return AForkedTrial(folder=tmp_path, nest=nest)


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


def test_a_whole_checkpoint_that_would_run_code_is_refused_when_it_is_loaded(trial: ATrial) -> None:
    ended = trial.run("""
        import os, torch
        class Evil:
            def __reduce__(self):
                return os.mkdir, ("was-run",)
        trial = seatrial.start()
        with trial.checkpoint(1) as folder:
            torch.save({"weights": Evil()}, folder / "state.pt")
        for load in (trial.load, lambda: seatrial.load(trial.latest().path)):
            try:
                load()
            except seatrial.CheckpointError as error:
                print("whole but cannot be loaded" in str(error), os.path.exists("was-run"))
        trial.load()
    """)

    assert ended.out.splitlines() == ["True False", "True False"]
    assert (ended.code, ended.status) == (1, "failed")
    assert "CheckpointCorrupt" in json.dumps(ended.message)
    assert not (trial.folder / "was-run").exists()


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


def test_a_schedule_that_was_taken_over_goes_on_from_the_trial_s_own_rate(trial: ATrial) -> None:
    ended = trial.with_env(SEATRIAL_PARAMETERS='{"lr": 0.4}').run("""
        import os, torch
        from torch.optim.lr_scheduler import *
        SCHEDULES = {
            "step": lambda o, lr: StepLR(o, 3, gamma=0.1),
            "exponential": lambda o, lr: ExponentialLR(o, 0.9),
            "cosine": lambda o, lr: CosineAnnealingLR(o, 12, eta_min=0.01),
            "lambda": lambda o, lr: LambdaLR(o, lambda n: 1 / (n + 1)),
            "warm-up": lambda o, lr: LinearLR(o, 0.1, total_iters=8),
            "one cycle": lambda o, lr: OneCycleLR(o, max_lr=lr, total_steps=20),
            "sequence": lambda o, lr: SequentialLR(o, [LinearLR(o, 0.1, total_iters=2), ExponentialLR(o, 0.9)], [2]),
            "plateau": lambda o, lr: ReduceLROnPlateau(o, patience=100),
        }
        def build(make, lr):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=lr)
            return optimizer, make(optimizer, lr)
        def step(optimizer, schedule, count):
            rates = []
            for _ in range(count):
                optimizer.step()
                schedule.step(*([1.0] if isinstance(schedule, ReduceLROnPlateau) else []))
                rates.append(optimizer.param_groups[0]["lr"])
            return rates
        for number, (name, make) in enumerate(SCHEDULES.items()):
            os.environ.pop("SEATRIAL_PARENT_CHECKPOINT", None)
            os.environ["SEATRIAL_CHECKPOINT_DIR"] = os.path.abspath(f"winner-{number}")
            winner = seatrial.start()
            optimizer, schedule = build(make, 0.8)
            step(optimizer, schedule, 4)
            winner.save(4, optimizer=optimizer.state_dict(), schedule=schedule.state_dict())
            os.environ["SEATRIAL_PARENT_CHECKPOINT"] = str(winner.latest().path)
            os.environ["SEATRIAL_CHECKPOINT_DIR"] = os.path.abspath(f"loser-{number}")
            winner.finish()
            trial = seatrial.start()
            optimizer, schedule = build(make, 0.4)
            state = trial.load()
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            trial.reapply(optimizer, schedule)
            after, whole = step(optimizer, schedule, 6), step(*build(make, 0.4), 10)[4:]
            print(name, all(abs(a - b) < 1e-9 for a, b in zip(after, whole, strict=True)) or (after, whole))
            trial.finish()
    """)

    names = ["step", "exponential", "cosine", "lambda", "warm-up", "one cycle", "sequence", "plateau"]
    assert ended.out.splitlines() == [f"{name} True" for name in names], ended.err


def test_parameters_are_found_in_the_groups_however_they_are_spelt(trial: ATrial) -> None:
    mine = trial.with_env(
        SEATRIAL_PARAMETERS='{"learningRate": 0.125, "weightDecay": 0.5, "beta1": 0.75, "amsgrad": true, "hidden": 3}'
    )
    ended = mine.run("""
        import torch
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], lr=0.9)
        trial = seatrial.start()
        trial.reapply(optimizer)
        group = optimizer.param_groups[0]
        print(group["lr"], group["weight_decay"], group["betas"], group["amsgrad"])
        trial.reapply(optimizer, beta2=0.25, lr=1.0)
        print(group["lr"], group["betas"])
        try:
            trial.reapply(optimizer, momentum=0.5)
        except ValueError as error:
            print(error)
    """)

    assert ended.out.splitlines()[:2] == ["0.125 0.5 (0.75, 0.999) True", "1.0 (0.75, 0.25)"]
    assert ended.out.splitlines()[2].startswith("the optimizer has no 'momentum' in its param groups; it has lr, betas")


def test_an_optimizer_that_was_taken_over_and_keeps_the_other_s_rate_is_told(trial: ATrial) -> None:
    ended = trial.run("""
        import os, sys, torch
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.9)
        winner = seatrial.start()
        winner.save(9, optimizer=optimizer.state_dict())
        os.environ["SEATRIAL_PARENT_CHECKPOINT"] = str(winner.latest().path)
        os.environ["SEATRIAL_CHECKPOINT_DIR"] = os.path.abspath("loser")
        winner.finish()
        for forgotten in (False, True):
            trial = seatrial.start()
            optimizer.load_state_dict(trial.load()["optimizer"])
            if not forgotten:
                trial.reapply(optimizer, lr=trial.lr)
            trial.finish()
            print(f"{forgotten=}", file=sys.stderr)
    """)

    first, second, *_ = ended.err.split("forgotten=")
    assert "reapply" not in first
    assert "call trial.reapply(optimizer) after load_state_dict" in second


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
