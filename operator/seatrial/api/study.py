"""The Study: what to tune, how to search, what a trial runs, and when it is enough."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, JsonValue

from seatrial.api.algorithm import Algorithm
from seatrial.api.base import Duration, MetricName, Wire
from seatrial.api.checkpoints import Checkpoints
from seatrial.api.conditions import Condition
from seatrial.api.meta import StudyMetadata
from seatrial.api.parameters import Choice, Parameter
from seatrial.api.retry import RetryPolicy
from seatrial.api.stopping import Stopping

__all__ = [
    "Best",
    "Budget",
    "Constraint",
    "Goal",
    "Metrics",
    "MetricsSource",
    "Objective",
    "Prometheus",
    "PrometheusQuery",
    "Steps",
    "Study",
    "StudySpec",
    "StudyStatus",
    "Summary",
    "TrialCounts",
    "TrialTemplate",
]


class Goal(StrEnum):
    """Direction of an objective."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class Summary(StrEnum):
    """How a curve becomes one number."""

    LAST = "last"
    BEST = "best"
    MEAN = "mean"


class Objective(Wire):
    """One metric to optimise."""

    metric: MetricName = Field(description="Name of the metric, as the trial reports it.")
    goal: Goal = Field(description="minimize or maximize.")
    target: float | None = Field(
        default=None,
        description="The study is complete as soon as a trial reaches this value. Only with one objective.",
    )
    summary: Summary = Field(
        default=Summary.LAST,
        description="How a trial's curve becomes one number: last (the default), best, or mean of the last `window` reports. best is optimistic on noisy curves.",
    )
    window: int = Field(default=5, ge=1, le=1000, description="Number of last reports that summary: mean averages.")


class Constraint(Wire):
    """An outcome constraint: a trial that violates it is never the winner, and the algorithm is told by how much."""

    metric: MetricName = Field(description="Name of the metric, as the trial reports it.")
    max: float | None = Field(default=None, description="Largest allowed value.")
    min: float | None = Field(default=None, description="Smallest allowed value.")


class Budget(Wire):
    """Limits of a study. All can be changed while it runs and after it is complete."""

    max_trials: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Number of trials to run. Without it a finite search space is searched in whole, and any other study ends by another limit.",
    )
    parallel_trials: int = Field(default=1, ge=1, le=10_000, description="Trials that may run at the same time.")
    max_failed_trials: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="The study fails when more trials than this have failed. Default: a tenth of maxTrials, at least 3. Diverged and infeasible trials are results, not failures.",
    )
    max_duration: Duration | None = Field(
        default=None,
        description="No trial is started, and running ones are stopped, when the study has run for this long.",
    )
    max_gpu_hours: float | None = Field(
        default=None,
        gt=0,
        alias="maxGPUHours",
        description="No trial is started, and running ones are stopped, when all trials together have held GPUs for this many hours.",
    )


class Steps(Wire):
    """Training progress, for early stopping."""

    unit: str = Field(
        default="step",
        min_length=1,
        max_length=63,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="What one step is called: epoch, batch, round. Printed lines may use this word.",
    )
    max: int = Field(ge=1, le=1_000_000_000, description="The last step of a full training.")


class TrialTemplate(Wire):
    """What one trial runs."""

    container: str | None = Field(
        default=None, max_length=63, description="Name of the container that trains. Default: the first one."
    )
    timeout: Duration | None = Field(
        default=None, description="A trial that runs longer fails with the reason Timeout."
    )
    start_timeout: Duration = Field(
        default="30m",
        description="How long a Pod that has a place may wait for its container to begin: images that are pulled, volumes, ConfigMaps and Secrets that are missing. Then the attempt ends, and the next one is made of the template as it is by then; three in a row fail the trial. Waiting for a place (a GPU, a quota, Kueue) and init containers that run are never limited. Without effect on a laptop.",
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=30,
        description="How often a trial that failed by itself is started again. Evictions, preemptions and lost nodes never count here.",
    )
    retry_policy: RetryPolicy | None = Field(
        default=None,
        description="Rules by exit code or message: start again without counting, fail at once, tell the search, or avoid the node.",
    )
    reuse: bool = Field(
        default=False,
        description="Whether trials of a Python program are forked from a process that has its libraries imported already: python script.py, python -m module. On a cluster a Pod then goes on to the next trial when one has ended well.",
    )
    checkpoints: Checkpoints | None = Field(
        default=None, description="Where the checkpoints of trials lie and which of them stay when trials have ended."
    )
    template: dict[str, JsonValue] = Field(
        description="The Pod of a trial: any PodTemplateSpec. On a laptop command, args, env, workingDir and resources of the training container are honoured and the image is ignored.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )


class MetricsSource(StrEnum):
    """Where the curves of running trials come from."""

    PROMETHEUS = "prometheus"
    SCRAPE = "scrape"
    TERMINATION_MESSAGE = "termination-message"
    LOGS = "logs"


class PrometheusQuery(Wire):
    """An expression in PromQL that gives a metric of trials which do not report through the harness."""

    metric: MetricName = Field(description="Name of the metric in this study.")
    query: str = Field(
        min_length=1,
        max_length=4096,
        description="PromQL whose result has a label trial: one value a trial. Values with another study, study_uid or namespace label are left out; a label attempt tells attempts apart.",
    )


class Prometheus(Wire):
    """How Prometheus is reached and asked."""

    url: str | None = Field(
        default=None,
        min_length=1,
        max_length=2048,
        pattern=r"^https?://",
        description="Address of the Prometheus API, http://prometheus.monitoring:9090. Default: the one that the operator was installed with.",
    )
    queries: list[PrometheusQuery] = Field(
        default_factory=list,
        max_length=16,
        description="Metrics by PromQL, for images without the harness. With them the harness' own series are not read.",
    )
    step_query: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="PromQL that gives the step of each trial, as queries give metrics. Without it each change of a value counts as the next step.",
    )


