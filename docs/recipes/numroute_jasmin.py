"""Tag a Jasmin message with the network that serves its number now."""

import logging
import os
import time

import numpy as np

import numroute
from numroute.errors import ServiceError

TARGET = os.environ.get("NUMROUTE_TARGET", "127.0.0.1:50051")
DEADLINE_SECONDS = 0.05
REST_SECONDS = 1.0
DIGITS_MAX = 15

log = logging.getLogger("numroute-jasmin")
client = numroute.Client(TARGET, timeout=DEADLINE_SECONDS)
ask_again_at = 0.0


def tag(routable):
    """Add `network:MCCMNC`, `operator:CODE` and the status; `numroute:unknown` without answer."""
    global ask_again_at  # noqa: PLW0603 - Jasmin calls a function
    digits = routable.pdu.params["destination_addr"].decode("ascii", "replace").lstrip("+")
    if not (digits.isdecimal() and len(digits) <= DIGITS_MAX):
        routable.addTag("numroute:invalid")
        return
    if time.monotonic() < ask_again_at:
        routable.addTag("numroute:unknown")
        return
    try:
        answer = client.lookup(np.array([int(digits)], np.uint64))
    except ServiceError as error:
        # One message waits for the deadline, not all: the service is asked again in a while.
        ask_again_at = time.monotonic() + REST_SECONDS
        log.warning("numroute does not answer: %s", error)
        routable.addTag("numroute:unknown")
        return
    route = answer.routes[answer.route_index[0]]
    routable.addTag(f"numroute:{route.status.name.lower()}")
    if route.operator.code:
        routable.addTag(f"operator:{route.operator.code}")
    if route.mcc:
        routable.addTag(f"network:{route.mcc}{route.mnc}")
