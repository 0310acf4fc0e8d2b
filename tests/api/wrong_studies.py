"""Wrong studies, one mistake or a few in each, and exactly what is said about them.

An edit replaces the value at a path of :data:`SOUND`; :data:`GONE` removes it.
"""

from typing import Any

GONE = "(gone)"

SOUND = """\
apiVersion: seatrial.dev/v1alpha1
kind: Study
metadata: {name: digits}
spec:
  objectives: [{metric: val_accuracy, goal: maximize}]
  parameters:
    - {name: lr, type: float, min: 1.0e-5, max: 1.0e-1, scale: log}
    - {name: hidden, type: int, min: 16, max: 512, scale: log}
    - {name: batchSize, type: ordinal, choices: [32, 64, 128]}
    - {name: optimizer, type: categorical, choices: [sgd, adamw]}
    - {name: momentum, type: float, min: 0, max: 0.99, when: {parameter: optimizer, in: [sgd]}}
  algorithm: {name: auto, seed: 7}
  budget: {maxTrials: 60}
  steps: {unit: epoch, max: 27}
  trial: {template: {spec: {containers: [{name: trainer, image: t, command: [python, t.py]}]}}}
"""

_CONTAINER = "spec.trial.template.spec.containers.0"

WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "no name",
        {"metadata.name": GONE},
        [
            "metadata.name is missing, but needed (name of the study: lower-case letters, digits and dashes, at most 52 characters so that the names of trials and Pods fit in 63); add it",
        ],
    ),
    (
        "upper-case name",
        {"metadata.name": "Digits_1"},
        [
            "metadata.name is 'Digits_1', but must be lower-case letters, digits and dashes, starting and ending with a letter or digit; rename it",
        ],
    ),
    (
        "long name",
        {"metadata.name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        [
            "metadata.name is 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' with 53 characters, but at most 52 are allowed; shorten it",
        ],
    ),
    (
        "metadata misspelt",
        {"metadata.lables": {"a": "b"}},
        [
            "metadata.lables is unknown; did you mean `labels`?",
        ],
    ),
    (
        "metadata missing",
        {"metadata": GONE},
        [
            "metadata is missing, but needed (standard object metadata); add it",
        ],
    ),
    (
        "label that is a number",
        {"metadata.labels": {"a": 1}},
        [
            "metadata.labels.a is 1, but must be text; put it in quotes",
        ],
    ),
    (
        "wrong version",
        {"apiVersion": "seatrial.dev/v1"},
        [
            "apiVersion is 'seatrial.dev/v1', but must be seatrial.dev/v1alpha1; write seatrial.dev/v1alpha1",
        ],
    ),
    (
        "spec missing",
        {"spec": GONE},
        [
            "spec is missing, but needed (what the user asks for); add it",
        ],
    ),
    (
        "spec is a list",
        {"spec": [1]},
        [
            "spec is a list, but must be a mapping; write its fields below it, indented",
        ],
    ),
    (
        "unknown top-level field",
        {"specs": {}},
        [
            "specs is unknown; did you mean `spec`?",
        ],
    ),
    (
        "field in the wrong section",
        {"spec.maxTrials": 60},
        [
            "spec.maxTrials is unknown here; it belongs under spec.budget",
        ],
    ),
    (
        "name of another tool",
        {"spec.budget.maxTrialCount": 3, "spec.budget.parallelTrialCount": 2},
        [
            "spec.budget.maxTrialCount is unknown; here it is `maxTrials`",
            "spec.budget.parallelTrialCount is unknown; here it is `parallelTrials`",
        ],
    ),
    (
        "misspelt fields in three sections",
        {"spec.budget.paralelTrials": 2, "spec.algoritm": {}, "spec.parameters.0.sclae": "log"},
        [
            "spec.parameters[0].sclae is unknown; did you mean `scale`?",
            "spec.budget.paralelTrials is unknown; did you mean `parallelTrials`?",
            "spec.algoritm is unknown; did you mean `algorithm`?",
        ],
    ),
    (
        "misspelt and in the wrong place",
        {"spec.paralelTrials": 2, "spec.trial.max_trials": 9},
        [
            "spec.trial.max_trials is unknown here; did you mean `maxTrials`? It belongs under spec.budget",
            "spec.paralelTrials is unknown here; did you mean `parallelTrials`? It belongs under spec.budget",
        ],
    ),
    (
        "snake case",
        {"spec.budget.max_trials": 3},
        [
            "spec.budget.max_trials is unknown; did you mean `maxTrials`?",
        ],
    ),
    (
        "no objectives",
        {"spec.objectives": []},
        [
            "spec.objectives is empty, but needs at least one item; fill it in",
        ],
    ),
    (
        "objective without metric and goal",
        {"spec.objectives": [{}]},
        [
            "spec.objectives[0].metric is missing, but needed (name of the metric, as the trial reports it); add it",
            "spec.objectives[0].goal is missing, but needed: one of minimize, maximize; add it",
        ],
    ),
    (
        "goal in British English",
        {"spec.objectives.0.goal": "maximise"},
        [
            "spec.objectives[0].goal is 'maximise', but must be one of: minimize, maximize; did you mean maximize?",
        ],
    ),
    (
        "goal of another tool",
        {"spec.objectives.0.direction": "up", "spec.objectives.0.goal": GONE},
        [
            "spec.objectives[0].goal is missing, but needed: one of minimize, maximize; add it",
            "spec.objectives[0].direction is unknown; here it is `goal`",
        ],
    ),
    (
        "metric with a space",
        {"spec.objectives.0.metric": "val accuracy"},
        [
            "spec.objectives[0].metric is 'val accuracy', but must be letters, digits and any of _ . / : -, starting with a letter or underscore; rename it",
        ],
    ),
    (
        "five objectives",
        {
            "spec.objectives": [
                {"metric": "m0", "goal": "minimize"},
                {"metric": "m1", "goal": "minimize"},
                {"metric": "m2", "goal": "minimize"},
                {"metric": "m3", "goal": "minimize"},
                {"metric": "m4", "goal": "minimize"},
            ]
        },
        [
            "spec.objectives is a list with 5 items, but at most 4 are allowed; shorten it",
        ],
    ),
    (
        "repeated objective",
        {"spec.objectives": [{"metric": "loss", "goal": "minimize"}, {"metric": "loss", "goal": "minimize"}]},
        [
            "spec.objectives[1].metric is 'loss', which objectives[0] already has; remove one",
        ],
    ),
    (
        "target with two objectives",
        {
            "spec.objectives": [
                {"metric": "loss", "goal": "minimize", "target": 0.1},
                {"metric": "ms", "goal": "minimize"},
            ]
        },
        [
            "spec.objectives[0].target is 0.1, but a target works with one objective only and there are 2; remove it or use constraints",
        ],
    ),
    (
        "metric that is the step",
        {"spec.objectives.0.metric": "epoch"},
        [
            "spec.objectives[0].metric is 'epoch', but that word tells the step in printed lines; choose another metric or steps.unit",
        ],
    ),
    (
        "target as text",
        {"spec.objectives.0.target": "0.99"},
        [
            "spec.objectives[0].target is the text '0.99', but must be a number; remove the quotes",
        ],
    ),
    (
        "one-objective algorithm with two",
        {
            "spec.objectives": [{"metric": "loss", "goal": "minimize"}, {"metric": "ms", "goal": "minimize"}],
            "spec.algorithm.name": "cmaes",
        },
        [
            "spec.algorithm.name is cmaes, but cmaes takes one objective and there are 2; use one of: auto, grid, random, sobol, tpe, nsga2",
        ],
    ),
    (
        "constraint without bound",
        {"spec.constraints": [{"metric": "ms"}]},
        [
            "spec.constraints[0] has neither min nor max, but needs at least one of them; add max: or min:",
        ],
    ),
    (
        "constraint upside down",
        {"spec.constraints": [{"metric": "ms", "min": 3, "max": 1}]},
        [
            "spec.constraints[0].min is 3, but max is 1 and nothing lies between; swap them",
        ],
    ),
    (
        "constraint twice",
        {"spec.constraints": [{"metric": "ms", "min": 3}, {"metric": "ms", "max": 4}]},
        [
            "spec.constraints[1].metric is 'ms', which constraints[0] already has; use min and max in one",
        ],
    ),
    (
        "no parameters",
        {"spec.parameters": []},
        [
            "spec.parameters is empty, but needs at least one item; fill it in",
        ],
    ),
    (
        "parameters as a mapping",
        {"spec.parameters": {"lr": {"min": 0}}},
        [
            "spec.parameters is a mapping, but must be a list; write its items in [ ] or on lines that start with -",
        ],
    ),
    (
        "parameter as text",
        {"spec.parameters.0": "lr"},
        [
            "spec.parameters[0] is 'lr', but must be a mapping; write its fields below it, indented",
        ],
    ),
    (
        "parameter without name and type",
        {"spec.parameters.0": {"min": 0, "max": 1}},
        [
            "spec.parameters[0].name is missing, but needed (name of the parameter); add it",
            "spec.parameters[0].type is missing, but needed: one of float, int, ordinal, categorical, constant; add it",
        ],
    ),
    (
        "parameter name with a dash",
        {"spec.parameters.0.name": "learning-rate"},
        [
            "spec.parameters[0].name is 'learning-rate', but must be letters, digits and underscores, not starting with a digit; rename it",
        ],
    ),
    (
        "unknown type",
        {"spec.parameters.0.type": "double"},
        [
            "spec.parameters[0].type is 'double', but must be one of: float, int, ordinal, categorical, constant; did you mean float?",
        ],
    ),
    (
        "misspelt type",
        {"spec.parameters.3.type": "categoric"},
        [
            "spec.parameters[3].type is 'categoric', but must be one of: float, int, ordinal, categorical, constant; did you mean categorical?",
        ],
    ),
    (
        "log of zero",
        {"spec.parameters.0.min": 0},
        [
            "spec.parameters[0].min is 0, but scale: log needs min > 0; raise min or use scale: linear",
        ],
    ),
    (
        "log of a negative and a step",
        {"spec.parameters.0.min": -1, "spec.parameters.0.step": 0.1},
        [
            "spec.parameters[0].min is -1, but scale: log needs min > 0; raise min or use scale: linear",
            "spec.parameters[0].step is 0.1, but scale: log has no even steps; remove step or use scale: linear",
        ],
    ),
    (
        "float without range",
        {"spec.parameters.0.min": GONE, "spec.parameters.0.max": GONE},
        [
            "spec.parameters[0].min is missing, but type: float needs min and max; add min",
            "spec.parameters[0].max is missing, but type: float needs min and max; add max",
        ],
    ),
    (
        "float with choices",
        {"spec.parameters.0": {"name": "lr", "type": "float", "choices": [0.1, 0.2]}},
        [
            "spec.parameters[0].min is missing, but type: float needs min and max; add min",
            "spec.parameters[0].max is missing, but type: float needs min and max; add max",
            "spec.parameters[0].choices is set, but type: float has none; remove it or use type: ordinal or categorical",
        ],
    ),
    (
        "min above max",
        {"spec.parameters.0.min": 5, "spec.parameters.1.min": 600},
        [
            "spec.parameters[0].min is 5, but max is 0.1 and min must not be above it; swap them",
            "spec.parameters[1].min is 600, but max is 512 and min must not be above it; swap them",
        ],
    ),
    (
        "range that overflows",
        {"spec.parameters.0": {"name": "lr", "type": "float", "min": -1.5e308, "max": 1.5e308}},
        [
            "spec.parameters[0].max is 1.5e+308, but max - min overflows; use a smaller range",
        ],
    ),
    (
        "fractions for an int",
        {"spec.parameters.1.min": 16.5, "spec.parameters.1.step": 0.5, "spec.parameters.1.scale": "linear"},
        [
            "spec.parameters[1].min is 16.5, but type: int needs whole numbers; round it or use type: float",
            "spec.parameters[1].step is 0.5, but type: int needs whole numbers; round it or use type: float",
        ],
    ),
    (
        "int beyond a float",
        {"spec.parameters.1.max": 1e17},
        [
            "spec.parameters[1].max is 1e+17, but whole numbers are exact only up to 2^53; use type: float",
        ],
    ),
    (
        "step of zero",
        {"spec.parameters.1.step": 0, "spec.parameters.1.scale": "linear"},
        [
            "spec.parameters[1].step is 0, but must be above 0; raise it",
        ],
    ),
    (
        "step wider than the range",
        {"spec.parameters.1.step": 1000, "spec.parameters.1.scale": "linear"},
        [
            "spec.parameters[1].step is 1000, but max - min is only 496; lower step",
        ],
    ),
    (
        "step too fine",
        {"spec.parameters.0": {"name": "lr", "type": "float", "min": 1000000000.0, "max": 2000000000.0, "step": 1e-06}},
        [
            "spec.parameters[0].step is 1e-06, which is too fine for the range; raise it, or remove it for a continuous range",
        ],
    ),
    (
        "min as text",
        {"spec.parameters.0.min": "1e-5", "spec.parameters.0.max": "a lot"},
        [
            "spec.parameters[0].min is the text '1e-5', but must be a number; remove the quotes",
            "spec.parameters[0].max is 'a lot', but must be a number; change it",
        ],
    ),
    (
        "unknown scale",
        {"spec.parameters.0.scale": "logarithmic"},
        [
            "spec.parameters[0].scale is 'logarithmic', but must be one of: linear, log; did you mean log?",
        ],
    ),
    (
        "categorical without choices",
        {"spec.parameters.3.choices": GONE},
        [
            "spec.parameters[3].choices is missing, but type: categorical needs them; add choices: [a, b, c]",
        ],
    ),
    (
        "categorical with a range",
        {
            "spec.parameters.3.min": 0,
            "spec.parameters.3.max": 1,
            "spec.parameters.3.scale": "log",
            "spec.parameters.3.value": 3,
        },
        [
            "spec.parameters[3].min is set, but type: categorical has none; remove it or use type: float or int",
            "spec.parameters[3].max is set, but type: categorical has none; remove it or use type: float or int",
            "spec.parameters[3].scale is set, but type: categorical has none; remove it or use type: float or int",
            "spec.parameters[3].value is set, but type: categorical has none; remove it or use type: constant",
        ],
    ),
    (
        "no choice at all",
        {"spec.parameters.3.choices": []},
        [
            "spec.parameters[3].choices is empty, but needs at least one item; fill it in or leave it out",
        ],
    ),
    (
        "choices that are mappings",
        {"spec.parameters.3.choices": ["sgd", {"adam": 1}, [1], None]},
        [
            "spec.parameters[3].choices[1] is a mapping, but must be text, a number, true or false; change it",
            "spec.parameters[3].choices[2] is a list, but must be text, a number, true or false; change it",
            "spec.parameters[3].choices[3] is null, but must be text, a number, true or false; change it",
        ],
    ),
    (
        "equal choices",
        {"spec.parameters.2.choices": [32, 64, 32.0, True, 1, "1"]},
        [
            "spec.parameters[2].choices[2] is 32, the same as choices[0]; remove one",
        ],
    ),
    (
        "constant without value",
        {"spec.parameters.0": {"name": "lr", "type": "constant"}},
        [
            "spec.parameters[0].value is missing, but type: constant needs it; add value",
        ],
    ),
    (
        "constant with choices",
        {"spec.parameters.0": {"name": "lr", "type": "constant", "value": 1, "choices": [1], "default": 1}},
        [
            "spec.parameters[0].choices is set, but type: constant has none; remove it or use type: ordinal or categorical",
            "spec.parameters[0].default is set, but type: constant has none; remove it or use type: float, int, ordinal or categorical",
        ],
    ),
    (
        "default outside the range",
        {"spec.parameters.0.default": 1, "spec.parameters.1.default": 20.5, "spec.parameters.3.default": "lion"},
        [
            "spec.parameters[0].default is 1, but must be a number from 1e-05 to 0.1; change it or the range",
            "spec.parameters[1].default is 20.5, but must be a whole number from 16 to 512; change it or the range",
            "spec.parameters[3].default is 'lion', but must be one of: 'sgd', 'adamw'; change it or the choices",
        ],
    ),
    (
        "default that is a boolean",
        {"spec.parameters.0.default": True},
        [
            "spec.parameters[0].default is true, but must be a number from 1e-05 to 0.1; change it or the range",
        ],
    ),
    (
        "repeated name",
        {"spec.parameters.1.name": "lr"},
        [
            "spec.parameters[1].name is 'lr', which parameters[0] already has; rename one",
        ],
    ),
    (
        "condition on nothing",
        {"spec.parameters.4.when": {"parameter": "optimiser", "in": ["sgd"]}},
        [
            "spec.parameters[4].when.parameter is 'optimiser', but there is no such parameter; did you mean `optimizer`?",
        ],
    ),
    (
        "condition on itself",
        {"spec.parameters.4.when": {"parameter": "momentum", "in": ["sgd"]}},
        [
            "spec.parameters[4].when.parameter is 'momentum', the parameter itself; name another parameter",
        ],
    ),
    (
        "condition on a float",
        {"spec.parameters.4.when": {"parameter": "lr", "in": [0.1]}},
        [
            "spec.parameters[4].when.parameter is 'lr', a float, but a condition needs a parent whose values can be listed; name an int, ordinal or categorical",
        ],
    ),
    (
        "condition on a value that does not exist",
        {"spec.parameters.4.when": {"parameter": "optimizer", "in": ["SGD", "adamw"]}},
        [
            "spec.parameters[4].when.in[0] is 'SGD', but optimizer is one of: 'sgd', 'adamw'; use a value that it can take",
        ],
    ),
    (
        "condition without values",
        {"spec.parameters.4.when": {"parameter": "optimizer", "in": []}},
        [
            "spec.parameters[4].when.in is empty, but needs at least one item; fill it in",
        ],
    ),
    (
        "condition without in",
        {"spec.parameters.4.when": {"parameter": "optimizer"}},
        [
            "spec.parameters[4].when.in is missing, but needed (the parent's values under which this parameter is active); add it",
        ],
    ),
    (
        "conditions in a circle",
        {
            "spec.parameters.2.when": {"parameter": "optimizer", "in": ["sgd"]},
            "spec.parameters.3.when": {"parameter": "batchSize", "in": [32]},
        },
        [
            "spec.parameters[2].when forms a cycle (batchSize -> optimizer -> batchSize), so that none of them could ever exist; remove one condition",
        ],
    ),
    (
        "unknown algorithm",
        {"spec.algorithm.name": "bayesian"},
        [
            "spec.algorithm.name is 'bayesian', but must be one of: auto, grid, random, sobol, tpe, gp, cmaes, evolution, nsga2, pbt, replay; did you mean gp?",
        ],
    ),
    (
        "misspelt algorithm",
        {"spec.algorithm.name": "tpee"},
        [
            "spec.algorithm.name is 'tpee', but must be one of: auto, grid, random, sobol, tpe, gp, cmaes, evolution, nsga2, pbt, replay; did you mean tpe?",
        ],
    ),
    (
        "seed below zero",
        {"spec.algorithm.seed": -1},
        [
            "spec.algorithm.seed is -1, but must be at least 0; raise it",
        ],
    ),
    (
        "seed with a fraction",
        {"spec.algorithm.seed": 1.5},
        [
            "spec.algorithm.seed is 1.5, but must be a whole number; use 1 or 2",
        ],
    ),
    (
        "settings of another algorithm",
        {"spec.algorithm": {"name": "random", "tpe": {"startupTrials": 3}}},
        [
            "spec.algorithm.tpe is set, but name is random; remove it or use name: tpe",
        ],
    ),
    (
        "tournament above population",
        {"spec.algorithm": {"name": "evolution", "evolution": {"populationSize": 4}}},
        [
            "spec.algorithm.evolution.tournamentSize is 5, but populationSize is 4 and a tournament is drawn from it; lower it",
        ],
    ),
    (
        "sigma out of bounds",
        {"spec.algorithm": {"name": "cmaes", "cmaes": {"sigma": 0, "populationSize": 1}}},
        [
            "spec.algorithm.cmaes.populationSize is 1, but must be at least 4; raise it",
            "spec.algorithm.cmaes.sigma is 0, but must be above 0; raise it",
        ],
    ),
    (
        "grid over floats",
        {"spec.algorithm": {"name": "grid"}},
        [
            "spec.algorithm.name is grid, which needs a number of points for every float without a step, but lr, momentum have none; with 5 points each the grid would have 44,730 trials: set algorithm.grid.points: 5, algorithm.grid.resolutions, or a step",
        ],
    ),
    (
        "grid resolution of no number",
        {
            "spec.algorithm": {
                "name": "grid",
                "grid": {
                    "points": 3,
                    "resolutions": [{"parameter": "optimizer", "points": 2}, {"parameter": "lrr", "points": 2}],
                },
            }
        },
        [
            "spec.algorithm.grid.resolutions[0].parameter is 'optimizer', but its values are listed and all are tried; remove this resolution",
            "spec.algorithm.grid.resolutions[1].parameter is 'lrr', but there is no such parameter; did you mean `lr`?",
        ],
    ),
    (
        "population without steps",
        {"spec.algorithm": {"name": "pbt"}, "spec.steps": GONE},
        [
            "spec.steps is missing, but algorithm.name is pbt, which judges its members at steps; add steps: {max: …}",
        ],
    ),
    (
        "population of one that waits beyond the end",
        {"spec.algorithm": {"name": "pbt", "pbt": {"populationSize": 1, "quantile": 0.6}}},
        [
            "spec.algorithm.pbt.populationSize is 1, but must be at least 2; raise it",
            "spec.algorithm.pbt.quantile is 0.6, but must be at most 0.5; lower it",
        ],
    ),
    (
        "interval above the last step",
        {"spec.algorithm": {"name": "pbt", "pbt": {"readyInterval": 28}}},
        [
            "spec.algorithm.pbt.readyInterval is 28, but steps.max is 27, so that no member would ever be judged; lower it",
        ],
    ),
    (
        "quantile of nobody",
        {"spec.algorithm": {"name": "pbt", "pbt": {"populationSize": 6, "quantile": 0.15}}},
        [
            "spec.algorithm.pbt.quantile is 0.15, which selects nobody of 6 members; raise it to 0.167 or more, raise populationSize, or use selection: tournament",
        ],
    ),
    (
        "what cannot change during training",
        {
            "spec.algorithm": {"name": "pbt", "pbt": {"mutable": ["hidden", "lrr", "seed"]}},
            "spec.parameters.1": {"name": "hidden", "type": "constant", "value": 64},
        },
        [
            "spec.algorithm.pbt.mutable[0] is 'hidden', which has only one value and cannot change; remove it",
            "spec.algorithm.pbt.mutable[1] is 'lrr', but there is no such parameter; did you mean `lr`?",
            "spec.algorithm.pbt.mutable[2] is 'seed', but there is no such parameter; known here are: lr, hidden, batchSize, optimizer, momentum",
        ],
    ),
    (
        "population with nothing to change",
        {"spec.algorithm": {"name": "pbt"}, "spec.parameters": [{"name": "lr", "type": "constant", "value": 0.1}]},
        [
            "spec.parameters have one value each, but pbt changes parameters during training; give one of them a range",
        ],
    ),
    (
        "population with a stopping rule",
        {"spec.algorithm": {"name": "pbt"}, "spec.stopping": {"rule": "median"}},
        [
            "spec.stopping is set, but algorithm.name is pbt, which replaces bad members itself; remove it",
        ],
    ),
    (
        "replay of nothing",
        {"spec.algorithm": {"name": "replay"}},
        [
            "spec.algorithm.replay is missing, but algorithm.name is replay; seatrial lineage STUDY --replay FILE writes a study with one",
        ],
    ),
    (
        "schedule that goes back, beyond the end and out of the space",
        {
            "spec.algorithm": {
                "name": "replay",
                "replay": {
                    "schedule": [
                        {"untilStep": 9, "parameters": {"lr": 0.5}},
                        {"untilStep": 9, "parameters": {}},
                        {"untilStep": 30, "parameters": {"drop": 1}},
                    ]
                },
            }
        },
        [
            "spec.algorithm.replay.schedule[0].parameters.lr is 0.5, but must be a number from 1e-05 to 0.1; correct it or the parameter of that name",
            "spec.algorithm.replay.schedule[1].untilStep is 9, but must be above 9; a schedule goes forward",
            "spec.algorithm.replay.schedule[2].untilStep is 30, but steps.max is 27; raise that",
            "spec.algorithm.replay.schedule[2].parameters.drop is no parameter of this study; correct it or the parameter of that name",
        ],
    ),
    (
        "initial trials outside the space",
        {"spec.initialTrials": [{"lr": 1, "hiden": 4}, {"optimizer": "adamw", "momentum": 0.5}, {"batchSize": "32"}]},
        [
            "spec.initialTrials[0].lr is 1, but must be a number from 1e-05 to 0.1; change it or remove it",
            "spec.initialTrials[0].hiden is no parameter of this study; did you mean `hidden`?",
            "spec.initialTrials[1].momentum is set, but exists only when optimizer is one of: 'sgd'; change that or remove this",
            "spec.initialTrials[2].batchSize is '32', but must be one of: 32, 64, 128; change it or remove it",
        ],
    ),
    (
        "initial trial as text",
        {"spec.initialTrials": ["lr=1"]},
        [
            "spec.initialTrials[0] is 'lr=1', but must be a mapping; write its fields below it, indented",
        ],
    ),
    (
        "unknown rule",
        {"spec.stopping": {"rule": "medain"}},
        [
            "spec.stopping.rule is 'medain', but must be one of: median, percentile, asha, successiveHalving, hyperband, patience; did you mean median?",
        ],
    ),
    (
        "settings of another rule",
        {"spec.stopping": {"rule": "asha", "median": {}}},
        [
            "spec.stopping.median is set, but rule is asha; remove it or use rule: median",
        ],
    ),
    (
        "eta of one",
        {"spec.stopping": {"rule": "asha", "asha": {"eta": 1}}},
        [
            "spec.stopping.asha.eta is 1, but must be at least 2; raise it",
        ],
    ),
    (
        "settings of another rule whose name has two words",
        {"spec.stopping": {"rule": "hyperband", "successiveHalving": {}}},
        [
            "spec.stopping.successiveHalving is set, but rule is hyperband; remove it or use rule: successiveHalving",
        ],
    ),
    (
        "promotion without steps",
        {"spec.stopping": {"rule": "asha", "asha": {"promote": True}}, "spec.steps": None},
        [
            "spec.stopping.asha.promote is true, which promotes trials to the last step; add steps: {max: …}",
        ],
    ),
    (
        "Hyperband without steps",
        {"spec.stopping": {"rule": "hyperband"}, "spec.steps": None},
        [
            "spec.stopping.rule is 'hyperband', which promotes trials to the last step; add steps: {max: …}",
        ],
    ),
    (
        "Hyperband's first rung beyond the end",
        {"spec.stopping": {"rule": "hyperband", "hyperband": {"minStep": 30}}},
        [
            "spec.stopping.hyperband.minStep is 30, but steps.max is 27, so that no trial would reach a rung; lower it",
        ],
    ),
    (
        "a cohort of one",
        {"spec.stopping": {"rule": "successiveHalving", "successiveHalving": {"cohortSize": 1}}},
        [
            "spec.stopping.successiveHalving.cohortSize is 1, but must be at least 2; raise it",
        ],
    ),
    (
        "first rung beyond the end",
        {"spec.stopping": {"rule": "asha", "asha": {"minStep": 30}}},
        [
            "spec.stopping.asha.minStep is 30, but steps.max is 27, so that no trial would reach a rung; lower it",
        ],
    ),
    (
        "no limit at all",
        {"spec.budget": {}},
        [
            "spec.budget.maxTrials is missing, but lr has infinitely many values, so that the study would never end; add budget.maxTrials, budget.maxDuration, budget.maxGPUHours or a target",
        ],
    ),
    (
        "no limit, and more assignments than anybody tries",
        {
            "spec.budget": {},
            "spec.parameters": [{"name": f"x{index}", "type": "int", "min": 1, "max": 300} for index in range(3)],
        },
        [
            "spec.budget.maxTrials is missing, but the search space has 27,000,000 assignments; add budget.maxTrials, budget.maxDuration or a target",
        ],
    ),
    (
        "no limit, and a grid with more points than anybody tries",
        {"spec.budget": {}, "spec.algorithm": {"name": "grid", "grid": {"points": 8000}}},
        [
            "spec.budget.maxTrials is missing, but the grid has 95,435,928,000 points; set budget.maxTrials, lower algorithm.grid.points or use another algorithm",
        ],
    ),
    (
        "budget of nothing",
        {"spec.budget": {"maxTrials": 0, "parallelTrials": 0, "maxFailedTrials": -1, "maxGPUHours": 0}},
        [
            "spec.budget.maxTrials is 0, but must be at least 1; raise it",
            "spec.budget.parallelTrials is 0, but must be at least 1; raise it",
            "spec.budget.maxFailedTrials is -1, but must be at least 0; raise it",
            "spec.budget.maxGPUHours is 0, but must be above 0; raise it",
        ],
    ),
    (
        "duration in words",
        {"spec.budget.maxDuration": "2 hours", "spec.trial.timeout": "half an hour"},
        [
            "spec.budget.maxDuration is '2 hours', but must be a length of time in days, hours, minutes and seconds; write 45s, 30m, 1h30m or 2d",
            "spec.trial.timeout is 'half an hour', but must be a length of time in days, hours, minutes and seconds; write 45s, 30m, 1h30m or 2d",
        ],
    ),
    (
        "duration as a number",
        {"spec.budget.maxDuration": 3600},
        [
            "spec.budget.maxDuration is 3600, but must be a length of time with its unit; write 3600s if seconds are meant",
        ],
    ),
    (
        "duration of nothing",
        {"spec.budget.maxDuration": "0s", "spec.trial.timeout": "0m"},
        [
            "spec.budget.maxDuration is '0s', but must be longer than nothing; raise it or leave it out",
            "spec.trial.timeout is '0m', but must be longer than nothing; raise it or leave it out",
        ],
    ),
    (
        "duration of an era",
        {"spec.budget.maxDuration": "99999d"},
        [
            "spec.budget.maxDuration is '99999d', but must be at most 3650d; lower it or leave it out",
        ],
    ),
    (
        "steps without max",
        {"spec.steps": {"unit": "my epoch"}},
        [
            "spec.steps.unit is 'my epoch', but must be letters, digits and underscores, not starting with a digit; rename it",
            "spec.steps.max is missing, but needed (the last step of a full training); add it",
        ],
    ),
    (
        "suspend as text",
        {"spec.suspend": "true"},
        [
            "spec.suspend is the text 'true', but must be true or false; remove the quotes",
        ],
    ),
    (
        "prometheus address",
        {"spec.metrics": {"source": "prometheus", "prometheus": {"url": "prometheus:9090"}}},
        [
            "spec.metrics.prometheus.url is 'prometheus:9090', but must be an address; start it with http:// or https://",
        ],
    ),
    (
        "settings of another source",
        {"spec.metrics": {"source": "logs", "prometheus": {"url": "http://p:9090"}}},
        [
            "spec.metrics.prometheus is set, but source is logs; remove it or use source: prometheus",
        ],
    ),
    (
        "a metric with two expressions",
        {
            "spec.metrics": {
                "prometheus": {"queries": [{"metric": "loss", "query": "a"}, {"metric": "loss", "query": "b"}]},
            }
        },
        [
            "spec.metrics.prometheus.queries[1].metric is 'loss', which queries[0] already has; remove one",
        ],
    ),
    (
        "steps of no expression",
        {"spec.metrics": {"prometheus": {"stepQuery": "epoch"}}},
        [
            "spec.metrics.prometheus.stepQuery is set, but there are no queries; add queries: or remove it",
        ],
    ),
    (
        "trial missing",
        {"spec.trial": GONE},
        [
            "spec.trial is missing, but needed (what one trial runs); add it",
        ],
    ),
    (
        "template missing",
        {"spec.trial.template": GONE},
        [
            "spec.trial.template is missing, but needed (the Pod of a trial: any PodTemplateSpec); add it",
        ],
    ),
    (
        "template empty",
        {"spec.trial.template": {}},
        [
            "spec.trial.template.spec is missing, but a trial needs a Pod; add spec: with containers:",
        ],
    ),
    (
        "containers one level too high",
        {"spec.trial.template": {"containers": [{"name": "a"}]}},
        [
            "spec.trial.template.containers is one level too high; put containers under spec.trial.template.spec",
            "spec.trial.template.spec is missing, but a trial needs a Pod; add spec: with containers:",
        ],
    ),
    (
        "no containers",
        {"spec.trial.template.spec.containers": []},
        [
            "spec.trial.template.spec.containers is an empty list, but must be a list of containers; add - name: trainer below it",
        ],
    ),
    (
        "containers as a mapping",
        {"spec.trial.template.spec.containers": {"name": "trainer"}},
        [
            "spec.trial.template.spec.containers is a mapping, but must be a list of containers; add - name: trainer below it",
        ],
    ),
    (
        "container without name",
        {_CONTAINER + ".name": GONE},
        [
            "spec.trial.template.spec.containers[0].name is missing, but each container needs a name; add name: trainer",
        ],
    ),
    (
        "container names",
        {"spec.trial.template.spec.containers": [{"name": "Train_er"}, {"name": "a"}, {"name": "a"}, "b"]},
        [
            "spec.trial.template.spec.containers[0].name is 'Train_er', but must be text of lower-case letters, digits and dashes, at most 63; rename it",
            "spec.trial.template.spec.containers[2].name is 'a', which another container already has; rename one",
            "spec.trial.template.spec.containers[3] is 'b', but must be a mapping; write name:, image: and command:",
        ],
    ),
    (
        "no such container",
        {"spec.trial.container": "trainr"},
        [
            "spec.trial.container is 'trainr', but there is no such container; did you mean `trainer`?",
        ],
    ),
    (
        "command as text",
        {_CONTAINER + ".command": "python train.py"},
        [
            "spec.trial.template.spec.containers[0].command is 'python train.py', but must be a list; write [python, train.py]",
        ],
    ),
    (
        "arguments that are no text",
        {_CONTAINER + ".args": ["--epochs", 27, True, None]},
        [
            "spec.trial.template.spec.containers[0].args[1] is 27, but must be text; put it in quotes",
            "spec.trial.template.spec.containers[0].args[2] is true, but must be text; put it in quotes",
            "spec.trial.template.spec.containers[0].args[3] is null, but must be text; put it in quotes",
        ],
    ),
    (
        "image as a boolean",
        {_CONTAINER + ".image": True},
        [
            "spec.trial.template.spec.containers[0].image is true, but must be text; put it in quotes",
        ],
    ),
    (
        "environment of every kind of wrong",
        {
            _CONTAINER + ".env": [
                {"name": "HP_lr", "value": "1"},
                {"name": "SEATRIAL_SEED", "value": "1"},
                {"name": "A", "value": 1},
                {"nam": "B"},
                {"name": "C", "value": "x", "valueFrom": {}},
                "D=1",
            ]
        },
        [
            "spec.trial.template.spec.containers[0].env[0].name is 'HP_lr', but names that start with SEATRIAL_ or HP_ are set by Seatrial; rename it",
            "spec.trial.template.spec.containers[0].env[1].name is 'SEATRIAL_SEED', but names that start with SEATRIAL_ or HP_ are set by Seatrial; rename it",
            "spec.trial.template.spec.containers[0].env[2].value is 1, but must be text; put it in quotes",
            "spec.trial.template.spec.containers[0].env[3].nam is unknown; did you mean `name`?",
            "spec.trial.template.spec.containers[0].env[3].name is missing, but a variable needs a name; add it",
            "spec.trial.template.spec.containers[0].env[4].valueFrom is set beside value, but a variable has one source; remove one of them",
            "spec.trial.template.spec.containers[0].env[5] is 'D=1', but must be a mapping; write name: and value:",
        ],
    ),
    (
        "environment as a mapping",
        {_CONTAINER + ".env": {"A": "1"}},
        [
            "spec.trial.template.spec.containers[0].env is a mapping, but must be a list; write - name: NAME with value: below it",
        ],
    ),
    (
        "half a GPU",
        {_CONTAINER + ".resources": {"limits": {"nvidia.com/gpu": 0.5, "cpu": "two", "memory": "4 GB"}}},
        [
            "spec.trial.template.spec.containers[0].resources.limits[nvidia.com/gpu] is 0.5, but devices are counted in whole numbers; use 1 or 2",
            "spec.trial.template.spec.containers[0].resources.limits.cpu is 'two', but must be an amount such as 500m, 2 or 4Gi; change it",
            "spec.trial.template.spec.containers[0].resources.limits.memory is '4 GB', but must be an amount such as 500m, 2 or 4Gi; change it",
        ],
    ),
    (
        "resources as a list",
        {_CONTAINER + ".resources": [1]},
        [
            "spec.trial.template.spec.containers[0].resources is a list, but must be a mapping; write limits: and requests: below it",
        ],
    ),
    (
        "checkpoints that are mounted for reading",
        {
            _CONTAINER + ".volumeMounts": [
                {"name": "data", "mountPath": "/data", "readOnly": True},
                {"name": "checkpoints", "mountPath": "/checkpoints", "readOnly": True},
            ],
            "spec.trial.template.spec.volumes": [
                {"name": "data", "secret": {}},
                {"name": "checkpoints", "nfs": {"server": "x", "path": "/", "readOnly": True}},
            ],
        },
        [
            "spec.trial.template.spec.containers[0].volumeMounts[1].readOnly is true, but the volume checkpoints is where trials save their checkpoints; remove it, or give the volume another name",
            "spec.trial.template.spec.volumes[1].nfs.readOnly is true, but the volume checkpoints is where trials save their checkpoints; remove it, or give the volume another name",
        ],
    ),
    (
        "checkpoints in a volume that nobody writes",
        {
            _CONTAINER + ".volumeMounts": [{"name": "checkpoints", "mountPath": "/checkpoints"}],
            "spec.trial.template.spec.volumes": [{"name": "checkpoints", "configMap": {"name": "x"}}],
        },
        [
            "spec.trial.template.spec.volumes[0].configMap cannot be written, but the volume checkpoints is where trials save their checkpoints; use a persistentVolumeClaim, or give the volume another name",
        ],
    ),
    (
        "restart policy",
        {"spec.trial.template.spec.restartPolicy": "OnFailure"},
        [
            "spec.trial.template.spec.restartPolicy is 'OnFailure', but must be Never, since Seatrial itself starts a trial again; remove it and use trial.retries",
        ],
    ),
    (
        "reserved label",
        {"spec.trial.template.metadata": {"labels": {"seatrial.dev/trial": "x", "team": 3}}},
        [
            "spec.trial.template.metadata.labels[seatrial.dev/trial] is set, but seatrial.dev/ belongs to Seatrial; use a prefix of your own",
            "spec.trial.template.metadata.labels.team is 3, but must be text; put it in quotes",
        ],
    ),
    (
        "retries out of bounds",
        {"spec.trial.retries": 101},
        [
            "spec.trial.retries is 101, but must be at most 30; lower it",
        ],
    ),
    (
        "reuse of what is no Python program",
        {
            "spec.trial.reuse": True,
            _CONTAINER + ".command": ["torchrun", "train.py"],
            _CONTAINER + ".args": ["--lr", "$(HP_lr)"],
        },
        [
            "spec.trial.reuse is true, but the trial runs 'torchrun train.py --lr', and only python script.py, python -m module and python -c text can be reused; remove reuse, or call python directly",
        ],
    ),
    (
        "retry policy with rules that match nothing",
        {
            "spec.trial.retryPolicy": {
                "rules": [
                    {"action": "retry"},
                    {"action": "fail", "onMessage": []},
                    {"action": "fail", "onExitCodes": {"values": [2]}, "after": 3},
                ]
            }
        },
        [
            "spec.trial.retryPolicy.rules[0] has neither onExitCodes nor onMessage, but needs at least one of them; add onExitCodes: {values: [74]} or onMessage: [text]",
            "spec.trial.retryPolicy.rules[1] has neither onExitCodes nor onMessage, but needs at least one of them; add onExitCodes: {values: [74]} or onMessage: [text]",
            "spec.trial.retryPolicy.rules[2].after is 3, but counts ends on one node and action is fail; remove it or use action: excludeNode",
        ],
    ),
    (
        "retry policy out of bounds",
        {
            "spec.trial.retryPolicy": {
                "rules": [
                    {"action": "ignore", "onExitCodes": {"values": [0, 256], "operator": "Exists"}},
                    {"action": "retry", "onMessage": [""]},
                ]
            }
        },
        [
            "spec.trial.retryPolicy.rules[0].action is 'ignore', but must be one of: retry, fail, infeasible, excludeNode; choose one",
            "spec.trial.retryPolicy.rules[0].onExitCodes.operator is 'Exists', but must be one of: In, NotIn; choose one",
            "spec.trial.retryPolicy.rules[0].onExitCodes.values[0] is 0, but must be at least 1; raise it",
            "spec.trial.retryPolicy.rules[0].onExitCodes.values[1] is 256, but must be at most 255; lower it",
            "spec.trial.retryPolicy.rules[1].onMessage[0] is empty, but needs at least one character; fill it in or leave it out",
        ],
    ),
    (
        "retry policy without rules",
        {"spec.trial.retryPolicy": {"rules": []}},
        ["spec.trial.retryPolicy.rules is empty, but needs at least one item; fill it in"],
    ),
    (
        "checkpoints without an address that can be written to",
        {"spec.trial.checkpoints": {"url": "bucket/prefix", "keepBest": -1, "keep": 2}},
        [
            "spec.trial.checkpoints.url is 'bucket/prefix', but must be an address such as s3://bucket/prefix, without name and password; those go into the template's env",
            "spec.trial.checkpoints.keepBest is -1, but must be at least 0; raise it",
            "spec.trial.checkpoints.keep is unknown; did you mean `keepBest`?",
        ],
    ),
    (
        "a secret in the address of checkpoints",
        {"spec.trial.checkpoints": {"url": "s3://key:word@bucket/prefix"}},
        [
            "spec.trial.checkpoints.url is 's3://key:word@bucket/prefix', but must be an address such as s3://bucket/prefix, without name and password; those go into the template's env",
        ],
    ),
    (
        "problems in every section",
        {
            "spec.objectives.0.goal": "up",
            "spec.parameters.0.min": 0,
            "spec.parameters.1.min": 1000,
            "spec.algorithm.tpe": {},
            "spec.budget.maxTrials": -1,
            "spec.steps.max": 0,
            "spec.trial.template.spec.restartPolicy": "Always",
            "spec.stopping": {"rule": "asha", "median": {}},
        },
        [
            "spec.objectives[0].goal is 'up', but must be one of: minimize, maximize; did you mean maximize?",
            "spec.budget.maxTrials is -1, but must be at least 1; raise it",
            "spec.steps.max is 0, but must be at least 1; raise it",
            "spec.parameters[0].min is 0, but scale: log needs min > 0; raise min or use scale: linear",
            "spec.parameters[1].min is 1000, but max is 512 and min must not be above it; swap them",
            "spec.algorithm.tpe is set, but name is auto; remove it or use name: tpe",
            "spec.stopping.median is set, but rule is asha; remove it or use rule: median",
            "spec.trial.template.spec.restartPolicy is 'Always', but must be Never, since Seatrial itself starts a trial again; remove it and use trial.retries",
        ],
    ),
]
"""(what is wrong, edits, problems in order)."""
