"""What goes over HTTP, as pydantic models: the OpenAPI description is made from them."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    Strict,
    StringConstraints,
)

from rlnas.config import PLAIN_NAME

NAME = f"^{PLAIN_NAME}$"

_NULL: JsonValue = {"type": "null"}
_MOST_EPOCHS, _MOST_EXTRA, _MOST_AT_ONCE = 10_000, 50, 100


def _clean(text: str) -> str:
    """Return text that UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")


Name = Annotated[str, StringConstraints(pattern=NAME)]
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Count = Annotated[int, Field(ge=0)]


def _is_number(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("a number")
    return value


# Of what clients send: no text and no truth value is taken for a number.
_NUMBER = BeforeValidator(_is_number)
Figure = Annotated[FiniteFloat, Field(ge=-1e12, le=1e12), _NUMBER]
Amount = Annotated[FiniteFloat, Field(ge=0, le=1e9), _NUMBER]
Score = Annotated[FiniteFloat, Field(ge=-1e6, le=1), _NUMBER]
LeaseSeconds = Annotated[FiniteFloat, Field(ge=1, le=86400), _NUMBER]
Switch = Annotated[bool, Strict()]
ToldCount = Annotated[int, Field(ge=0, le=10**15), _NUMBER]
Curve = Annotated[tuple[Figure, ...], Field(max_length=_MOST_EPOCHS)]
Scores = Annotated[tuple[Score, ...], Field(max_length=_MOST_EPOCHS)]


class Model(BaseModel):
    """What all have in common: no field that is not known."""

    model_config = ConfigDict(extra="forbid")


State = Literal[
    "queued",
    "starting",
    "searching",
    "retraining",
    "finishing",
    "done",
    "pausing",
    "paused",
    "stopping",
    "stopped",
    "failed",
    "interrupted",
    "damaged",
]
"""See `Search.state`."""


class Search(Model):
    """A search: what is wanted of it, and how its run stands."""

    name: str
    state: str = Field(
        description="queued, starting, searching, retraining, finishing (its control still "
        "searches, or the last files are written), done, pausing, paused, stopping, stopped, "
        "failed; interrupted: begun by the command line, and nobody goes on with it; or damaged: "
        "its journal cannot be read"
    )
    message: str | None = Field(description="Why it failed")
    created: float | None = Field(description="When it was asked for, seconds since 1970")
    executor: str
    controller: str
    dataset: str | None
    metric: str
    cost: str | None = Field(description="What counts beside the metric")
    seed: int
    python: bool = Field(description="It needs objects that only the user's own Python has")
    trials: Count = Field(description="Trials that have ended")
    running: Count = Field(description="Trials that are under way")
    failed: Count = Field(description="Trials that have failed")
    budget: int | None = Field(description="Most trials")
    time_limit: float | None = Field(description="Most seconds")
    seconds: float = Field(description="Time the search has taken")
    seconds_left: float | None = Field(description="Estimate of the time it still takes")
    started: float | None
    changed: float | None = Field(description="When the last trial has ended")
    best_trial: int | None
    best_reward: float | None
    best_layers: str | None
    reference: float | None = Field(description="Reward of the reference child")
    test_accuracy: float | None = Field(description="Of the model that was kept")
    spark: list[float] = Field(description="Best reward so far, at most 60 points")


class SearchPage(Model):
    """Some searches."""

    searches: list[Search]
    total: Count


class Resume(Model):
    """A larger budget, or nothing to go on as it was."""

    trials: Annotated[int, Field(gt=0, le=10_000_000), _NUMBER] | None = None
    time_limit: Annotated[FiniteFloat, Field(gt=0), _NUMBER] | None = None


class Trial(Model):
    """A trial."""

    trial: int
    state: str = Field(description="running, done or failed")
    step: int | None = Field(description="Place of its result among all results, from 1")
    tokens: list[int]
    layers: str
    seed: int
    reward: float | None
    reason: str | None = Field(description="Why it failed")
    metrics: dict[str, Any] | None
    started: float
    ended: float | None


class TrialPage(Model):
    """Some trials of a search."""

    trials: list[Trial]
    total: Count


class Point(Model):
    """A point of the curve of rewards."""

    step: int
    reward: float | None
    best: float | None


class CurvePage(Model):
    """Rewards by step, of the search and of its control."""

    points: list[Point]
    control: list[Point]


class Policy(Model):
    """What the policy has become sure of."""

    step: int | None
    decisions: dict[str, list[float]]
    choices: dict[str, list[str]]


class ParetoPoint(Model):
    """A trial beside the others: what it reached, and what it costs."""

    trial: int
    value: float
    cost: float
    front: bool
    layers: str


class ParetoPage(Model):
    """The trials that no other one beats in both, and the others."""

    cost: str
    metric: str
    points: list[ParetoPoint]


class Best(Model):
    """The best architecture of a search."""

    trial: int
    tokens: list[int]
    layers: str
    val_accuracy: float
    test_accuracy: float | None
    params: int
    files: list[str] = Field(description="What can be downloaded, below /files/")


class Ask(Model):
    """A worker asks for trials."""

    worker: Annotated[
        str, StringConstraints(min_length=1, max_length=100), AfterValidator(_clean)
    ] = Field(description="Name of the worker, for people to read")
    count: Annotated[int, Field(ge=1, le=_MOST_AT_ONCE), _NUMBER] = 1
    seconds: LeaseSeconds = Field(
        60.0, description="How long a lease lasts unless a heartbeat keeps it"
    )
    wait: Annotated[FiniteFloat, Field(ge=0, le=30), _NUMBER] = Field(
        0.0, description="How long to wait for a trial where none is free"
    )
    request: Token | None = Field(
        None,
        description="The worker's name for this call: asked again with it, it gets the same leases",
    )


class LeasedTrial(Model):
    """A trial that one worker holds."""

    trial: str = Field(description="Its name in addresses, for example trial-7")
    lease: str = Field(description="Proves the right to tell; goes with heartbeat and tell")
    expires: float = Field(description="When the lease ends, seconds since 1970")
    tokens: list[int]
    description: str
    architecture: dict[str, Any] | None = Field(
        description="Keras JSON of the untrained network; null for a row of a table"
    )
    recipe: dict[str, Any] = Field(description="How to train it")
    epochs: int
    floors: list[float] = Field(
        description="For each epoch, the least best accuracy so far with which to go on"
    )
    seed: int
    metric: str = Field(description="What is rewarded: accuracy, or a name in metrics.extra")
    cost: str | None = Field(description="What of it counts beside: a field of the metrics")
    params: int
    flops: int


class Asked(Model):
    """The leases that a worker got."""

    trials: list[LeasedTrial]
    state: str = Field(description="State of the search")
    ended: bool = Field(description="Nothing more will come: the worker may end")


class Beat(Model):
    """A worker still trains."""

    lease: Token
    seconds: LeaseSeconds = 60.0
    val_accuracy: Scores | None = Field(
        None, description="Validation accuracy behind each epoch so far"
    )


class Beaten(Model):
    """Whether to go on."""

    go_on: bool
    reason: str | None = Field(description="Why to stop; tell what was measured so far")
    expires: float | None


class ToldMetrics(Model):
    """What a worker measured."""

    val_accuracy: Annotated[tuple[Score, ...], Field(min_length=1, max_length=_MOST_EPOCHS)] = (
        Field(description="Accuracy, or R2, behind each epoch: a share, at most 1")
    )
    val_loss: Curve = ()
    loss: Curve = ()
    params: ToldCount = 0
    flops: ToldCount = 0
    seconds: Amount = 0.0
    peak_memory: Amount = Field(0.0, description="Megabytes")
    latency: Amount = Field(0.0, description="Milliseconds for one example")
    size: Amount = Field(0.0, description="Megabytes on disk")
    stopped: Switch = False
    extra: Annotated[
        dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")], Figure],
        Field(max_length=_MOST_EXTRA, json_schema_extra={"additionalProperties": False}),
    ] = {}


class Tell(Model):
    """What became of a trial: metrics, or why there are none."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [one], "properties": {one: {"not": {"type": "null"}}, other: _NULL}}
                for one, other in (("metrics", "failure"), ("failure", "metrics"))
            ]
        }
    )

    lease: Token
    metrics: ToldMetrics | None = None
    failure: (
        Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_clean)]
        | None
    ) = None


class Told(Model):
    """The outcome counts."""

    trial: str
    repeated: bool = Field(description="It was told before, and nothing has changed")


class Leases(Model):
    """How the trials of an external search stand."""

    queued: Count
    leased: Count
    expired: Count
    told: Count
    workers: list[dict[str, Any]]


class Deleted(Model):
    """A search in the trash."""

    id: str
    name: str
    deleted: float


class Trash(Model):
    """What was deleted."""

    deleted: list[Deleted]


class Health(Model):
    """Whether the server works."""

    status: str
    version: str
