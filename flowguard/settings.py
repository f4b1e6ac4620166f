"""Settings: what differs between a desk and production, from environment variables and one optional file.

Where the store, the registry and the Prefect server are is the same for all pipelines of a project and another on
every machine, so it stands in no pipeline file. An environment variable beats the file; the file is `flowguard.toml` in
the project folder, else in the current one, or the one that FLOWGUARD_SETTINGS names. Names that MLflow, Prefect and
S3 clients read themselves are theirs.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, PrivateAttr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from flowguard.errors import SettingsError

FILE = "flowguard.toml"
NAMED = "FLOWGUARD_SETTINGS"
"""The environment variable with the path of the settings file, where it lies elsewhere."""

# Read by Prefect, boto3 and pyarrow from the environment alone: what the file says of them is put there.
_READ_BY_OTHERS = {
    "prefect_api_url": "PREFECT_API_URL",
    "s3_endpoint": "AWS_ENDPOINT_URL_S3",
    "artifacts_s3_endpoint": "MLFLOW_S3_ENDPOINT_URL",
}
_HTTP = ("prefect_api_url", "s3_endpoint", "artifacts_s3_endpoint", "desk_url", "mlflow_url")
_DATABASES = ("store", "tracking_uri", "registry_uri")
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"


def _named(*names: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(*names))


class Settings(BaseSettings):
    """The settings of one project, as `settings` reads them; None where nothing is said."""

    model_config = SettingsConfigDict(frozen=True, case_sensitive=True, env_ignore_empty=True, extra="forbid")

    store: str | None = _named("FLOWGUARD_STORE")
    """The database of what is remembered between runs; by default SQLite in the output folder."""
    tracking_uri: str | None = _named("MLFLOW_TRACKING_URI")
    """The MLflow server or database; by default SQLite in the output folder."""
    registry_uri: str | None = _named("MLFLOW_REGISTRY_URI")
    """The MLflow registry, where it is another than `tracking_uri`."""
    artifacts: str | None = _named("FLOWGUARD_ARTIFACTS")
    """Where new models' files go when no MLflow server decides that: a folder or s3://bucket/path."""
    prefect_api_url: str | None = _named("PREFECT_API_URL")
    """The Prefect server; without one, flows run in a server of their own and no schedule fires."""
    s3_endpoint: str | None = _named("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    """The S3 service of data and artifacts, where it is not Amazon's."""
    artifacts_s3_endpoint: str | None = _named("MLFLOW_S3_ENDPOINT_URL")
    """The S3 service of artifacts, where it is another than that of the data."""
    desk_url: str | None = _named("FLOWGUARD_DESK_URL")
    """Where people find the desk, for links to it."""
    mlflow_url: str | None = _named("FLOWGUARD_MLFLOW_URL")
    """Where people find MLflow's pages, for links to them; by default at `tracking_uri`, where that is a server."""
    notify: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validation_alias=AliasChoices("FLOWGUARD_NOTIFY"))
    """The addresses that are told what happened: URLs as apprise reads them. They are secrets as a whole."""
    log: Literal["text", "json"] = Field(default="text", validation_alias=AliasChoices("FLOWGUARD_LOG"))
    """How log lines are written: for people, or as JSON."""
    log_level: Literal["debug", "info", "warning", "error"] | None = _named("FLOWGUARD_LOG_LEVEL")
    """From which level on; by default warning for people and info for JSON."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(default=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then the file, whose values `settings` passes in."""
        return env_settings, init_settings

    @field_validator("log", "log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator(*_HTTP)
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not (re.match(r"https?://", value) and urlsplit(value).hostname):
            raise ValueError("an address with http:// or https://")
        return value

    @field_validator("notify", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One after the other in a variable, apart by spaces or commas; an address may have commas of its own."""
        every = re.split(rf"[\s,]+(?={_SCHEME})", value) if isinstance(value, str) else value
        if not isinstance(every, list | tuple) or not all(isinstance(one, str) for one in every):
            raise ValueError("a list of addresses in quotes")
        every = [one.strip().rstrip(",") for one in every if one.strip()]
        if not all(re.match(_SCHEME, one) for one in every):
            raise ValueError("addresses such as slack://, mailto:// or json://, apart by spaces")
        return tuple(every)

    @property
    def file(self) -> Path | None:
        """The settings file that was read, or None."""
        return self._file

    def origin(self, name: str) -> str:
        """Who said `name`: an environment variable, the file's name, or "" for the default."""
        return self._origins.get(name, "")

    def shown(self) -> dict[str, tuple[str, str]]:
        """What was said: each setting's value without passwords, and its origin."""
        return {name: (self._shown(name), origin) for name, origin in self._origins.items()}

    def holds_secret(self, name: str) -> bool:
        """Whether the value of `name` is one that others must not read."""
        return bool(self.notify) if name == "notify" else holds_password(str(getattr(self, name)))

    def _shown(self, name: str) -> str:
        if name == "notify":
            return ", ".join(masked_address(one) for one in self.notify)
        return masked(str(getattr(self, name)))

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, (value, _) in self.shown().items())})"

    __str__ = __repr__


def settings(project: str | Path | None = None) -> Settings:
    """The settings that hold for the pipelines of the folder `project`, by default the current one.

    Read once per process: a run does not change its store in mid-work. What the file says for Prefect and for S3
    clients goes to the variables that they read, so this comes before they are imported. Raises `SettingsError`.
    """
    file = _file_for(Path(project) if project is not None else Path.cwd())
    with _LOCK:
        given = tuple((name, value) for name in VARIABLES if (value := _given(name)))
        known = _READ.get((file, given))
        if known is None:
            _withdraw()
            known = _READ[file, given] = _read(file)
        _export(known)
    return known


