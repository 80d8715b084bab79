"""Generate the reference pages: metrics and log events, settings, messages, alerts.

``python docs/generate.py`` writes the pages, ``--check`` fails when one of them is stale.
"""

from __future__ import annotations

import ast
import builtins
import functools
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import yaml

from numroute.cli import numroute
from numroute.errors import SnapshotCorruptError
from numroute.server.metrics import METRICS, Counter, Distribution, Metric
from numroute_loader.cli import numroute_load
from numroute_loader.reading.record_files import REMEDY

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
PACKAGES = {
    "The commands and what they share": ("service/numroute", ("cli/**/*.py", "*.py")),
    "The index and the snapshot store": ("service/numroute/index", ("**/*.py",)),
    "The service": ("service/numroute/server", ("**/*.py",)),
    "Clients": ("service/numroute/client", ("**/*.py",)),
    "Numbers and capacity plans": ("service/numroute", ("e164/**/*.py", "plan/**/*.py")),
    "The loader": ("loader/numroute_loader", ("**/*.py",)),
    "Campaign lists": ("campaign/numroute_campaign", ("**/*.py",)),
    "HTTP and the page": ("web/numroute_web", ("**/*.py",)),
}
HEAD = "<!-- Generated from the code by docs/generate.py: change it there, then `make docs`. -->\n"
GROUPS = (
    ("Feed", ("numroute_feed",), "From the feed's health record in the store."),
    ("Snapshot and index", ("numroute_snapshot", "numroute_index"), ""),
    (
        "Processes",
        ("numroute_worker", "numroute_ready", "numroute_certificate", "numroute_build"),
        "",
    ),
    ("Calls", ("numroute_",), ""),
)  # fmt: skip
PREFACE = """# Metrics and log events

`numroute serve --metrics HOST:PORT` answers GET and HEAD over plain HTTP, for all workers together:

| path | answer |
|---|---|
| `/metrics` | the metrics below, in Prometheus' text format or OpenMetrics |
| `/livez` | 200; 503 when every worker has been silent for 30 s: restart the service |
| `/readyz` | 200 when at least one worker would answer; 503 with the reasons: send no calls here |

The address is not protected: let only Prometheus and the probes reach it. It shows the names of
clients and how much they ask, and never a phone number. Workers report once a second; a worker that
is killed loses the counts of its last second. Counts begin at 0 when the service starts.

"""
TRACES = """## Traces

With the extra `otel` and `OTEL_EXPORTER_OTLP_ENDPOINT` set, each call is a span, sent over OTLP
(gRPC) and part of the client's trace if the call carries a `traceparent`: method, status, client
and how many numbers, never a number or a token. OpenTelemetry's other variables mean what they
always do; at high rates sample, e.g. `OTEL_TRACES_SAMPLER=parentbased_traceidratio` with
`OTEL_TRACES_SAMPLER_ARG=0.001`.
"""
MESSAGES_PREFACE = """# Error messages

Capitals stand for what differs. Most messages begin with the file, and the line if there is one.
Phone numbers in messages are masked.
"""
_LOG_LEVELS = {"info", "warning", "error"}


class Message(NamedTuple):
    """An error's class, text and hint, with placeholders."""

    kind: str
    text: str
    hint: str


