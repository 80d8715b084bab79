"""One layer at a time, in process or as one command."""

from benchmarks.micro.building import apply, build
from benchmarks.micro.looking_up import kernel, opening
from benchmarks.micro.reading import normalising, parsing

BENCHMARKS = {
    "kernel": kernel,
    "open": opening,
    "build": build,
    "apply": apply,
    "parse": parsing,
    "e164": normalising,
}