def masked(text: str) -> str:
    """`text` with the passwords of its addresses hidden.

    >>> masked("postgresql://me:s3cret/@db/flowguard?sslmode=require&password=s3cret")
    'postgresql://me:***@db/flowguard?sslmode=require&password=***'
    """
    text = re.sub(r"(://[^/@:\s]*):[^\s]*@", r"\1:***@", text)
    return re.sub(r"([?&](?:password|sslpassword)=)[^&\s]*", r"\1***", text)


def masked_address(address: str) -> str:
    """An address of `notify` without its secrets, which may stand anywhere behind its scheme.

    >>> masked_address("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    'slack://***'
    """
    scheme = re.match(_SCHEME, address)
    return f"{scheme[0]}***" if scheme else "***"


def holds_password(text: str) -> bool:
    """Whether `masked` would hide something of it."""
    return masked(text) != text


def _names_of(field: str) -> list[str]:
    alias = Settings.model_fields[field].validation_alias
    assert isinstance(alias, AliasChoices), "every setting has its variables"
    return [str(name) for name in alias.choices]


VARIABLES = tuple(name for field in Settings.model_fields for name in _names_of(field))
"""Every environment variable that is a setting."""
_READ: dict[tuple[Path | None, tuple[tuple[str, str], ...]], Settings] = {}
_EXPORTED: dict[str, str] = {}
_LOCK = Lock()


def _given(name: str) -> str:
    """The variable as the user has it: what an earlier file put there does not count."""
    value = os.environ.get(name, "")
    return "" if value and _EXPORTED.get(name) == value else value


def _file_for(project: Path) -> Path | None:
    named = os.environ.get(NAMED)
    if named:
        file = Path(named).expanduser().absolute()
        if not file.is_file():
            raise SettingsError(
                f"{NAMED} names the settings file {file}, which is not there. Correct the path, or unset {NAMED} to "
                f"use {FILE} in the project folder."
            )
        return file
    for folder in (project, Path.cwd()):
        if (folder / FILE).is_file():
            return (folder / FILE).absolute()
    return None


def _read(file: Path | None) -> Settings:
    said = {} if file is None else _document(file)
    variables = {
        field: name
        for field in Settings.model_fields
        if (name := next((name for name in _names_of(field) if os.environ.get(name)), None))
    }
    from_file = {name: value for name, value in said.items() if name not in variables}
    try:
        found = Settings(**{_names_of(name)[0]: value for name, value in from_file.items()})
    except ValidationError as error:
        raise SettingsError(_wrong(error, file, variables)) from None
    found._file = file
    assert file is not None or not from_file
    found._origins.update({name: file.name for name in from_file if file is not None} | variables)
    return found


def _document(file: Path) -> dict[str, Any]:
    """What the file says, by key; relative paths start at its folder, wherever the program was started."""
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"The settings file {file} cannot be read ({error.strerror}). Let this user read it, or name another in "
            f"{NAMED}."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f'The settings file {file} is no TOML: {error}. Write lines such as store = "postgresql://db/flowguard".'
        ) from None
    known = list(Settings.model_fields)
    for key in said:
        if key not in known:
            near = _nearest(key, known)
            hint = f" (did you mean `{near}`?)" if near else ""
            raise SettingsError(f"{file}: found the unknown key `{key}`{hint}; expected one of {', '.join(known)}.")
    for key in _DATABASES:
        if isinstance(value := said.get(key), str):
            said[key] = re.sub(
                r"^(sqlite(?:\+\w+)?:///)(?![/:])(?=.)", lambda match: f"{match[1]}{file.parent}/", value
            )
    if isinstance(value := said.get("artifacts"), str) and "://" not in value:
        said["artifacts"] = str(file.parent / Path(value).expanduser())
    return said


def _nearest(key: str, known: list[str]) -> str | None:
    """The setting that somebody meant, also by the name of its environment variable."""
    by_variable = {name.lower(): field for field in known for name in _names_of(field)}
    plain = {**by_variable, **{name.removeprefix("flowguard_"): field for name, field in by_variable.items()}}
    choices = {**plain, **{field: field for field in known}}
    near = difflib.get_close_matches(key.lower(), choices, n=1, cutoff=0.5)
    return choices[near[0]] if near else None


def _wrong(error: ValidationError, file: Path | None, variables: Mapping[str, str]) -> str:
    lines = []
    for detail in error.errors(include_url=False):
        given = str(detail["loc"][0])
        field = next((name for name in Settings.model_fields if given in (name, *_names_of(name))), given)
        where = variables.get(field) or f"{file}: {field}"
        expected = {
            "literal_error": f"one of {detail.get('ctx', {}).get('expected')}",
            "value_error": str(detail.get("ctx", {}).get("error")),
            "string_type": "a text in quotes",
        }.get(detail["type"], detail["msg"])
        found = "something else" if field == "notify" else masked(repr(detail["input"]))
        lines.append(f"{where}: found {found}; expected {expected}.")
    return " ".join(lines)


def _export(found: Settings) -> None:
    """Put what the file says for other programs into their variables, unless the user has set those."""
    wanted = {
        variable: str(getattr(found, field))
        for field, variable in _READ_BY_OTHERS.items()
        if found.origin(field) and found.file is not None and found.origin(field) == found.file.name
    }
    if wanted != _EXPORTED:
        _withdraw()
        _EXPORTED.update(wanted)
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _withdraw() -> None:
    for name, value in _EXPORTED.items():
        if os.environ.get(name) == value:
            del os.environ[name]
    _EXPORTED.clear()