def main() -> int:
    """Write or check the pages; return the exit status."""
    pages = {
        "metrics.md": metrics(),
        "settings.md": settings(),
        "messages.md": messages(),
        "alerts.md": alerts(),
    }
    stale = [
        name
        for name, text in pages.items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text("utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        if stale:
            print(f"stale: {', '.join(stale)}. Run `make docs`", file=sys.stderr)
        return int(bool(stale))
    for name in stale:
        (REFERENCE / name).write_text(pages[name], "utf-8")
    return 0


def metrics() -> str:
    """Return the page of metrics and log events."""
    parts = [HEAD, PREFACE, "## Metrics\n"]
    actions = tomllib.loads((REFERENCE / "metrics.toml").read_text("utf-8"))
    if unknown := set(actions) - {metric.name for metric in METRICS}:
        sys.exit(f"docs/reference/metrics.toml has unknown metrics: {', '.join(sorted(unknown))}")
    grouped: dict[str, list[Metric]] = {}
    for metric in METRICS:
        title = next(title for title, prefixes, _ in GROUPS if metric.name.startswith(prefixes))
        grouped.setdefault(title, []).append(metric)
    notes = {title: note for title, _, note in GROUPS}
    for title, group in grouped.items():
        rows = [
            (
                f"`{metric.name}{'_total' if isinstance(metric, Counter) else ''}`",
                ", ".join(f"`{label}`" for label in metric.labels),
                metric.help + (" Histogram." if isinstance(metric, Distribution) else ""),
                actions.get(metric.name, ""),
            )
            for metric in group
        ]
        note = f"{notes[title]}\n\n" if notes[title] else ""
        columns = ("metric", "labels", "meaning", "what to do")
        parts.append(f"### {title}\n\n{note}{table(columns, rows)}")
    parts.append(
        "## Log events\n\nOne JSON object a line on standard error, columns on a terminal. No line "
        f"holds a phone number.\n\n{log_events()}"
    )
    parts.append(TRACES)
    return "\n".join(parts)


def log_events() -> str:
    """Return the table of log events; every event that is logged must be described."""
    described = tomllib.loads((REFERENCE / "events.toml").read_text("utf-8"))
    logged: dict[str, tuple[str, str]] = {}
    roots = ("service/numroute", "loader/numroute_loader", "campaign/numroute_campaign")
    for root in (*roots, "web/numroute_web"):
        for node in calls(ROOT / root, ("**/*.py",)):
            function = node.func
            if (
                isinstance(function, ast.Attribute)
                and function.attr in _LOG_LEVELS
                and ast.unparse(function.value).endswith("log")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                by = {"loader": "feed", "web": "web"}.get(root.partition("/")[0], "service")
                logged.setdefault(str(node.args[0].value), (function.attr, by))
    if missing := set(logged) ^ set(described):
        sys.exit(f"docs/reference/events.toml and the code differ in: {', '.join(sorted(missing))}")
    rows = [
        (f"`{event}`", *logged[event], entry["meaning"], entry.get("action", ""))
        for event, entry in described.items()
    ]
    return table(("event", "level", "of", "meaning", "what to do"), rows)


def settings() -> str:
    """Return the page of all commands' options."""
    parts = [
        HEAD,
        "# Settings\n\nA flag overrides its environment variable, which overrides the default.\n",
    ]
    for group in (numroute, numroute_load):
        for path, command in commands(group, group.name or ""):
            rows = [
                (
                    "`"
                    + " / ".join([*option.opts, *option.secondary_opts])
                    + (f" {option.metavar}`" if option.metavar else "`"),
                    f"`{option.envvar}`" if option.envvar else "",
                    default(option),
                    (option.help or "").strip(),
                )
                for option in command.params
                if isinstance(option, click.Option) and not option.hidden
            ]
            summary = (command.help or "").partition("\n\n")[0].replace("\n", " ")
            parts.append(
                f"## `{path}`\n\n{summary}\n\n"
                + (table(("option", "variable", "default", "meaning"), rows) if rows else "")
            )
    return "\n".join(parts)


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands below a group with their full names."""
    path = path.replace("_", "-")
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        elif command is not None:
            yield f"{path} {name}", command


def default(option: click.Option) -> str:
    """Return an option's default as the page shows it."""
    if isinstance(option.show_default, str):
        return option.show_default
    value = option.to_info_dict()["default"]
    if option.required:
        return "required"
    if (
        value is None
        or value is False
        or value in ("", ())
        or callable(option.default)
        or "UNSET" in repr(value)
    ):
        return ""
    return f"`{value}`"


def messages() -> str:
    """Return the page of all error messages."""
    parts = [
        HEAD,
        MESSAGES_PREFACE,
    ]
    seen: set[tuple[str, str]] = set()
    for title, (folder, patterns) in PACKAGES.items():
        rows = []
        found = messages_of(ROOT / folder, patterns)
        for message in (*found, *(row_faults() if title == "The loader" else ())):
            if (message.text, message.hint) not in seen:
                seen.add((message.text, message.hint))
                rows.append((message.text, message.hint, message.kind))
        rows.sort(key=lambda row: row[0].lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ_: ").lower())
        parts.append(f"## {title}\n\n" + table(("message", "what to do", "error"), rows))
    return "\n".join(parts)


def alerts() -> str:
    """Return the page of alerts, from the annotations of the rules."""
    text = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text("utf-8")
    rows = [
        (
            f"`{rule['alert']}`",
            rule["labels"]["severity"],
            rule["annotations"]["meaning"],
            rule["annotations"]["remedy"],
        )
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    ]
    return f"{HEAD}# Alerts\n\n{table(('alert', 'severity', 'meaning', 'what to do'), rows)}"


def row_faults() -> Iterator[Message]:
    """Yield what the loader says of a row that it cannot use.

    Its texts are those of a ``Check``, or what a function named for a fault returns.
    """
    for path in sorted((ROOT / "loader" / "numroute_loader" / "reading").glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            names = assigned_texts(function)
            for node in ast.walk(function):
                texts: list[ast.expr] = []
                match node:
                    case ast.Return(value=ast.expr() as text) if function.name.endswith("_fault"):
                        texts = texts_of(text, names)
                    case ast.Call(func=ast.Name(id="Check"), args=[_, text]):
                        texts = texts_of(text, names)
                for text in texts:
                    yield Message("InputError", f"FILE:LINE: {template(text)}", REMEDY)


def error_messages(node: ast.Call, names: dict[str, list[ast.expr]]) -> list[Message]:
    """Return the messages of a call that makes an error of ours; none for all other calls.

    ``names`` are the texts that the function around the call gives to its variables.
    """
    kind = node.func.id if isinstance(node.func, ast.Name) else ""
    if not kind.endswith("Error") or hasattr(builtins, kind):
        return []
    texts = [text for arg in node.args for text in texts_of(arg, names)]
    hint = next((each.value for each in node.keywords if each.arg == "hint"), None)
    if kind == SnapshotCorruptError.__name__:
        hint = ast.Constant(SnapshotCorruptError("", "").hint)
    hints = [] if hint is None else texts_of(hint, names) or [hint]
    if len(hints) != len(texts):
        hints = hints[:1] * len(texts)
    return [
        Message(kind, template(joined(text, names)), template(joined(hint, names)))
        for text, hint in zip(texts, hints or [ast.Constant("")] * len(texts), strict=True)
    ]


def texts_of(node: ast.expr, names: dict[str, list[ast.expr]]) -> list[ast.expr]:
    """Return the texts that an argument can be: itself, or what its variable was given."""
    if isinstance(node, ast.Name):
        return names.get(node.id, [])
    return [node] if is_text(node) else []


def assigned_texts(function: ast.AST) -> dict[str, list[ast.expr]]:
    """Return the texts that a function gives to its variables."""
    names: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if is_text(value):
                names.setdefault(name, []).append(value)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)) if len(
                targets
            ) == len(values):
                for target, value in zip(targets, values, strict=True):
                    if isinstance(target, ast.Name) and is_text(value):
                        names.setdefault(target.id, []).append(value)
    return names


def joined(node: ast.expr, names: dict[str, list[ast.expr]]) -> ast.expr:
    """Return a text whose beginning stands in a variable, ``f"{hint}more"``, as one text."""
    match node:
        case ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name(id=name)), *rest]):
            if begun := [text for text in names.get(name, []) if text is not node]:
                return ast.JoinedStr([begun[0], *rest])
    return node


