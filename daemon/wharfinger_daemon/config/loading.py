"""Reads a configuration file, and says precisely what is wrong with it."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from wharfinger_daemon.config.settings import Settings
from wharfinger_daemon.errors import Reason, StartupError


def load(path: Path) -> Settings:
    """Reads and checks a configuration file.

    Raises:
        StartupError: the file cannot be read, is not TOML, or says something that it may not; lists every problem.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"The configuration {path} cannot be read: {error}.") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _invalid(f"The configuration {path} is not TOML: {error}.") from error
    return parse(document, base=path.resolve().parent, origin=str(path))


def parse(document: dict[str, Any], *, base: Path, origin: str) -> Settings:
    """Checks a configuration that was read already; relative paths become absolute beneath ``base``."""
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(detail)}" for detail in error.errors())
        raise _invalid(f"The configuration {origin} is not valid:\n{problems}") from error
    return _absolute(settings, base)


def _absolute(settings: Settings, base: Path) -> Settings:
    resolved: Settings = _resolve(settings, base)
    if not resolved.database.is_sqlite:
        return resolved
    location = settings.database.url.removeprefix("sqlite:///")
    if not location.startswith("/"):
        # A folder's name may have what means something in a URL: without escapes '?' would open another file.
        location = f"{quote(str(base))}/{location}"
    database = resolved.database.model_copy(update={"url": f"sqlite:///{location}"})
    return resolved.model_copy(update={"database": database})


def _resolve(value: Any, base: Path) -> Any:
    if isinstance(value, Path):
        return base / value
    if isinstance(value, tuple):
        return tuple(_resolve(item, base) for item in value)
    if isinstance(value, BaseModel):
        changed = {name: _resolve(getattr(value, name), base) for name in type(value).model_fields}
        return value.model_copy(update=changed)
    return value


def _problem(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "(whole file)"
    if detail["type"] == "extra_forbidden":
        return f"{where}: there is no such key{_suggestion(detail['loc'])}."
    if detail["type"] == "missing":
        return f"{where}: this key is required and missing."
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}."


def _suggestion(location: tuple[int | str, ...]) -> str:
    section: Any = Settings
    for part in location[:-1]:
        if isinstance(part, str):
            section = section_of(section.model_fields[part].annotation)
        if section is None:
            return ""
    known = [field.alias or name for name, field in section.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f". Known here: {', '.join(known)}"


def section_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_of(part)) is not None), None)


def _invalid(message: str) -> StartupError:
    return StartupError(message, reason=Reason.CONFIGURATION_INVALID)
