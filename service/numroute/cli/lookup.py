"""``numroute lookup`` and ``numroute explain``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import click
import numpy as np

from numroute.cli import console
from numroute.cli.encoding import Csv, Json, lines
from numroute.cli.options import as_of_option, json_option, region_option
from numroute.cli.service import Connect, source_options
from numroute.client import Client
from numroute.client.messages import BulkAnswer
from numroute.e164.rows import parse_rows
from numroute.local import LocalClient, open_store
from numroute.model import Answer, InvalidReason, Layer, Operator, Route, Status

EXIT_NOT_ROUTED = 3

_READ_BYTES = 1 << 20
_BLOCK_TEXTS = 16_384

_HEADINGS = ("number", "status", "operator", "MCC-MNC", "region", "range holder")


@click.command()
@click.argument("numbers", nargs=-1, required=True)
@source_options
@region_option
@as_of_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="CSV instead of a table, as with -.")
def lookup(
    numbers: tuple[str, ...],
    source: Path | Connect,
    region: str | None,
    as_of: datetime | None,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Show which operator serves each NUMBER now, or served it at a given time.

    Numbers may be in any human format: "+7 916 123-45-67", or "8 (916) 123-45-67" with --region RU.
    "-" reads one number per line from standard input, skips empty lines, and answers in CSV, or in
    JSON with --json, while it reads. The exit status is 3 if some number is unallocated, not
    covered or invalid.
    """
    if as_json and as_csv:
        raise click.UsageError("both --json and --csv are given: give one of them")
    client, when = _asking(source, as_of)
    with client:
        if as_json or as_csv or "-" in numbers:
            form = Json() if as_json else Csv()
            is_routed = _print_lines(client, _blocks(numbers), region, when, form)
        else:
            is_routed = _print_table(client.lookup_text(numbers, region, **when))
    return 0 if is_routed else EXIT_NOT_ROUTED


def _print_table(answers: Sequence[Answer]) -> bool:
    """Print the answers as a table, and return whether all have a route."""
    console.print_table(_HEADINGS, map(_row, answers))
    if answers[0].snapshot.stale:
        as_of = answers[0].snapshot.as_of.isoformat()
        click.echo(f"warning: the data is as of {as_of}, older than the service's limit", err=True)
    if any(answer.invalid_reason is InvalidReason.NO_DEFAULT_REGION for answer in answers):
        click.echo("hint: give --region, e.g. RU, to have national formats understood", err=True)
    return all(answer.status.has_route for answer in answers)


def _print_lines(
    client: Client | LocalClient,
    blocks: Iterator[list[bytes]],
    region: str | None,
    when: dict[str, Any],
    form: Csv | Json,
) -> bool:
    """Print the answers block by block, and return whether all have a route."""
    output = sys.stdout.buffer
    output.write(form.header)
    is_routed = True
    for texts in blocks:
        parsed = parse_rows(texts, region)
        if when:
            strings = [text.decode() for text in texts]
            answer = _columns(client.lookup_text(strings, region, **when))
        else:
            answer = client.lookup(parsed.numbers, with_range_holder=True, with_ported_at=True)
        output.write(lines(texts, parsed.numbers, parsed.reasons, answer, form))
        output.flush()
        is_routed = is_routed and all(route.status.has_route for route in answer.routes)
    return is_routed


def _blocks(numbers: Sequence[str]) -> Iterator[list[bytes]]:
    """Yield the texts to look up; "-" stands for the lines of standard input as they arrive."""
    for number in numbers:
        if number != "-":
            yield [number.encode(errors="replace")]
            continue
        rest, stream = b"", cast("BufferedReader", sys.stdin.buffer)
        # Take what is there: answers must not wait for numbers still to come.
        while chunk := stream.read1(_READ_BYTES):
            whole, newline, rest_of_chunk = chunk.rpartition(b"\n")
            if newline:
                yield from _texts(rest + whole)
                rest = b""
            rest += rest_of_chunk
        yield from _texts(rest)


