"""Writes docs/settings.md from the settings tree: `make docs`. A test holds the file to it."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from shared.settings import Settings

TARGET = Path(__file__).with_name("settings.md")
HEAD = """# Settings

Every setting of every service. Made from `shared/settings` by `make docs`; do not edit.

A setting is an environment variable. `lambdad up` passes those of its own environment to the services that it starts, and sets
what is the cluster's business itself: the endpoint's port and key, the cluster secret, the health ports and the engines'
addresses. Containers and `lambdad serve SERVICE` read the same ones. A value that cannot be is refused at the start, with the
setting's name. An empty variable says nothing.

Nothing remembers variables: a later `lambdad up` has those of its own environment and no others, nor options of an earlier one
but `--port` and `--workers`. So keep them in a file, and have it read before each start:

```sh
echo 'LAMBDAD_WORKER__ENVIRONMENTS_MAX=500' > lambdad.env
set -a; . ./lambdad.env; set +a                          # then `lambdad up`
```

What is marked as JSON is JSON: `LAMBDAD_WORKER__PRESTART_RUNTIMES='["python3.12"]'`. Where a setting is a set of named values,
each may be a variable of its own: `LAMBDAD_FORWARD__S3=http://127.0.0.1:8333` (such a name is in small letters then).
"""
STARTING = (
    (
        "REDIS_URL QUEUES_REDIS_URL DATABASE_URL KAFKA_BOOTSTRAP_SERVERS KAFKA_SECURITY_PROTOCOL KAFKA_SASL_MECHANISM "
        "KAFKA_SASL_USERNAME KAFKA_SASL_PASSWORD KAFKA_SSL_CA_FILE",
        "engines of your own, in place of those that `lambdad up` or docker-compose.yml would start: what the services get "
        "without `LAMBDAD_`",
    ),
    ("ENDS_WITH", "a process id: the cluster stops when that process ends (`lambdad up --ends-with`)"),
    ("MAVEN_MIRROR", "a Maven repository in place of the central one, for jars (Kafka's, Java's) and builds of Python"),
    ("JAR_CACHE", "where those jars are kept; below the user's cache directory by default"),
    ("PYTHON_BUILDS", "where `lambdad runtimes install` takes a Python from: `uv`, `maven`; both in this order by default"),
    ("OFFLINE", "`1`: jars are not downloaded, and those that are missing are named"),
    (
        "PORT LOG_LEVEL ROOT_ACCESS_KEY_ID ROOT_SECRET_ACCESS_KEY S3_ENDPOINT_URL S3_REGION S3_ACCESS_KEY_ID "
        "S3_SECRET_ACCESS_KEY",
        "of docker-compose.yml: the published port, the services' log level, a root key of your own, where code in S3 is taken "
        "from",
    ),
    (
        "NETWORK_KIND NETWORK_ALLOWED NETWORK_DENIED",
        "of docker-compose.yml: the settings of functions' network of these names, below ([networking.md](networking.md))",
    ),
    ("NODE_RUNTIMES", "of `docker compose build`: the versions of Node.js in the worker's image ([runtimes.md](runtimes.md))"),
)
"""Variables, without LAMBDAD_, that no service reads but what starts services."""
TAIL = """
`lambdad env` prints, beside what SDKs and Kafka clients read: `LAMBDAD_KAFKA_ARN`, the EventSourceArn of the built-in Kafka,
and `LAMBDAD_FUNCTION_URLS`, what function URLs by path begin with.
"""
TOP = ("The cluster", "What every service has to know.")
UNITS = (
    (re.compile(r"bytes_a_second"), "bytes a second"),
    (re.compile(r"(^|_)bytes(_|$)"), "bytes"),
    (re.compile(r"_ms(_|$)"), "milliseconds"),
    (re.compile(r"_s(_|$)"), "seconds"),
)
PLAIN: dict[Any, str] = {
    bool: "`true` or `false`",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    SecretStr: "text, secret",
}


@dataclass(frozen=True)
class Row:
    """One setting as the page shows it. variable: the environment variable; `<NAME>` stands for a name of the operator's."""

    variable: str
    description: str
    kind: str
    default: str

    def line(self) -> str:
        return f"| `{self.variable}` | {self.description} | {self.kind} | {self.default} |"