class Metrics(Wire):
    """Where metrics come from. A laptop reads its own trials and needs none of this."""

    source: MetricsSource = Field(
        default=MetricsSource.PROMETHEUS,
        description="prometheus (the default), scrape (the operator reads the Pods itself), termination-message or logs (final values only).",
    )
    prometheus: Prometheus | None = Field(default=None, description="Settings of source: prometheus.")


class StudySpec(Wire):
    """What the user asks for."""

    objectives: list[Objective] = Field(
        min_length=1, max_length=4, description="One metric to optimise, or several for a Pareto front."
    )
    constraints: list[Constraint] = Field(
        default_factory=list, max_length=8, description="Limits on other metrics that the winner must keep."
    )
    parameters: list[Parameter] = Field(min_length=1, max_length=64, description="The search space.")
    algorithm: Algorithm = Field(default_factory=Algorithm, description="How the next trials are chosen.")
    initial_trials: list[dict[str, Choice]] = Field(
        default_factory=list,
        max_length=1000,
        description="Known-good assignments that are tried first, in this order. Parameters that are left out take their default or the middle of their range.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    stopping: Stopping | None = Field(
        default=None,
        description="Rule that ends hopeless trials early, or pauses them. Needs trials that report steps.",
    )
    budget: Budget = Field(default_factory=Budget, description="Limits of the study.")
    steps: Steps | None = Field(default=None, description="Training progress: unit and last step.")
    trial: TrialTemplate = Field(description="What one trial runs.")
    metrics: Metrics = Field(default_factory=Metrics, description="Where metrics come from.")
    suspend: bool = Field(
        default=False,
        description="true stops all running trials (their checkpoints are kept) and starts none; false goes on.",
    )


class TrialCounts(Wire):
    """Numbers of trials by state, always recounted from the trials."""

    total: int = Field(default=0, ge=0, description="Trials that exist.")
    pending: int = Field(default=0, ge=0, description="Trials that wait for their first start.")
    running: int = Field(default=0, ge=0, description="Trials that run or are being stopped.")
    completed: int = Field(default=0, ge=0, description="Trials that ended with a result, reused ones included.")
    paused: int = Field(default=0, ge=0, description="Trials that wait at a rung and hold nothing.")
    stopped: int = Field(default=0, ge=0, description="Trials that a rule ended early.")
    failed: int = Field(default=0, ge=0, description="Trials that failed.")
    diverged: int = Field(default=0, ge=0, description="Trials whose objective became NaN or infinite.")
    infeasible: int = Field(default=0, ge=0, description="Trials that cannot work with their assignment.")
    cancelled: int = Field(default=0, ge=0, description="Trials that were ended because the study was complete.")


class Best(Wire):
    """The winner so far (one objective) or one point of the Pareto front."""

    trial: str = Field(max_length=63, description="Name of the trial.")
    index: int = Field(ge=0, description="Index of the trial.")
    values: list[float] = Field(
        max_length=4, description="Its objective values, in the order of spec.objectives, as the user states them."
    )
    assignment: dict[str, Choice] = Field(
        description="Its parameters.", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    checkpoint: str | None = Field(default=None, max_length=1024, description="Where its last checkpoint lies.")


class StudyStatus(Wire):
    """What Seatrial found, recomputed from the trials at every look."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="Generation of the specification that this status speaks of."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="Summary condition Succeeded, and what else there is to say.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    trials: TrialCounts = Field(default_factory=TrialCounts, description="Numbers of trials by state.")
    best: Best | None = Field(
        default=None, description="The winner so far. With several objectives: the first point of the Pareto front."
    )
    pareto_front: list[Best] = Field(
        default_factory=list,
        max_length=50,
        description="With several objectives: trials that no other one beats in all of them (the first 50).",
    )
    start_time: str | None = Field(
        default=None, description="When the first trial was created.", json_schema_extra={"format": "date-time"}
    )
    completion_time: str | None = Field(
        default=None, description="When the study became complete.", json_schema_extra={"format": "date-time"}
    )
    progress: str = Field(default="", max_length=32, description="Ended trials of maxTrials, for people: 23/60.")
    best_value: str = Field(
        default="",
        max_length=32,
        description="First objective of the winner so far in four digits, for people: 0.9821. The whole number is in best.values.",
    )
    state: str = Field(
        default="",
        max_length=128,
        description="Reason of the condition Succeeded, and what holds the study up, for people: Waiting: Insufficient GPUs.",
    )
    steps_trained: int = Field(
        default=0, ge=0, description="Steps that all trials have trained, each counted where it was trained."
    )
    gpu_hours: float = Field(
        default=0.0, ge=0, alias="gpuHours", description="Hours that trials have held GPUs, summed over GPUs."
    )


class Study(Wire):
    """A hyperparameter study: searches the parameters under which a training reaches its objectives best."""

    api_version: Literal["seatrial.dev/v1alpha1"] = Field(description="seatrial.dev/v1alpha1")
    kind: Literal["Study"] = Field(description="Study")
    metadata: StudyMetadata = Field(description="Standard object metadata.")
    spec: StudySpec = Field(description="What the user asks for.")
    status: StudyStatus | None = Field(default=None, description="What Seatrial found.")
