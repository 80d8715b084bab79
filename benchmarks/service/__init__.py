"""The service as it is deployed: ``numroute serve`` in its own processes, asked over gRPC."""

from benchmarks.service.calling import calls, client, start
from benchmarks.service.gathering import gathered
from benchmarks.service.loaded import latency, overload, soak, swap
from benchmarks.service.protecting import guards, workers
from benchmarks.service.transports import transports

BENCHMARKS = {
    "start": start,
    "calls": calls,
    "transports": transports,
    "client": client,
    "gathered": gathered,
    "latency": latency,
    "swap": swap,
    "overload": overload,
    "guards": guards,
    "workers": workers,
    "soak": soak,
}
