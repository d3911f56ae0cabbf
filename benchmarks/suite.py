"""What a suite is: its keys, their checks, the suites that ship, and the template of a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_plain_validator_function

from recipebench.benchmarks import suite_checks as checks
from recipebench.benchmarks import suite_claims as claims_of
from recipebench.benchmarks import suite_schema as schemas
from recipebench.benchmarks.combinations import (
    CATALOGS,
    ON_GPUS_ONLY,
    SETTINGS,
    Axes,
    Block,
    Inputs,
    LastBatch,
    LevelSpec,
    MisplacedError,
    Precision,
    Sampling,
    Settings,
)
from recipebench.benchmarks.crossing import check_fair, check_plan, cross, ranges_of
from recipebench.benchmarks.records import MAIN_METRIC, METRICS, metric_of
from recipebench.benchmarks.suite_file import Document, KeyPath, from_mapping, read, show
from recipebench.benchmarks.tracking.options import check_track, track_schema
from recipebench.benchmarks.tracking.target import Tracking
from recipebench.datamodules.catalog import facts_of
from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice
from recipebench.reports.suite_info import RegisteredClaim

DEFAULT_ENDPOINT = "test_accuracy_at_best"


@dataclass(frozen=True)
class _By:
    """How a field is checked and described; both when asked for, so that plug-in levels take part."""

    check: Callable[[object], object]
    schema: Callable[[], dict[str, Any]]

    def __get_pydantic_core_schema__(self, _: object, __: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.schema()


class _Strict(BaseModel):
    """A mapping whose unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class DataProtocol(_Strict):
    """How cells are trained; what is left out is taken from the protocol of the suite."""

    epochs: Annotated[int, _By(checks.check_epochs, schemas.epochs)] = Settings.epochs
    batch_size: Annotated[int | Literal["full"], _By(checks.check_batch_size, schemas.batch_size)] = (
        Settings.batch_size
    )
    validation: Annotated[int | float, _By(checks.check_validation_size, schemas.validation)] = (
        Settings.validation
    )
    inputs: Annotated[Inputs, _By(checks.check_inputs, schemas.inputs)] = Settings.inputs
    train_samples: Annotated[int | None, _By(checks.check_train_samples, schemas.train_samples)] = (
        Settings.train_samples
    )
    label_noise: Annotated[float, _By(checks.check_label_noise, schemas.label_noise)] = Settings.label_noise
    last_batch: Annotated[LastBatch, _By(checks.check_last_batch, schemas.last_batch)] = Settings.last_batch
    sampling: Annotated[Sampling, _By(checks.check_sampling, schemas.sampling)] = Settings.sampling
    precision: Annotated[Precision, _By(checks.check_precision, schemas.precision)] = Settings.precision

    def given(self) -> dict[str, Any]:
        """Return the settings that the suite names itself."""
        names = [name for name in DataProtocol.model_fields if name in self.model_fields_set]
        return {name: getattr(self, name) for name in names}


class SuiteProtocol(DataProtocol):
    """How cells are trained, with exceptions for single data sets under `per_data`."""

    per_data: dict[str, DataProtocol] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_names(self) -> SuiteProtocol:
        for name in self.per_data:
            checks.check_data_name(name, ("per_data", name))
        return self


class Tuning(_Strict):
    """How the hyper-parameters that the suite gives ranges are chosen."""

    seeds: Annotated[tuple[int, ...], _By(checks.check_tuning_seeds, schemas.seeds)] = (
        checks.check_tuning_seeds(3)
    )


