"""Generate ``service/numroute/v1`` from the contract, or check that it is up to date.

Usage: ``python protos/generate.py [--check]``. ``--check`` writes nothing and exits 1 when the
committed code differs from what the contract gives.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TARGET = ROOT.parent / "service"
PROTO = "numroute/v1/number_routing.proto"
GENERATED = (
    "numroute/v1/number_routing_pb2.py",
    "numroute/v1/number_routing_pb2.pyi",
    "numroute/v1/number_routing_pb2_grpc.py",
)

GENERATOR = "grpcio-tools==1.66.2"
"""Generated code needs at least the generator's versions of grpcio and protobuf: an old generator
lets the client run beside other packages' pins. It stays out of the environment, whose protobuf is
newer."""


def generate(target: Path) -> None:
    """Run protoc for the contract with ``target`` as the output root."""
    generator = Path(sys.prefix) / "share" / GENERATOR
    if not generator.exists():
        command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target"]
        subprocess.run([*command, generator, GENERATOR], check=True)
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    done = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", *outputs, PROTO],
        env={**os.environ, "PYTHONPATH": str(generator)},
        check=False,
    )
    if done.returncode:
        sys.exit(1)


def main() -> int:
    """Generate or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = []
        for name in GENERATED:
            fresh, committed = Path(folder) / name, TARGET / name
            if check:
                if not committed.exists() or not filecmp.cmp(fresh, committed, shallow=False):
                    stale.append(name)
            else:
                committed.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(fresh, committed)
    for name in stale:
        print(f"service/{name} differs from the contract: run `make proto`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
