"""The gatherers of docs/recipes, compiled and run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from support.servers import running

ROOT = Path(__file__).resolve().parents[3]
RECIPES = ROOT / "docs" / "recipes"
PROTO = "numroute/v1/number_routing.proto"
GO_PACKAGES = Path("/usr/share/gocode")
"""Where Debian's golang-google-grpc-dev and golang-google-protobuf-dev put their sources."""


def test_gatherers_are_short() -> None:
    """Each is 120 lines at most."""
    for name in ("gatherer.js", "gather.go"):
        assert (RECIPES / name).read_text("utf-8").count("\n") <= 120


def run(words: list[str | Path], folder: Path, **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, timeout=240, **options
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def node_gatherer(node: Path) -> list[str | Path]:
    shutil.copy(RECIPES / "gatherer.js", node)
    shutil.copy(Path(__file__).with_name("run_gatherer.js"), node)
    return ["node", node / "run_gatherer.js", ROOT / "protos" / PROTO]


@pytest.fixture(scope="module")
def go_gatherer(tmp_path_factory, request) -> list[str | Path]:
    for tool in ("go", "gofmt", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: golang-go protoc-gen-go-grpc)")
    if not (GO_PACKAGES / "src" / "google.golang.org" / "grpc").is_dir():
        pytest.skip("gRPC for Go is not installed (Debian: golang-google-grpc-dev)")
    folder = tmp_path_factory.mktemp("go")
    gateway = folder / "src" / "example.com" / "gateway"
    for part in ("gen", "gather"):
        (gateway / part).mkdir(parents=True)
    run(
        ["protoc", f"-I{ROOT / 'protos'}", "--go_out=gen", "--go-grpc_out=gen", PROTO],
        gateway,
    )
    shutil.copy(RECIPES / "gather.go", gateway / "gather")
    shutil.copy(Path(__file__).with_name("run_gatherer.go"), gateway)
    assert run(["gofmt", "-l", "."], gateway / "gather").stdout == ""
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": f"{folder}:{GO_PACKAGES}",
        "GOCACHE": str(request.config.cache.mkdir("go-build")),
    }
    run(["go", "vet", "./gather"], gateway, env=environment)
    run(["go", "build", "-o", "run", "run_gatherer.go"], gateway, env=environment)
    return [gateway / "run"]


@pytest.fixture(params=["node", "go"])
def program(request) -> list[str | Path]:
    """Return the command of one page's gatherer."""
    return request.getfixturevalue(f"{request.param}_gatherer")


def test_a_gatherer_answers_many_tasks_by_few_calls(program, store, registry, tmp_path) -> None:
    """Every answer is the registry's, many times as many a second as by one call for each."""
    numbers = [*list(registry.ported)[:3000], *registry.starts[1:], 1]
    with running(tmp_path, store.path, workers=2) as server:
        words = [*program, server.target, "4000", "100000", "3000"]
        done = run(words, tmp_path, input=json.dumps(numbers))
    found = json.loads(done.stdout)
    current = store.current_id()
    assert found["answers"] == [
        [f"STATUS_{route.status.name}", route.operator.code, current]
        for route, _, _ in map(registry.answer, numbers)
    ]
    # Go's type takes nothing but numbers.
    assert set(found.get("refused", ["TypeError"])) == {"TypeError"}
    sys.stdout.write(
        f"without {found['without']:,.0f}, gathered {found['with']:,.0f} numbers a second\n"
    )
    # Twenty times and more on a quiet machine; a test must not fail on a busy one.
    assert found["with"] > 5 * found["without"]


def workers(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text("ascii")
    return [int(child) for child in children.split()]


def test_a_gatherer_survives_a_worker(program, store, registry, tmp_path) -> None:
    """A worker that is killed while it is asked costs no answer."""
    numbers = list(registry.ported)[:1000]
    with running(tmp_path, store.path, workers=2) as server:
        victim = workers(server.process.pid)[0]
        killer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
        killer.start()
        words = [*program, server.target, "4000", "600000", "0"]
        done = run(words, tmp_path, input=json.dumps(numbers))
        killer.join()
        assert victim not in workers(server.process.pid)
    assert len(json.loads(done.stdout)["answers"]) == len(numbers)


def test_the_template_generates_other_languages(tmp_path) -> None:
    """`buf generate` takes buf.gen.yaml, for the languages whose generators are installed."""
    template = yaml.safe_load((ROOT / "buf.gen.yaml").read_text("utf-8"))
    protoc = shutil.which("protoc")
    template["plugins"] = [
        plugin
        for plugin in template["plugins"]
        if ("local" in plugin and shutil.which(plugin["local"]))
        or ("local" not in plugin and protoc)
    ]
    if not template["plugins"]:
        pytest.skip("neither protoc nor a generator for another language is installed")
    template["inputs"] = [{"directory": str(ROOT / "protos")}]
    (tmp_path / "buf.gen.yaml").write_text(json.dumps(template), "utf-8")
    run([Path(sys.executable).with_name("buf"), "generate"], tmp_path)
    made = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert made >= {
        {"go": ".go", "java": ".java", "csharp": ".cs"}[Path(plugin["out"]).name]
        for plugin in template["plugins"]
    }
