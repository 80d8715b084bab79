"""The service as it is deployed: ``numroute serve`` in its own processes, asked over gRPC."""

from benchmarks.service.calling import calls, client, start
from benchmarks.service.gathering import gathered
from benchmarks.service.loaded import latency, overload, soak, swap
from benchmarks.service.protecting import guards, workers

BENCHMARKS = {
    "start": start,
    "calls": calls,
    "client": client,
    "gathered": gathered,
    "latency": latency,
    "swap": swap,
    "overload": overload,
    "guards": guards,
    "workers": workers,
    "soak": soak,
}
