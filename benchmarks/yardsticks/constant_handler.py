"""An HTTP service that takes the same requests and does nothing: what framework and server cost.

``python -m benchmarks.yardsticks.constant_handler FILE``: its one handler reads the body of a
``POST /v1/lookup`` as the product's does, and returns the file's content.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from litestar import Litestar, Response, post

from numroute_web.app import SERVER_OPTIONS, listen
from numroute_web.lookup import LookupBody


def serve(content: bytes) -> None:
    """Answer until SIGTERM; print the address first."""

    # The framework reads annotations at run time.
    async def constant(data: LookupBody) -> Response[bytes]:  # noqa: ARG001 - as the product's
        return Response(content, media_type="application/json")

    handler = post("/v1/lookup", status_code=200)(constant)
    app = Litestar([handler], openapi_config=None, logging_config=None)
    listener = listen("127.0.0.1", 0)
    print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, **SERVER_OPTIONS)).run(sockets=[listener])


if __name__ == "__main__":
    serve(Path(sys.argv[1]).read_bytes())
