"""Every setting, once: the struct below feeds keyword arguments, environment, command line and docs.

A setting `name` is `App(name=…)` in code, `PENSTOCK_NAME` in the environment and `--name` on the command
line; an argument beats the environment. This is the only module that reads the environment.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from .errors import ConfigError

__all__ = ["SETTINGS", "Setting", "Settings", "environment", "load"]

PREFIX = "PENSTOCK_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings with their defaults. Made by `load`, which checks bounds and names what is wrong."""

    store: Annotated[
        str,
        Meta(
            description="Where runs and events are kept: `sqlite:///PATH` (relative to the working folder) "
            "or `memory:`."
        ),
    ] = "sqlite:///penstock.db"
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(
            description="What an answered write survives: `full` a power loss, `normal` a process kill only, "
            "without waiting for the disk."
        ),
    ] = "full"
    host: Annotated[str, Meta(description="Address to listen on. One beyond this machine needs a token.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8000
    token: Annotated[
        str,
        Meta(
            description="Secret that every request must carry: `Authorization: Bearer …`. Empty: none is asked."
        ),
    ] = ""
    allowed_hosts: Annotated[
        str,
        Meta(
            description="Comma-separated host names a server without a token answers to, beside this machine's "
            "own (`localhost`, `127.0.0.1`, `[::1]`); keeps other sites' pages out."
        ),
    ] = ""
    rate: Annotated[
        float,
        Meta(
            ge=0, le=1000, description="Appends a second for each run at most; 0 merges and delays nothing."
        ),
    ] = 20.0
    heartbeat_s: Annotated[
        float,
        Meta(
            gt=0, le=3600, description="Seconds between comments on a quiet stream; proxies cut at 30 to 60."
        ),
    ] = 15.0
    stall_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86400,
            description="Seconds after which a reader that takes nothing is cut off, and an upload that brings "
            "nothing; both resume.",
        ),
    ] = 60.0
    max_age_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86400,
            description="Seconds after which a stream is ended politely and its reader resumes, for proxies that "
            "cut and deploys that roll; 0 is never.",
        ),
    ] = 0.0
    compression: Annotated[
        Literal["auto", "off"],
        Meta(
            description="`auto` compresses streams for readers that offer gzip or zstd, as browsers do; `off` "
            "never does, where a proxy does it, say."
        ),
    ] = "auto"
    long_poll_timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="Longest wait of a long-poll, in seconds.")
    ] = 25.0
    grace_s: Annotated[
        float, Meta(ge=0, le=86400, description="Seconds that runs are given to finish at shutdown.")
    ] = 10.0
    lease_s: Annotated[
        float,
        Meta(
            ge=1, le=3600, description="Seconds without a sign of life after which a worker counts as lost."
        ),
    ] = 10.0
    max_threads: Annotated[
        int,
        Meta(
            ge=1,
            le=32768,
            description="Plain (`def`) functions that run at once, each in a thread of its own.",
        ),
    ] = 1024
    memory_limit_mb: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="MiB that all processes of the service may have; above it functions wait at their yields "
            "and new runs are refused with 503. 0 is no limit; `none` is 80 % of what the control group or the "
            "machine has."
        ),
    ] = None
    max_body_bytes: Annotated[int, Meta(ge=1024, description="Largest request body.")] = 4 * 1024 * 1024
    max_upload_bytes: Annotated[
        int, Meta(ge=0, description="Largest uploaded file; 0 takes none. It need not fit into memory.")
    ] = 1024 * 1024 * 1024
    upload_keep_s: Annotated[
        float,
        Meta(
            gt=0,
            le=1e9,
            description="Seconds after its last bytes for which an upload that no run uses is kept.",
        ),
    ] = 86400.0
    default_concurrency_limit: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Calls of one group at once, where a function does not say; `none` is no limit."),
    ] = 1
    max_size: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="Runs of one group that may wait, where a function does not say; more are refused with "
            "503. `none` is no limit.",
        ),
    ] = None


_MAY_BE_NONE = {"default_concurrency_limit", "max_size", "memory_limit_mb"}
"""Settings for which None is a value, not the lack of one."""


class Setting(NamedTuple):
    """One setting as the command line and the docs show it."""

    name: str
    type: Any
    default: Any
    help: str

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _settings() -> tuple[Setting, ...]:
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    return tuple(
        Setting(name, field.type.__origin__, field.default, field.type.__metadata__[0].description)
        for name, field in fields.items()
    )


SETTINGS = _settings()


def load(given: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from `given` (None values count as not given), else the environment, else the defaults.

    Raises ConfigError naming the setting, where it came from and what it takes.
    """
    values: dict[str, Any] = {s.name: environ[s.variable] for s in SETTINGS if s.variable in environ}
    chosen = {
        name: value for name, value in (given or {}).items() if value is not None or name in _MAY_BE_NONE
    }
    values |= chosen
    for name in _MAY_BE_NONE & values.keys():
        if str(values[name]).lower() == "none":  # as text, from the environment or the command line
            values[name] = None
    try:
        return msgspec.convert(values, _Strict, strict=False)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), chosen) from error


def _refusal(problem: str, chosen: Mapping[str, Any]) -> ConfigError:
    what, _, name = problem.removesuffix("`").rpartition("`")  # it ends with the name: … - at `$.port`
    name = name.removeprefix("$.")
    setting = next((setting for setting in SETTINGS if setting.name == name), None)
    if setting is None:
        return ConfigError(
            f"There is no setting {name!r}.", hint="docs/settings.md has them all.", field=name
        )
    source = f"The setting {name!r}" if name in chosen else f"The environment variable {setting.variable}"
    problem = what.removesuffix(" - at ")
    return ConfigError(f"{source} can't be used: {problem}.", hint=setting.help, field=name)


class _Strict(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that refuse a name they do not know, so that a typing error is not a silent default."""


def environment(name: str) -> str:
    """An environment variable of another program's that Penstock honours (`OPENAI_API_KEY`); empty if unset."""
    return os.environ.get(name, "")


def pass_on(name: str, value: str) -> None:
    """Set an environment variable for the programs that this process starts from now on."""
    os.environ[name] = value


def as_markdown() -> str:
    """All settings as a table; `docs/settings.md` holds it, and a test keeps it true."""
    rows = [f"| `{s.name}` | `{s.flag}` | `{s.variable}` | `{s.default!r}` | {s.help} |" for s in SETTINGS]
    return "\n".join(
        [
            "| setting | option | environment | default | what it does |",
            "| --- | --- | --- | --- | --- |",
            *rows,
        ]
    )
