"""What is written under `plugins`: which policies of users' own are used, and where in the order they stand."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, Secret, model_validator
from pydantic_core import PydanticKnownError

from portico.core.settings import Duration, Settings

ENTRY_POINTS: Final = "portico.policies"
"""The group of entry points whose names may be used."""


def _step(key: str) -> str:
    from portico.policies import STEPS  # it needs these settings itself

    known = list(dict.fromkeys(step.key for step in STEPS))
    if key not in known:
        words = [f"'{each}'" for each in known]
        expected = f"{', '.join(words[:-1])} or {words[-1]}"
        raise PydanticKnownError("literal_error", {"expected": expected})
    return key


def _use(text: str) -> str:
    if not text.strip():
        raise ValueError("name a policy: package.module:Class, ./file.py:Class or an entry point")
    return text


def _nothing(value: Any) -> Any:
    return {} if value is None else value


Step: TypeAlias = Annotated[str, AfterValidator(_step)]
"""The key of a built-in policy."""


class PluginSettings(Settings):
    """One policy of a user's own.

    `use` names its class: `package.module:Class`, `./file.py:Class` beside the configuration file, or an entry point.
    `with` is for the class's own `Settings`, which validates it; it is hidden whole, as only that knows what is secret.
    """

    drops_empty: ClassVar[bool] = True

    use: Annotated[str, AfterValidator(_use)]
    """The class: `./policies/block.py:BlockOldClients`, a file, relative to that of the configuration;
    `my_package.policies:BlockOldClients`, what is installed where the gateway runs; or the name of an entry point in
    the group `portico.policies`.
    """
    with_: Annotated[
        Secret[dict[str, Any]], BeforeValidator(_nothing), Field(alias="with", default_factory=lambda: Secret({}))
    ]
    """For the class's `Settings`, which says what may stand here; what is wrong with it is reported with its line and
    column as anywhere else. It is never shown, as only the class knows what of it is secret.
    """
    before: Step | None = None
    """The built-in policy before which it stands, whether or not a route has that. Before `rate_limit` is before both
    of its places.
    """
    after: Step | None = None
    """The built-in policy after which it stands; one of the two. Without either it follows them all."""
    timeout: Duration = 1.0
    """How long its `request` may take where that is `async`."""
    on_error: Literal["refuse", "skip"] = "refuse"
    """What follows if it fails: the client gets 500, `policy_failed`, or the request goes on without it."""

    @model_validator(mode="before")
    @classmethod
    def _no_bare_use(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f'expected keys and values: write {{use: "{value}"}}')
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.before is not None and self.after is not None:
            raise ValueError("it stands before one step or after one: write before or after, not both")
        return self

    @property
    def name(self) -> str:
        """That of the class or the entry point: what the policy is called in answers, events and metrics."""
        return self.use.rpartition(":")[2]

    @property
    def written(self) -> dict[str, Any]:
        """What is written under `with`."""
        return self.with_.get_secret_value()


def _no_list(value: Any) -> Any:
    """`true` where no level above has a list."""
    return [] if value == {} else value


PluginList: TypeAlias = Annotated[
    list[PluginSettings], BeforeValidator(_no_list, json_schema_input_type=list[PluginSettings])
]
