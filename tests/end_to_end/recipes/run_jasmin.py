"""Run a script in Jasmin's own interceptor for each number of standard input; print its tags.

For the Python that Jasmin is installed in, which is not the one that runs the tests.
"""

import json
import pickle
import sys
from pathlib import Path

from jasmin.interceptor.configs import InterceptorPBConfig
from jasmin.interceptor.interceptor import InterceptorPB
from jasmin.routing.jasminApi import Group, User
from jasmin.routing.Routables import RoutableSubmitSm
from smpp.pdu.operations import SubmitSM

config = InterceptorPBConfig()
config.log_file = sys.argv[2]
interceptor = InterceptorPB(config)
script = Path(sys.argv[1]).read_text()
for line in sys.stdin:
    message = SubmitSM(
        source_addr=b"numroute", destination_addr=line.strip().encode(), short_message=b"text"
    )
    routable = RoutableSubmitSm(message, User("uid", Group("gid"), "name", "password"))
    answered = interceptor.perspective_run_script(script, pickle.dumps(routable))
    # Jasmin itself hands messages over in this form.
    tags = pickle.loads(answered).getTags() if answered else None  # noqa: S301
    sys.stdout.write(json.dumps(tags) + "\n")
