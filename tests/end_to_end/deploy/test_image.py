"""The container image without a container engine: what its Dockerfile installs, run as it says.

Bubblewrap gives each command the image's user, a read-only root, no network, and only the mounts
of the `docker run` lines that docs/deploy.md prints.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement

from numroute.cli import numroute
from numroute_loader.cli import numroute_load

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", "")
BUILD_STAGE, FINAL_STAGE = DOCKERFILE.split("\nFROM ")[1:]
PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")
LINES = re.findall(r"^docker run (.+)$", PAGE, re.MULTILINE)
EXTRAS = re.search(r"IMAGE_EXTRAS := (.+)", (ROOT / "Makefile").read_text("utf-8"))[1]
PYTHON = Path(sys.base_prefix)
HEALTH = shlex.join(json.loads(re.search(r"HEALTHCHECK .*?CMD (\[.*\])", FINAL_STAGE)[1]))
START_SECONDS_MAX = 60
pytestmark = pytest.mark.timeout(1200)  # it installs the image first
NUMBER = "+79161234567"
TEMPORARY = "/tmp"  # noqa: S108 - a file system of its own


def locked(name: str) -> dict[str, str]:
    """Return the versions that a lock names."""
    text = (DEPLOY / "requirements" / f"{name}.txt").read_text("utf-8")
    assert text.count("==") <= text.count("--hash=sha256:")
    assert "://" not in text
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s\\;]+)", text, re.MULTILINE))


def test_the_lock_fits_the_extras() -> None:
    """Each dependency of the image's extras is locked at a version that pyproject.toml admits."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    image = locked("image")
    needed, seen = [f"numroute[{EXTRAS.replace(' ', ',')}]", *project["dependencies"]], set()
    while needed:
        requirement = Requirement(needed.pop())
        if requirement.name != "numroute":
            version = image[requirement.name]
            assert requirement.specifier.contains(version), (requirement, version)
        for extra in requirement.extras - seen if requirement.name == "numroute" else ():
            seen.add(extra)
            needed += project["optional-dependencies"][extra]
    assert {"numba", "llvmlite"} == locked("fast").keys()
    assert "hatchling" in locked("build")


def bubble(*words: str | Path, mounts: list[str | Path]) -> list[str | Path]:
    """Return the command that runs in a root of its own, as the image's user."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("bubblewrap is not installed")
    return [
        bwrap, "--unshare-user", "--unshare-pid", "--uid", "10001", "--gid", "10001",
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
        "--symlink", "usr/lib64", "/lib64", "--ro-bind", "/etc", "/etc", "--ro-bind-try",
        "/opt", "/opt", "--ro-bind", PYTHON, PYTHON, "--proc", "/proc", "--dev", "/dev",
        "--die-with-parent", "--as-pid-1", *mounts, "--remount-ro", "/", *words,
    ]  # fmt: skip


@dataclass
class Image:
    """The folder that the Dockerfile fills, and where its volumes are."""

    venv: Path
    folder: Path

    def command(self, line: str) -> tuple[list[str | Path], dict[str, str]]:
        """Return a `docker run` line as a command for bubblewrap, and its environment."""
        parser = argparse.ArgumentParser()
        for flag in ("--rm", "--read-only", "-d"):
            parser.add_argument(flag, action="store_true")
        for flag in ("-v", "-e", "-p", "--tmpfs"):
            parser.add_argument(flag, action="append", default=[])
        parser.add_argument(
            "--entrypoint", default=re.search(r'ENTRYPOINT \["(.+)"\]', FINAL_STAGE)[1]
        )
        parser.add_argument("image")
        parser.add_argument("words", nargs=argparse.REMAINDER)
        run = parser.parse_args(shlex.split(line.replace("$PWD", str(self.folder))))
        assert run.read_only
        mounts: list[str | Path] = ["--unshare-net"]
        for volume in run.v:
            source, target, *mode = volume.split(":")
            path = self.folder / source
            assert path.is_dir(), volume
            mounts += ["--ro-bind" if mode == ["ro"] else "--bind", path, target]
        for path in run.tmpfs:
            mounts += ["--tmpfs", path]
        words = re.search(r"\nENV (.*)", FINAL_STAGE)[1].split()
        environment = dict(word.split("=", 1) for word in words)
        environment["PATH"] = environment["PATH"].replace("$PATH", "/usr/bin:/bin")
        environment |= dict(pair.split("=", 1) for pair in run.e)
        # The mounts of /opt would hide what the image installs there.
        mounts = ["--tmpfs", "/opt", "--bind", self.venv, "/opt/numroute", *mounts]
        return bubble(run.entrypoint, *run.words, mounts=mounts), environment

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line to its end."""
        words, environment = self.command(line)
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    @contextlib.contextmanager
    def running(self, line: str) -> Iterator[list[str]]:
        """Run a line until the block ends; give the words that run a command beside it."""
        words, environment = self.command(line)
        reader, writer = os.pipe()
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [words[0], "--info-fd", str(writer), *words[1:]],
                env=environment, pass_fds=[writer], stdout=log, stderr=log,
            )  # fmt: skip
            os.close(writer)
            with os.fdopen(reader) as info:
                child = json.load(info)["child-pid"]
            try:
                enter = ["nsenter", f"--target={child}", "--user", "--pid", "--mount", "--net"]
                yield [
                    *enter,
                    "--preserve-credentials",
                    "env",
                    *(f"{k}={v}" for k, v in environment.items()),
                ]
            finally:
                # A first process does not get a signal before it has set its handler.
                for _ in range(60):
                    os.kill(child, signal.SIGTERM)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.5)
                        break
                else:
                    process.kill()
                    process.wait()
                    pytest.fail(f"SIGTERM does not end {line}")


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Image:
    """Run the build stage's instructions."""
    folder = tmp_path_factory.mktemp("image")
    source, venv = folder / "src", folder / "venv"
    source.mkdir()
    venv.mkdir()
    for name in ("numroute/store", "numroute/state", "files", "lists", "remote"):
        (folder / name).mkdir(parents=True, mode=0o700)
    mounts = [
        "--tmpfs", TEMPORARY, "--tmpfs", "/opt", "--bind", venv, "/opt/numroute",
        "--bind", source, "/src", "--chdir", "/src",
    ]  # fmt: skip
    environment = {**os.environ, "PATH": f"{PYTHON}/bin:/usr/bin:/bin", "HOME": TEMPORARY}
    for instruction, text in re.findall(r"^(COPY|RUN) (.*)$", BUILD_STAGE, re.MULTILINE):
        if instruction == "RUN":
            done = subprocess.run(
                bubble("sh", "-c", text, mounts=mounts),
                env=environment, capture_output=True, text=True, check=False, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-2000:]
            continue
        *names, target = text.split()
        place = (
            venv / target.removeprefix("/opt/numroute/") if target[0] == "/" else source / target
        )
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place)
            else:
                shutil.copy(ROOT / name, place)
    return Image(venv, folder)