class Suite(_Strict):
    """A validated suite: which cells are planned, and how they are judged.

    Args:
        name: the suite's name in records and reports.
        description: for people.
        data: data sets.
        model: models; empty where `matrix` names them or the default holds.
        matrix: factors, `<factor>.<hyper-parameter>`, model and parts of the protocol, with their levels.
        include: further crossings; an entry takes from the matrix what it leaves out.
        exclude: combinations that match every key of an entry are dropped, from `include` too.
        seeds: the seeds of every combination.
        device: the devices that every combination is trained on.
        protocol: epochs, batch size, validation, inputs, and what else `Settings` has.
        probes: what is measured of the layers after every epoch, beside losses and scores.
        endpoint: the column that recipes are judged by, declared before the run.
        smallest_effect: the smallest difference of the endpoint that matters, by data set.
        reference: the score of which a smallest effect is an improvement, by data set.
        claims: what is claimed before the run, one family; `registered` says what of the plan each is about.
        tuning: the seeds on which hyper-parameters are chosen, where some are ranges.
        time_to_target: validation scores, by data set, that are to be reached, or `share`: of the way from
            chance to the best.
        track: where the runs are tracked; None tracks nothing, unless the command asks for it.
    """

    name: Annotated[str, _By(checks.check_name, schemas.name)]
    description: Annotated[str, _By(checks.check_description, schemas.description)] = ""
    data: Annotated[tuple[LevelSpec, ...], _By(checks.check_data, schemas.data)]
    model: Annotated[tuple[LevelSpec, ...], _By(checks.check_model, schemas.model)] = ()
    matrix: Annotated[Axes, _By(checks.check_matrix, schemas.matrix)] = Field(default_factory=dict)
    include: Annotated[tuple[Axes, ...], _By(checks.check_rules, schemas.rules)] = ()
    exclude: Annotated[tuple[Axes, ...], _By(checks.check_rules, schemas.rules)] = ()
    seeds: Annotated[tuple[int, ...], _By(checks.check_seeds, schemas.seeds)] = (0, 1, 2, 3, 4)
    device: Annotated[tuple[str, ...], _By(checks.check_devices, schemas.device)] = ("cpu",)
    protocol: SuiteProtocol = Field(default_factory=SuiteProtocol)
    probes: Annotated[tuple[str, ...], _By(checks.check_probes, schemas.probes)] = ()
    endpoint: Annotated[str, _By(checks.check_endpoint, schemas.endpoint)] = DEFAULT_ENDPOINT
    smallest_effect: Annotated[
        Mapping[str, float], _By(checks.check_smallest_effect, schemas.smallest_effect)
    ] = Field(default_factory=dict)
    reference: Annotated[Mapping[str, float], _By(checks.check_reference, schemas.reference)] = Field(
        default_factory=dict
    )
    claims: Annotated[tuple[claims_of.ClaimSpec, ...], _By(claims_of.check_claims, schemas.claims)] = ()
    tuning: Tuning = Field(default_factory=Tuning)
    time_to_target: Annotated[
        Mapping[str, float], _By(checks.check_time_to_target, schemas.time_to_target)
    ] = Field(default_factory=dict)
    track: Annotated[Tracking | None, _By(check_track, track_schema)] = None

    @model_validator(mode="after")
    def _check(self) -> Suite:
        self._check_given_once()
        self._check_data_names()
        self._check_endpoint()
        check_plan(self)
        self._check_precision()
        self._check_tuning()
        claims_of.check_references(self, self.data_names())
        self.registered()
        return self

    def blocks(self) -> list[Block]:
        """Return what is crossed: the matrix, then every entry of `include`."""
        top: Axes = {"data": self.data, **({"model": self.model} if self.model else {})}
        base = {**top, **self.matrix}
        matrix = [Block(("matrix",), base, above=frozenset(top))] if self.matrix else []
        extra = [
            Block(("include", i), {**base, **entry}, frozenset(entry), frozenset(top) - frozenset(entry))
            for i, entry in enumerate(self.include)
        ]
        return [*matrix, *extra]

    def data_names(self) -> list[str]:
        """Return the names of all data sets that are planned."""
        specs = [spec for block in self.blocks() for spec in block.axes["data"]]
        return list(dict.fromkeys(spec.name for spec in specs if isinstance(spec, LevelSpec)))

    def levels(self) -> dict[str, tuple[Choice, ...]]:
        """Return the planned levels of data, model and every factor, in the suite's order."""
        found: dict[str, dict[str, Choice]] = {axis: {} for axis in CATALOGS}
        for combination in cross(self):
            for axis in CATALOGS:
                if choice := combination.level(axis):
                    found[axis].setdefault(repr(choice), choice)
        return {axis: tuple(choices.values()) for axis, choices in found.items()}

    def registered(self) -> tuple[RegisteredClaim, ...]:
        """Return the claims with the planned levels and data sets that each is about.

        Raises:
            MisplacedError: a claim is about what is not planned.
        """
        return claims_of.resolve(self)

    def tuned(self) -> bool:
        """Whether any hyper-parameter is to be chosen."""
        return any(True for block in self.blocks() for _ in ranges_of(block))

    def settings_for(self, data_name: str) -> Settings:
        """Return the protocol of a data set, before factors such as `batch_size` replace parts of it."""
        own = self.protocol.per_data.get(data_name)
        return Settings(**{**self.protocol.given(), **(own.given() if own else {})}, probes=self.probes)

    def endpoint_for(self, data_name: str) -> str:
        """Return the endpoint on a data set: a metric that its task lacks gives way to the task's main one.

        Example:
            >>> suite = load_suite("quick")
            >>> suite.endpoint_for("digits"), suite.endpoint_for("synthetic_regression")
            ('test_accuracy_at_best', 'test_mse_at_best')
        """
        task = facts_of(data_name).task
        metric = metric_of(self.endpoint)
        own = metric if metric in METRICS[task] else MAIN_METRIC[task]
        return self.endpoint.replace(metric, own)

    def criterion_for(self, data_name: str) -> str:
        """Return what hyper-parameters are chosen by on a data set: the endpoint, of the validation data.

        Example:
            >>> load_suite("quick").criterion_for("digits")
            'validation_accuracy_at_best'
        """
        return "validation_" + self.endpoint_for(data_name).partition("_")[2]

    def replaced(self, *, seeds: object = None, device: object = None) -> Suite:
        """Return the same suite with other seeds or devices, as the command line gives them.

        Args:
            seeds: a count or a list, as in the file; None keeps the suite's own.
            device: one or a list, as in the file; None keeps the suite's own.

        Raises:
            RequestError: a value that the file could not have either.
        """
        given = {"seeds": (seeds, checks.check_seeds), "device": (device, checks.check_devices)}
        update: dict[str, object] = {}
        for name, (value, check) in given.items():
            try:
                update |= {} if value is None else {name: check(value)}
            except ValueError as error:
                raise RequestError(f"{name}: {error}") from None
        changed = self.model_copy(update=update)
        try:
            changed._check_seeds_apart()
            changed._check_precision()
        except MisplacedError as error:
            raise RequestError(f"{'.'.join(map(str, error.path))}: {error}") from None
        return changed

    def _check_given_once(self) -> None:
        if not self.matrix and not self.include:
            raise MisplacedError(
                ("matrix",), "expected at least one factor, or cells listed under include; got neither."
            )
        if self.model and "model" in self.matrix:
            raise MisplacedError(("model",), "expected model in one place, but matrix gives it too.")
        for name in SETTINGS:
            for place, part in self._protocols():
                if name in self.matrix and name in part.model_fields_set:
                    raise MisplacedError(
                        (*place, name), f"expected {name} in one place, but matrix gives it too."
                    )

    def _protocols(self) -> list[tuple[KeyPath, DataProtocol]]:
        parts = [(("protocol", "per_data", name), part) for name, part in self.protocol.per_data.items()]
        return [(("protocol",), self.protocol), *parts]

    def _check_data_names(self) -> None:
        known = self.data_names()
        places: list[KeyPath] = [("protocol", "per_data", name) for name in self.protocol.per_data]
        places += [("smallest_effect", name) for name in self.smallest_effect]
        places += [("time_to_target", name) for name in self.time_to_target if name != checks.SHARE]
        for path in places:
            if path[-1] not in known:
                raise MisplacedError(path, unknown("data of this suite", path[-1], known))

    def _check_precision(self) -> None:
        """Refuse numbers that a planned device does not compute with."""
        others = [device for device in self.device if not device.startswith("gpu")]
        places = [((*b.place("precision"),), b.axes.get("precision", ())) for b in self.blocks()]
        places += [((*place, "precision"), (part.precision,)) for place, part in self._protocols()]
        for path, values in places:
            for value in values if others else ():
                if value in ON_GPUS_ONLY:
                    raise MisplacedError(
                        path, f"expected {value} with device: gpu only, got it with {', '.join(others)}."
                    )

    def _check_tuning(self) -> None:
        """Refuse what makes a comparison unfair: unequal efforts, several spaces of a level, shared seeds."""
        if not self.tuned():
            if "tuning" in self.model_fields_set:
                raise MisplacedError(
                    ("tuning",), "expected a hyper-parameter to tune, such as lr: {tune: {…}}."
                )
            return
        check_fair(self.blocks())
        self._check_seeds_apart()

    def _check_seeds_apart(self) -> None:
        shared = sorted(set(self.seeds) & set(self.tuning.seeds)) if self.tuned() else []
        if shared:
            raise MisplacedError(
                ("tuning", "seeds"),
                f"expected seeds that the suite does not report on, got {', '.join(map(str, shared[:5]))}: "
                "what is tuned on a seed looks better on it than it is.",
            )

    def _check_endpoint(self) -> None:
        metric = metric_of(self.endpoint)
        tasks = {facts_of(name).task for name in self.data_names()}
        fitting = any(metric in METRICS[task] for task in tasks)
        if self.endpoint != DEFAULT_ENDPOINT and not fitting:
            fits = ", ".join(m for task in sorted(tasks) for m in METRICS[task])
            raise MisplacedError(("endpoint",), f"no data set of this suite has {metric}; they have {fits}.")


