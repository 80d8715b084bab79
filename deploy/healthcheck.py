"""Say by the exit status whether what the container runs is well: serve, web, watch or pull.

The role is that of the container's first process. Other commands end by themselves: they are well.
"""

from __future__ import annotations

import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_SECONDS = 4
FEED_SILENCE_SECONDS_MAX = 2 * 3600
"""A feed records every look at its source; after failures it looks again within an hour."""


def ask(address: str, path: str, *, tls: bool = False) -> None:
    """Raise OSError unless an HTTP server answers, whatever its status below 500."""
    url = f"{'https' if tls else 'http'}://127.0.0.1:{address.rpartition(':')[2]}{path}"
    # On the loopback, where the certificate's name is not that of the address.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=context).close()  # noqa: S310 - http or https
    except urllib.error.HTTPError as error:
        if error.code >= 500:  # noqa: PLR2004 - a server's fault
            raise


def check(words: list[str]) -> None:
    """Raise OSError when what this command line started is not well."""
    if "serve" in words:
        ask(os.environ.get("NUMROUTE_METRICS", "0.0.0.0:9464"), "/livez")
    elif "web" in words:
        listen = os.environ.get("NUMROUTE_WEB_LISTEN", "127.0.0.1:8080")
        tls = "--tls-cert" in words or bool(os.environ.get("NUMROUTE_TLS_CERT"))
        ask(listen, "/openapi.json", tls=tls)
    elif "watch" in words or "pull" in words:
        record = Path(os.environ["NUMROUTE_STORE"]) / "feed.json"
        seen = max(p.stat().st_mtime for p in (record, Path("/proc/1")) if p.exists())
        if time.time() - seen > FEED_SILENCE_SECONDS_MAX:
            raise TimeoutError("the feed has not looked at its source for two hours")


if __name__ == "__main__":
    try:
        check(Path("/proc/1/cmdline").read_text("utf-8").split("\0"))
    except OSError as problem:
        sys.exit(f"not healthy: {problem}")