def _texts(data: bytes) -> Iterator[list[bytes]]:
    """Yield lines as blocks of texts in UTF-8; invalid bytes become U+FFFD."""
    data = data.decode(errors="replace").encode()
    texts = list(filter(bytes.strip, data.replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n")))
    for begin in range(0, len(texts), _BLOCK_TEXTS):
        yield texts[begin : begin + _BLOCK_TEXTS]


def _asking(
    source: Path | Connect, as_of: datetime | None
) -> tuple[Client | LocalClient, dict[str, Any]]:
    """Return a client of the service or of the store, and what its questions say about the time."""
    if isinstance(source, Path):
        return open_store(source, as_of=as_of), {}
    return source(), {"as_of": as_of} if as_of else {}


def _columns(answers: Sequence[Answer]) -> BulkAnswer:
    """Return answers to texts, all from one snapshot, as columns."""
    times = [answer.ported_at.timestamp() if answer.ported_at else 0 for answer in answers]
    places = np.arange(len(answers), dtype=np.uint32)
    return BulkAnswer(
        route_index=places,
        routes=tuple(answer.route or Route(status=answer.status) for answer in answers),
        snapshot=answers[0].snapshot,
        ported_at=np.array(times, np.uint32),
        range_holder_index=places,
        range_holders=tuple(answer.range_holder or Operator() for answer in answers),
    )


@click.command()
@click.argument("number")
@source_options
@region_option
@as_of_option
@json_option
def explain(
    number: str,
    source: Path | Connect,
    region: str | None,
    as_of: datetime | None,
    as_json: bool,
) -> int:
    """Show which layer decides about NUMBER, from which file, and what the other layers say."""
    client, when = _asking(source, as_of)
    with client:
        explanation = client.explain(number, region, **when)
    reason = explanation.invalid_reason
    if as_json:
        document = {"input": number, **console.plain(explanation)}
        console.print_json(document | {"invalid_reason": reason.name if reason else None})
    else:
        facts = [
            ("number", f"+{explanation.number}" if explanation.number else number),
            ("status", explanation.status.name + (f" ({reason.name})" if reason else "")),
            ("decided by", explanation.decided_by),
            ("snapshot", explanation.snapshot.id if explanation.snapshot else ""),
        ]
        console.print_facts([(name, value) for name, value in facts if value])
        click.echo()
        console.print_blocks(map(_layer_block, explanation.layers))
    return 0 if explanation.status.has_route else EXIT_NOT_ROUTED


def _row(answer: Answer) -> tuple[str, ...]:
    status, route = answer.status.name, answer.route or Route(status=answer.status)
    if answer.status is Status.INVALID:
        status += f" ({answer.invalid_reason.name.lower().replace('_', ' ')})"
    elif route.overridden:
        status += " (overridden)"
    return (
        f"+{answer.number}" if answer.number else answer.input,
        status,
        console.operator_text(route.operator),
        f"{route.mcc}-{route.mnc}" if route.mcc else "",
        route.region.name or route.region.code,
        console.operator_text(answer.range_holder),
    )


def _layer_block(layer: Layer) -> tuple[str, list[str]]:
    """Return a layer's heading, and its details and files."""
    detail = []
    if layer.ported_at:
        detail.append(f"ported {console.time_text(layer.ported_at)}")
    if layer.donor:
        detail.append(f"from {console.operator_text(layer.donor)}")
    if layer.first is not None:
        end = "end" if layer.last is None else f"+{layer.last}"
        detail.append(f"+{layer.first} to {end}")
    if layer.author:
        expires = console.time_text(layer.expires) if layer.expires else "never"
        detail += [f"{layer.reason!r} by {layer.author}", f"expires {expires}"]
    sources = ", ".join(
        source.name if not source.sequence else f"{source.name} (sequence {source.sequence})"
        for source in layer.sources
    )
    says = "nothing"
    if layer.route:
        says = console.operator_text(layer.route.operator) or "no operator"
    heading = f"{layer.name}: {says}{' (decides)' if layer.decides else ''}"
    return heading, [line for line in (", ".join(detail), sources and f"in {sources}") if line]