def wait_until(words: list[str]) -> None:
    """Run a command until it succeeds."""
    end = time.monotonic() + START_SECONDS_MAX
    while True:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        assert time.monotonic() < end, done.stderr
        time.sleep(0.3)


@pytest.mark.slow
def test_every_printed_line_runs(image) -> None:
    """Each `docker run` line of the page does what it says, and what runs on is healthy."""
    generate = "--read-only --tmpfs /tmp -v $PWD/files:/files --entrypoint numroute-load numroute "
    done = image.run(generate + "generate /files --ported 1000")
    assert done.returncode == 0, done.stderr
    (image.folder / "lists" / "clients.csv").write_text(f"phone\n{NUMBER}\n+79031234567\n")
    programs = set()
    for line in LINES:
        if " -d " in f" {line}":
            with image.running(line) as beside:
                wait_until([*beside, "sh", "-c", HEALTH])
                if line.endswith("serve"):
                    # Healthy is alive; a worker may still be on its way to its first answer.
                    asked = ["numroute", "lookup", "--target", "127.0.0.1:50051", NUMBER]
                    wait_until([*beside, *asked])
        else:
            done = image.run(line)
            assert done.returncode in ({0, 2, 3} if " lookup " in line else {0}), done.stderr
        programs.add(line.split("numroute:0.1.0 ")[1].split()[0])
    assert programs >= {"build", "serve", "lookup", "route", "web", "watch", "push"}
    assert (image.folder / "remote" / "current.json").is_file()
    assert (image.folder / "lists" / "ready").is_dir()


@pytest.mark.slow
def test_every_command_and_driver_is_installed(image) -> None:
    """Each command loads, with what its options need: SFTP, S3, traces, spreadsheets."""
    run = "--read-only --tmpfs /tmp --entrypoint {} numroute {}"
    for program, group in (("numroute", numroute), ("numroute-load", numroute_load)):
        for name in group.list_commands(click.Context(group)):
            done = image.run(run.format(program, f"{name} --help"))
            assert done.returncode == 0, done.stderr
    imports = "import asyncssh, s3fs, opentelemetry.sdk, xlsxwriter, python_calamine, jinja2"
    done = image.run(run.format("python3", f"-c '{imports}'"))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_service_that_cannot_answer_is_not_healthy(image) -> None:
    """The health check fails while nothing listens on the port that it asks."""
    line = next(line for line in LINES if line.endswith("serve"))
    with image.running(f"-e NUMROUTE_METRICS=127.0.0.1:1234 {line}") as beside:
        wait_until([*beside, "sh", "-c", HEALTH])
        asked = [*beside, "NUMROUTE_METRICS=127.0.0.1:9", "sh", "-c", HEALTH]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not healthy" in done.stderr
