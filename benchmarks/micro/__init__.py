"""One layer at a time, in process or as one command."""

from benchmarks.micro.building import apply, build
from benchmarks.micro.looking_up import kernel, opening
from benchmarks.micro.reading import normalising, parsing
from benchmarks.micro.size import size

BENCHMARKS = {
    "kernel": kernel,
    "open": opening,
    "size": size,
    "build": build,
    "apply": apply,
    "parse": parsing,
    "e164": normalising,
}
