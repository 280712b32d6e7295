"""From a preset and --set overrides to a resolved configuration, and back to JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, TypeVar

Config = TypeVar("Config")


class ConfigError(ValueError):
    """A preset or an override that doesn't exist or doesn't fit."""


def apply_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with KEY=VALUE applied; KEY may reach down, as loop.num_steps.

    Raises:
        ConfigError: there is no such key, or the value is of another type or out of range.
    """
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override!r} has no '=', needs KEY=VALUE")
        config = _set(config, key.split("."), value, key)
    return config


def to_json(config: Any) -> str:
    """The whole resolved configuration, indented."""
    return json.dumps(asdict(config), indent=2)


def _set(config: Config, path: list[str], value: str, key: str) -> Config:
    names = {field.name for field in fields(config)}  # type: ignore[arg-type]
    if path[0] not in names:
        raise ConfigError(
            f"--set {key}: there is no {path[0]!r}, there are {', '.join(sorted(names))}"
        )
    current = getattr(config, path[0])
    if len(path) > 1:
        if not is_dataclass(current):
            raise ConfigError(f"--set {key}: {path[0]!r} is one value, it has no parts")
        changed = _set(current, path[1:], value, key)
    else:
        changed = _parse(value, current, key)
    try:
        return replace(config, **{path[0]: changed})  # type: ignore[type-var]
    except ValueError as error:
        raise ConfigError(f"--set {key}={value}: {error}") from error


def _parse(value: str, current: object, key: str) -> object:
    """The text as the type that the field has."""
    if isinstance(current, bool):
        if value.lower() not in ("true", "false"):
            raise ConfigError(f"--set {key}={value}: needs true or false")
        return value.lower() == "true"
    if not isinstance(current, (int, float, str)):
        raise ConfigError(f"--set {key}: has parts, set them one by one, as {key}.NAME=VALUE")
    try:
        return type(current)(value)
    except ValueError as error:
        raise ConfigError(f"--set {key}={value}: needs a {type(current).__name__}") from error
