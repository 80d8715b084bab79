"""Answer PowerDNS's remote backend about an ENUM zone by asking numroute over HTTP."""

import http.client
import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

NUMROUTE = urlsplit(os.environ.get("NUMROUTE", "http://127.0.0.1:8080"))
TOKEN = os.environ.get("NUMROUTE_TOKEN", "")
PORT = int(os.environ.get("PORT", "8053"))
ZONE = os.environ.get("ZONE", "7.e164.arpa")
COUNTRY_CODE = "7"  # of the zone's routing numbers
TTL = 60  # seconds
SOA = f"ns.{ZONE}. hostmaster.{ZONE}. 1 3600 600 86400 {TTL}"


class Backend(BaseHTTPRequestHandler):
    """One connection of PowerDNS, and one to numroute."""

    protocol_version = "HTTP/1.1"
    numroute = None

    def do_GET(self):
        """Answer /dns/lookup/NAME/TYPE; PowerDNS needs no other method."""
        _, _, method, *words = map(unquote, self.path.split("/"))
        try:
            result = self.look_up(*words[:2]) if method == "lookup" else False
            status, body = 200, {"result": result}
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.numroute = None
            status, body = 502, {"result": False, "log": [f"numroute: {type(error).__name__}"]}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def look_up(self, name, kind):
        """Return a name's records of a type, or of all types for ANY."""
        name = name.rstrip(".").lower()
        if name == ZONE:
            records = [record(name, "SOA", SOA), record(name, "NS", f"ns.{ZONE}.")]
            return [one for one in records if kind in ("ANY", one["qtype"])]
        if kind == "SOA" or not re.fullmatch(rf"([0-9]\.)+{re.escape(ZONE)}", name):
            return []
        digits = "".join(reversed(name.removesuffix(".e164.arpa").split(".")))
        answer = self.ask(f"+{digits}")
        if answer["status"] == "INVALID":
            # Part of a number: names below it exist, so this one does.
            return [record(name, "TXT", '"not a whole number"')]
        if answer["route"] is None:
            return []
        tel = f"tel:+{digits};npdi"
        if routing_number := answer["route"]["routing_number"]:
            tel += f";rn={routing_number};rn-context=+{COUNTRY_CODE}"
        return [record(name, "NAPTR", f'100 10 "u" "E2U+pstn:tel" "!^.*$!{tel}!" .')]

    def ask(self, number):
        """Return numroute's answer, over a connection that is kept."""
        if self.numroute is None:
            self.numroute = http.client.HTTPConnection(NUMROUTE.netloc, timeout=1)
        headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
        self.numroute.request("GET", f"/v1/lookup?number={quote(number)}", headers=headers)
        response = self.numroute.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise http.client.HTTPException(response.status)
        return json.loads(body)

    def log_message(self, *_):
        """Log nothing: names are numbers."""


def record(name, kind, content):
    """Return a record as the remote backend takes it."""
    return {"qname": f"{name}.", "qtype": kind, "content": content, "ttl": TTL}


ThreadingHTTPServer(("127.0.0.1", PORT), Backend).serve_forever()