def is_text(node: ast.expr) -> bool:
    """Return whether an expression is a text with words of its own."""
    return any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) and " " in part.value
        for part in ast.walk(node)
    )


def template(node: ast.expr) -> str:
    """Return a text expression with its variable parts as placeholders."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(template(value) for value in values)
        case ast.FormattedValue(value=value):
            return template(value)
        case ast.BinOp(left=left, right=right, op=ast.Add()):
            return template(left) + template(right)
        case ast.IfExp(body=body, orelse=orelse):
            either = [each for each in (template(body), template(orelse)) if each]
            return " / ".join(dict.fromkeys(either))
        case ast.Name(id=name) if name in constants():
            return constants()[name]
    names = re.findall(r"[A-Za-z_]\w*", ast.unparse(node))
    name = next((name for name in reversed(names) if len(name) > 1), "value")
    return name.strip("_").upper()


@functools.cache
def constants() -> dict[str, str]:
    """Return the texts that the product's modules give a name, e.g. hints of several errors."""
    texts: dict[str, str] = {}
    for root in ("service", "loader", "campaign"):
        for path in sorted((ROOT / root).rglob("*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                match node:
                    case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(str(text))):
                        if texts.setdefault(name, text) != text and is_text(node.value):
                            sys.exit(f"{path}: another module has a {name} with another text")
    return texts


def messages_of(folder: Path, patterns: tuple[str, ...]) -> Iterator[Message]:
    """Yield the messages of all errors that the modules of a folder make."""
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        tree = ast.parse(path.read_text("utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        seen: set[ast.AST] = set()
        for function in [*functions, tree]:
            names = {} if function is tree else assigned_texts(function)
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and node not in seen:
                    seen.add(node)
                    yield from error_messages(node, names)


def calls(folder: Path, patterns: tuple[str, ...]) -> Iterator[ast.Call]:
    """Yield all calls in the modules of a folder, in the order of their names."""
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield node


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join(
        "| "
        + " | ".join(
            " ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in line
        )
        + " |\n"
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
