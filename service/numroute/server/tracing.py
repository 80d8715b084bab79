"""OpenTelemetry traces: a span for each call, where its environment variables ask for them.

The variables are OpenTelemetry's own, ``OTEL_EXPORTER_OTLP_ENDPOINT`` and others.
"""

from __future__ import annotations

import os
from typing import Any

import grpc
from structlog.typing import FilteringBoundLogger

from numroute import wire
from numroute.entry import how_to_install
from numroute.server.guard import Call, Guard

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_FAULTS = frozenset(
    {
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
"""Our statuses that make a server's span an error, by OpenTelemetry's conventions for gRPC."""


class Tracing(Guard):
    """A guard that makes a span for each call, within the client's trace if it sends one."""

    def __init__(self) -> None:
        """Export to where the environment says; raises ImportError without the extra ``otel``."""
        from opentelemetry import propagate, trace  # noqa: PLC0415 - an extra
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        os.environ.setdefault("OTEL_SERVICE_NAME", "numroute")
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("numroute")
        self._extract = propagate.extract
        self._server = trace.SpanKind.SERVER
        self._error = trace.Status(trace.StatusCode.ERROR)
        self._spans: dict[Call, Any] = {}

    def begin(self, call: Call) -> None:
        """Begin the call's span."""
        metadata = dict(call.context.invocation_metadata() or ())
        # Neither the request nor the token ever becomes an attribute.
        self._spans[call] = self._tracer.start_span(
            f"{wire.SERVICE_NAME}/{call.method}",
            context=self._extract(metadata),
            kind=self._server,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": wire.SERVICE_NAME,
                "rpc.method": call.method,
            },
        )

    def end(self, call: Call, status: grpc.StatusCode) -> None:
        """End the call's span."""
        span = self._spans.pop(call)
        span.set_attribute("rpc.grpc.status_code", status.value[0])
        span.set_attribute("numroute.numbers", call.numbers)
        if call.client:
            span.set_attribute("numroute.client", call.client)
        if status in _FAULTS:
            span.set_status(self._error)
        span.end()

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()


def make_tracing(log: FilteringBoundLogger) -> Tracing | None:
    """Return the guard if the environment asks for traces; log when its packages are missing."""
    if not any(map(os.environ.get, ENDPOINT_VARIABLES)):
        return None
    try:
        return Tracing()
    except ImportError as error:
        reason = f"{error.name} is not installed"
        log.warning("no traces", reason=reason, remedy=how_to_install("otel"))
        return None