def load_suite(source: str | Path | Mapping[str, object] | Suite) -> Suite:
    """Validate a suite.

    Args:
        source: the name of a shipped suite, the path of a YAML file (a string with a slash or the ending
            `.yaml` or `.yml` is a path), or the same as a nested mapping.

    Raises:
        RequestError: one message that names file, line, key, what was expected and the nearest known name.

    Example:
        >>> load_suite("quick").name
        'quick'
        >>> load_suite("quik")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        recipebench.errors.RequestError: Unknown suite 'quik'. Known: ... Did you mean 'quick'?
    """
    if isinstance(source, Suite):
        return source
    if isinstance(source, Mapping):
        return validate(from_mapping(source))
    if isinstance(source, Path) or _looks_like_path(source):
        return validate(read(Path(source)))
    suites = shipped()
    if source not in suites:
        raise RequestError(unknown("suite", source, suites))
    return validate(read(suites[source], name=source))


def validate(document: Document) -> Suite:
    """Check plain data and return the suite.

    Raises:
        RequestError: naming file, line and key.
    """
    if not isinstance(document.data, Mapping):
        raise document.error((), f"expected a mapping with name, data and matrix, got {show(document.data)}.")
    try:
        return Suite.model_validate(document.data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A misspelled key comes first: it explains the key that is missing.
        path, message = _explain(min(found, key=lambda one: one["type"] != "extra_forbidden"))
        raise document.error(path, message) from None


def shipped() -> dict[str, Path]:
    """Return the suites that ship, by name."""
    folder = Path(__file__).parent / "suites"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a suite, for editors: all known levels with their summaries."""
    schema = Suite.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "recipebench suite"}


def template() -> str:
    """Return the commented suite that `recipebench init` writes."""
    return _TEMPLATE


def _looks_like_path(source: str) -> bool:
    return "/" in source or "\\" in source or source.endswith((".yaml", ".yml"))


def _explain(error: Any) -> tuple[KeyPath, str]:
    """Turn pydantic's account of an error into a place and a sentence."""
    path: KeyPath = tuple(error["loc"])
    kind: str = error["type"]
    if kind == "value_error":
        cause = error["ctx"]["error"]
        return (*path, *getattr(cause, "path", ())), str(cause)
    if kind == "extra_forbidden":
        return path, unknown("key", path[-1], _keys_at(path[:-1]))
    if kind == "missing":
        return path, "expected this key, got nothing."
    return path, f"expected a mapping, got {show(error['input'])}."


def _keys_at(path: KeyPath) -> Iterable[str]:
    models: dict[int, type[BaseModel]] = {0: Suite, 1: Tuning if path == ("tuning",) else SuiteProtocol}
    return models.get(len(path), DataProtocol).model_fields


_TEMPLATE = f"""\
# A suite: which recipes are trained on which data, and how they are judged.
# `recipebench run my.yaml --dry-run` shows what it plans; `recipebench list` shows every level.
name: my_suite                            # a-z, 0-9, _ and -; stands in records and reports
description: Which activation suits which initializer?

data: [synthetic_regression, digits]      # these two need no download; also mnist, fashion_mnist
model: {{mlp: {{hidden: [64, 32]}}}}          # units of each hidden layer

# Factors: every level of one is crossed with every level of the others.
# A level is a name, or a name with hyper-parameters; what is left out takes its default.
matrix:
  activation: [sigmoid, relu, {{leaky_relu: {{negative_slope: 0.1}}}}]
  initializer: [xavier, he]
  regularizer: [none, {{dropout: {{p: 0.2}}}}]
  optimizer: [sgd, {{adam: {{lr: 1e-3}}}}]
  # Loss, schedule and augmentation too; any hyper-parameter; and parts of the protocol:
  # optimizer.lr: [0.1, 0.01]             # (then give no lr in the levels above)
  # A range lets validation data choose the value, on seeds of their own:
  # optimizer: [{{sgd: {{lr: {{tune: {{low: 1e-3, high: 1, trials: 8}}}}}}}}]

# Further cells; what an entry leaves out takes every level of the matrix.
include:
  - {{data: digits, activation: maxout, optimizer: adam}}

# Cells that match every key of an entry are dropped; a bare name matches any hyper-parameters.
exclude:
  - {{activation: sigmoid, initializer: he}}

seeds: 5                                  # 0 to 4; or a list: [0, 1, 7]
device: cpu                               # cpu, gpu, gpu:N, cpu:N, or a list

protocol:
  epochs: 10
  batch_size: 32
  validation: 0.1                         # share of the training data, or a count
  inputs: unit                            # [0, 1], or standardized
  per_data:                               # exceptions for single data sets
    synthetic_regression: {{epochs: 20, batch_size: 10}}

# Declared before the run: what recipes are judged by, and the smallest difference that matters.
endpoint: {DEFAULT_ENDPOINT}         # test_mse_at_best on regression data
smallest_effect: {{digits: 0.01, synthetic_regression: 0.001}}
reference: {{digits: 0.95}}                 # 0.01 is an improvement of this: errors of 4 % for 5 %

# Claims, registered before the run: the report says of each supported, refuted or inconclusive.
claims:
  - {{better: {{activation: relu}}, than: {{activation: sigmoid}}, data: digits}}
"""
