"""``seatrial lineage``: the winner's line, the family as a grid, the schedule as a file and as a study; and a population with real weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from entry.conftest import run_seatrial
from reconcile.simulation import World, at_once
from reconcile.test_population import a_population, trained
from seatrial.decide.lineage import build_schedule, build_stretches, line_of
from seatrial.entry.cli.homes import DirectoryHome
from seatrial.entry.cli.lineage import lineage_document, lineage_lines
from seatrial.entry.cli.places import find_directory
from seatrial.entry.cli.summary import Standing
from seatrial.entry.session import open_study
from seatrial.search.checks import load_study


def simulated() -> Standing:
    world = World(a_population(), script=trained).run()
    study = at_once(world.store.read_study(world.key))
    return Standing(study=study, trials=world.records(), home=DirectoryHome(Path("/somewhere/s")), call="s")


def test_the_line_is_a_table_and_the_population_a_grid() -> None:
    standing = simulated()
    stretches = build_stretches(standing.trials)

    lines = lineage_lines(standing, stretches, line_of(stretches, standing.status.best.index))

    assert "\n".join(lines) == GOLDEN


GOLDEN = """\
Line of the winner: 3 trials in a row

TRIAL  MEMBER  STEPS  MOVE            loss   PARAMETERS
s-1    1       1–3    start           8.199  lr=0.0216
s-4    0       4–6    exploit of s-1  6.308  lr=0.02592
s-8    0       7–9    continue        4.417  lr=0.02592

MEMBER  1–3     4–6       7–9
0       8.912   6.308<1*  4.417*
1       8.199*  6.398     4.597
2       8.818   7.636     6.454
3       8.877   7.754     4.526<0
(<n took over member n; * on the line)"""


def test_the_document_names_every_parent_and_digest() -> None:
    standing = simulated()
    stretches = build_stretches(standing.trials)
    line = line_of(stretches, standing.status.best.index)

    document = lineage_document(standing, stretches, line)

    by_name = {entry["name"]: entry for entry in document["trials"]}
    assert document["line"][-1] == standing.status.best.trial
    for entry in document["trials"]:
        if entry["parent"]:
            assert by_name[entry["parent"]["trial"]]["digest"] == entry["parent"]["digest"]
    assert [(p["untilStep"], p["parameters"]) for p in document["schedule"]] == list(build_schedule(line))


TRAINER = """
import seatrial_harness as seatrial
import torch

trial = seatrial.start(lr=0.1)
torch.manual_seed(trial.seed)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=trial.lr, momentum=0.9)
state = trial.load()
if state:
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    trial.reapply(optimizer)


def weights():
    return sum(float(p.double().sum()) for p in model.parameters())


loaded = weights()
X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
y = X @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
for step in trial.steps(6):
    loss = torch.nn.functional.mse_loss(model(X), y)
    trial.report(step, loss=float(loss), loaded=loaded, lr_in_group=optimizer.param_groups[0]["lr"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    trial.report(step, saved=weights())
    trial.save(model=model.state_dict(), optimizer=optimizer.state_dict())
"""

STUDY = """
apiVersion: seatrial.dev/v1alpha1
kind: Study
metadata: {name: lines}
spec:
  objectives: [{metric: loss, goal: minimize}]
  parameters: [{name: lr, type: float, min: 1.0e-4, max: 0.1, scale: log}]
  algorithm: {name: pbt, seed: 4, pbt: {populationSize: 2, readyInterval: 3, quantile: 0.5, resampleProbability: 0}}
  initialTrials: [{lr: 0.03}, {lr: 1.0e-4}]
  steps: {max: 6}
  budget: {parallelTrials: 2}
  trial: {template: {spec: {containers: [{name: main, command: [python, train.py]}]}}}
"""


@pytest.mark.torch
def test_the_weights_of_the_winner_move_and_the_perturbed_rate_is_the_one_that_trains(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINER)
    (tmp_path / "lines.yaml").write_text(STUDY)

    done = run_seatrial("run", "lines.yaml", folder=tmp_path, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr
    stored = open_study(find_directory(str(tmp_path / ".seatrial" / "lines")))
    trials = {trial.metadata.name: trial for trial in stored.trials}
    metrics = {name: {m.name: m.last for m in t.status.observation.metrics} for name, t in trials.items()}
    heir, parent, own = trials["lines-3"], trials["lines-0"], trials["lines-1"]
    assert heir.spec.membership.move == "exploit"
    # What it loaded is what the winner saved, not what it had saved itself.
    assert heir.spec.parent.digest == parent.status.checkpoint.digest != own.status.checkpoint.digest
    assert metrics["lines-3"]["loaded"] == metrics["lines-0"]["saved"] != metrics["lines-1"]["saved"]
    # Its first loss lies where the winner's last one did; alone it would not have come near.
    assert heir.status.observation.curve[0][1] < parent.status.observation.curve[-1][1]
    assert heir.status.observation.curve[0][0] == 4
    # Its rate is the perturbed one, in the optimizer that was restored with the winner's.
    assert heir.spec.assignment["lr"] in (pytest.approx(0.024), pytest.approx(0.036))
    assert metrics["lines-3"]["lr_in_group"] == pytest.approx(heir.spec.assignment["lr"])
    assert [t.status.steps_trained for t in stored.trials] == [3, 3, 3, 3]

    told = run_seatrial("lineage", "lines", "--replay", "replay.yaml", "--schedule", "s.yaml", folder=tmp_path)
    assert "took over member" in told.stdout
    assert yaml.safe_load((tmp_path / "s.yaml").read_text())["schedule"][-1]["untilStep"] == 6
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "replay.yaml").rename(tmp_path / "elsewhere" / "replay.yaml")
    assert load_study(moved.read_bytes(), source="").study.metadata.name == "lines-replay"
    again = run_seatrial("run", "replay.yaml", "--output", "json", folder=moved.parent, timeout=300)
    document = json.loads(again.stdout)
    assert document["reason"] == "TrainingComplete", again.stderr
    assert document["best"]["trial"] == "lines-replay-1"
    seen = json.loads(run_seatrial("lineage", "lines", "--trial", "3", "--output", "json", folder=tmp_path).stdout)
    assert seen["line"] == ["lines-0", "lines-3"]


def test_a_file_that_cannot_be_written_is_told(place: Path) -> None:
    told = run_seatrial("lineage", "tiny", "--schedule", "no/such/folder.yaml", folder=place)

    assert told.returncode == 2
    assert "no/such/folder.yaml cannot be written: No such file or directory; name another file" in told.stderr