@dataclass(frozen=True)
class Section:
    title: str
    about: str
    rows: tuple[Row, ...]


def sections() -> Iterator[Section]:
    """The tree in its order: what is the cluster's own first, then each branch."""
    own: list[Row] = []
    branches: list[tuple[str, type[BaseModel]]] = []
    for name, field in Settings.model_fields.items():
        model = branch_of(field.annotation)
        if model is None:
            own += rows(name, field, "LAMBDAD_")
        else:
            branches.append((name, model))
    yield Section(*TOP, tuple(own))
    for name, model in branches:
        found = [row for inner, field in model.model_fields.items() for row in rows(inner, field, f"LAMBDAD_{name.upper()}__")]
        yield Section(name.replace("_", " ").capitalize(), " ".join((model.__doc__ or "").split()), tuple(found))


def rows(name: str, field: FieldInfo, prefix: str) -> Iterator[Row]:
    variable = str(field.validation_alias or prefix + name.upper())
    yield Row(variable, field.description or "", kind_of(name, field), default_of(field))
    named = branch_of(get_args(field.annotation)[1]) if get_origin(field.annotation) is dict else None
    if named is not None:
        for inner, inner_field in named.model_fields.items():
            yield from rows(inner, inner_field, f"{variable}__<NAME>__")


def branch_of(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def kind_of(name: str, field: FieldInfo) -> str:
    """Type, unit and bounds."""
    kind = type_name(field.annotation)
    unit = next((unit for pattern, unit in UNITS if pattern.search(name)), "")
    if unit and field.annotation in (int, float):
        kind = unit if field.annotation is float else f"{unit}, integer"
    elif unit:
        kind = f"{kind}, {unit}"
    bounds = list(bounds_of(field.metadata, of_many=kind.startswith("JSON")))
    return ", ".join([kind, *bounds])


def type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return type_name(next(argument for argument in arguments if argument is not type(None)))
    if origin in (list, tuple):
        return f"JSON: list of {plural(arguments[0])}"
    if origin is dict:
        return "JSON: object, name to " + ("object" if branch_of(arguments[1]) else type_name(arguments[1]))
    return PLAIN.get(annotation, str(getattr(annotation, "__name__", annotation)))


def plural(annotation: Any) -> str:
    return {int: "integers", float: "numbers"}.get(annotation, "networks" if "Network" in str(annotation) else "texts")


def bounds_of(metadata: list[Any], *, of_many: bool) -> Iterator[str]:
    for bound in metadata:
        match bound:
            case Ge(ge=value):
                yield f"at least {number(value)}"
            case Gt(gt=value):
                yield f"more than {number(value)}"
            case Le(le=value):
                yield f"at most {number(value)}"
            case Lt(lt=value):
                yield f"less than {number(value)}"
            case MinLen(min_length=value):
                yield f"{value} or more of them" if value != 1 else "not empty"
            case MaxLen(max_length=value):
                yield f"at most {number(value)} of them" if of_many else f"at most {number(value)} characters"
            case _ if pattern := getattr(bound, "pattern", None):
                yield f"like `{pattern}`".replace("|", "\\|")
            case _:
                raise ValueError(f"a bound that nobody described: {bound!r}")


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "" or value == {} or value == () or value == []:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (list, tuple)):
        return f"`{json.dumps([item if isinstance(item, int) else str(item) for item in value])}`"
    return f"`{number(value)}`" if isinstance(value, (int, float)) else f"`{value}`"


def number(value: Any) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def table(columns: str, lines: list[str]) -> str:
    return "\n".join([columns, "|---" * (columns.count("|") - 1) + "|", *lines, ""])


def render() -> str:
    parts = [HEAD]
    for section in sections():
        parts.append(f"\n## {section.title}\n{section.about}\n\n")
        parts.append(table("| variable | what it is | values | default |", [row.line() for row in section.rows]))
    parts.append("\n## Of `lambdad up`, set-up and containers\nNot settings of a service, but of what starts them.\n\n")
    starting = [f"| {', '.join(f'`LAMBDAD_{name}`' for name in names.split())} | {about} |" for names, about in STARTING]
    parts.append(table("| variable | what it is |", starting))
    return "".join([*parts, TAIL])


if __name__ == "__main__":
    TARGET.write_text(render())
