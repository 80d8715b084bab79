"""The built wheel in empty environments: what each extra installs is enough for its commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ENVIRONMENT = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
ASK = """
import sys, numroute
with numroute.Client(sys.argv[1]) as client:
    answer = client.lookup([int(sys.argv[2]), 0], with_range_holder=True, with_ported_at=True)
    print([answer.routes[index].status.name for index in answer.route_index])
    print(client.lookup_text(["+" + sys.argv[2]])[0].status)
"""
pytestmark = pytest.mark.timeout(600)


@dataclass
class Installed:
    """An environment into which only the wheel was installed."""

    folder: Path
    what: str
    seconds: float = field(init=False)

    def __post_init__(self) -> None:
        """Make it, and install."""
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", self.folder / "env"], check=True)
        self.run(f"pip install -q --disable-pip-version-check '{self.what}'")
        self.seconds = time.monotonic() - started

    def run(self, line: str, status: int = 0) -> str:
        """Run a shell's line with the environment's programs; return what it prints."""
        path = f"{self.folder / 'env/bin'}:{ENVIRONMENT['PATH']}"
        done = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=self.folder,
            env={**ENVIRONMENT, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, (line, done.stdout, done.stderr)
        return done.stdout or done.stderr

    def packages(self) -> set[str]:
        """Return the names of what is installed, without pip and setuptools."""
        listed = json.loads(self.run("pip list --disable-pip-version-check --format json"))
        return {entry["name"].lower() for entry in listed} - {"pip", "setuptools"}

    def report(self, extra: str) -> None:
        """Print how long the installation took, and its size without pip and setuptools."""
        (site,) = self.folder.glob("env/lib/python*/site-packages")
        size = sum(
            path.stat().st_size
            for folder in site.iterdir()
            if not re.match(r"pip|setuptools|pkg_resources", folder.name)
            for path in (folder, *folder.rglob("*"))
            if path.is_file() and path.suffix != ".pyc"
        )
        print(f"{extra}: {self.seconds:.0f} s, {size / 1e6:.0f} MB")  # noqa: T201 - for `make wheel`


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    subprocess.run([*command, "--disable-pip-version-check"], check=True, env=ENVIRONMENT)
    (built,) = folder.glob("*.whl")
    return built


def test_the_plain_install_is_the_client(wheel, server, registry, tmp_path) -> None:
    """It brings three packages; the commands explain themselves and name the extra to install."""
    client = Installed(tmp_path, str(wheel))
    client.report("client")
    assert client.packages() == {"numroute", "grpcio", "protobuf", "numpy", "typing_extensions"}
    number = next(iter(registry.ported))
    printed = client.run(f"python -W error -c '{ASK}' {server.target} {number}").splitlines()
    assert printed == ["['PORTED', 'INVALID']", "PORTED"]
    for program, extra in (("numroute", "service"), ("numroute-load", "loader")):
        assert PROJECT["version"] in client.run(f"{program} --version")
        hint = f"pip install '{wheel}[{extra}]'"
        assert hint in (said := client.run(f"{program} --help"))
        assert said.startswith(f"Usage: {program} ")
        assert client.run(f"{program} info", status=1).rstrip().endswith(hint)


def test_the_client_runs_at_its_floors(wheel, server, registry, tmp_path) -> None:
    """It asks a service with the oldest grpcio, protobuf and numpy that it admits."""
    floors = [re.sub(r">=([^,]+).*", r"==\1", each) for each in PROJECT["dependencies"]]
    client = Installed(tmp_path, f"{wheel}' '" + "' '".join(floors))
    number = next(iter(registry.ported))
    printed = client.run(f"python -W error -c '{ASK}' {server.target} {number}").splitlines()
    assert printed == ["['PORTED', 'INVALID']", "PORTED"]


@pytest.mark.slow
def test_the_service_needs_only_its_extra(wheel, store, registry, tmp_path) -> None:
    """What the client names installs it; it answers from a store, and names the other extras."""
    client = Installed(tmp_path, str(wheel))
    started = time.monotonic()
    client.run(client.run("numroute --help").rpartition("'service': ")[2])
    client.seconds += time.monotonic() - started
    client.report("service")
    answer = client.run(
        f"numroute lookup --store {store.path} --json +{next(iter(registry.ported))}"
    )
    assert json.loads(answer)["status"] == "PORTED"
    for program, command, extra in (
        ("numroute", "route list.csv --out out", "campaign"),
        ("numroute", "web --store s", "web"),
        ("numroute-load", "build file", "loader"),
    ):
        assert f"'{wheel}[{extra}]'" in client.run(f"{program} {command}", status=1)
        assert program in client.run(f"{program} --help")


@pytest.mark.slow
def test_the_loader_needs_only_its_extra(wheel, tmp_path) -> None:
    """It generates files of a registry and builds a snapshot from them."""
    loader = Installed(tmp_path, f"{wheel}[loader]")
    loader.report("loader")
    loader.run("numroute-load generate files --ported 1000 && numroute-load build files --store s")
    assert "1,000" in loader.run("numroute info --store s")
    said = loader.run("numroute-load push --store s memory://replicas", status=1)
    assert f"'{wheel}[replicas]'" in said


@pytest.mark.slow
def test_campaign_lists_need_only_their_extra(wheel, store, registry, tmp_path) -> None:
    """It routes a list."""
    campaign = Installed(tmp_path, f"{wheel}[campaign]")
    campaign.report("campaign")
    (tmp_path / "list.csv").write_text(f"phone\n+{next(iter(registry.ported))}\n")
    campaign.run(f"numroute route list.csv --store {store.path} --out out")
    assert any((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_the_page_needs_only_its_extra(wheel, store, tmp_path) -> None:
    """It serves the page and lookups over HTTP."""
    web = Installed(tmp_path, f"{wheel}[web]")
    web.report("web")
    with subprocess.Popen(
        [tmp_path / "env/bin/numroute", "web", "--listen", "127.0.0.1:0", "--store", store.path],
        env=ENVIRONMENT,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stderr:
                if '"web serving"' in line:
                    break
            page = web.run(f"curl -sS http://127.0.0.1:{json.loads(line)['port']}/")
        finally:
            process.terminate()
            process.stderr.read()
    assert "<html" in page
