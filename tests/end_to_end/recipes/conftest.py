"""A web service over the tiny registry, and the recipes' files."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.registry import command, write_registry
from support.web import Web, running

RECIPES = Path(__file__).resolve().parents[3] / "docs" / "recipes"
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory) -> Path:
    """Return a store with the tiny registry: +79000000012 was ported to mMEGAFON, and so on."""
    folder = tmp_path_factory.mktemp("tiny")
    built = command("numroute-load", "build", "--store", folder / "s", write_registry(folder / "r"))
    assert built.status == 0, built.err
    return folder / "s"


@pytest.fixture(scope="session")
def web(tiny_store: Path, tmp_path_factory) -> Iterator[Web]:
    """Run a web service over the tiny registry."""
    with running(tmp_path_factory.mktemp("web"), "--store", tiny_store) as started:
        yield started


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies a recipe's file with some of its texts replaced."""

    def copy(name: str, **replaced: str) -> Path:
        text = (RECIPES / name).read_text("utf-8")
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return copy


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts a program, or skips; it is ended with the test."""
    with contextlib.ExitStack() as stack:

        def run(*words: object) -> subprocess.Popen[bytes]:
            program, *options = map(str, words)
            path = shutil.which(program, path=PATH)
            if path is None:
                pytest.skip(f"{program} is not installed")
            log = stack.enter_context((tmp_path / f"{Path(program).name}.log").open("wb"))
            process = subprocess.Popen(
                [path, *options], stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
            )
            stack.callback(end, process)
            return process

        yield run


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Return a function that finds ports on which nothing listens."""

    def find(count: int) -> list[int]:
        with contextlib.ExitStack() as stack:
            bound = [stack.enter_context(socket.socket()) for _ in range(count)]
            for one in bound:
                one.bind(("127.0.0.1", 0))
            return [one.getsockname()[1] for one in bound]

    return find


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
