"""What lies under deploy/ fits the product: settings, ports, probes, metrics, documents."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from numroute.cli import numroute
from numroute.server.metrics import METRICS, Counter, Distribution
from numroute_loader.cli import numroute_load

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
MESH = DEPLOY / "kubernetes" / "overlays" / "mesh"
REPLICAS = DEPLOY / "kubernetes" / "overlays" / "replicas"
RULES = DEPLOY / "prometheus" / "alerts.yaml"
COMMANDS = {
    name: group.get_command(click.Context(group), name)
    for group, name in (
        (numroute, "serve"),
        (numroute, "web"),
        (numroute_load, "watch"),
        (numroute_load, "push"),
        (numroute_load, "pull"),
    )
}
SETTINGS = {
    name: {
        variable
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for variable in ([parameter.envvar] if isinstance(parameter.envvar, str) else [])
    }
    for name, command in COMMANDS.items()
}
KNOWN = set.union(*SETTINGS.values())
GRPC_PORT, METRICS_PORT = 50_051, 9_464


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text("utf-8")) if each]


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Return everything that the base's kustomization names, by kind and name."""
    (kustomization,) = documents(BASE / "kustomization.yaml")
    found = {}
    for name in kustomization["resources"]:
        for manifest in documents(BASE / name):
            found[manifest["kind"], manifest["metadata"]["name"]] = manifest
    return found


MANIFESTS = manifests()
SERVICE = MANIFESTS["Deployment", "numroute"]["spec"]["template"]
LOADER = MANIFESTS["Deployment", "numroute-loader"]["spec"]["template"]
CONTAINERS = [SERVICE["spec"]["containers"][0], LOADER["spec"]["containers"][0]]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container["env"]}


def test_the_base_names_all_of_its_files() -> None:
    """Each manifest is named by the kustomization, and each name is a file."""
    (kustomization,) = documents(BASE / "kustomization.yaml")
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    for folder in (MESH, REPLICAS):
        (overlay,) = documents(folder / "kustomization.yaml")
        assert all((folder / name).exists() for name in overlay["resources"])
        assert all((folder / patch["path"]).is_file() for patch in overlay["patches"])


@pytest.mark.parametrize(
    ("container", "command"),
    list(zip(CONTAINERS, ["serve", "watch"], strict=True)),
    ids=["service", "loader"],
)
def test_manifests_set_what_the_commands_know(container, command) -> None:
    """Each variable and option of a container is one of its command."""
    name, *rest = container["args"]
    assert name == command
    flags = {flag for parameter in COMMANDS[command].params for flag in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= flags
    assert set(environment(container)) <= SETTINGS[command]


@pytest.mark.parametrize("pod", [SERVICE, LOADER], ids=["service", "loader"])
def test_containers_are_locked_down(pod) -> None:
    """Not root, nothing to gain, a read-only root, limits, and a tag that is pinned."""
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert not pod["spec"]["automountServiceAccountToken"]
    for container in pod["spec"]["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"]["drop"] == ["ALL"]
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]["cpu"]
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    (kustomization,) = documents(BASE / "kustomization.yaml")
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    (image,) = kustomization["images"]
    assert image.keys() == {"name", "newName", "newTag"}
    assert image["newTag"] == version[1]


def test_every_path_of_a_setting_is_mounted() -> None:
    """A file or folder that a setting names lies in a volume; secrets are read-only."""
    for container in CONTAINERS:
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        for value in (*environment(container).values(), *container["args"]):
            if value.startswith("/"):
                mount = next(each for path, each in mounts.items() if value.startswith(path))
                assert mount.get("readOnly") or not value.startswith("/etc/")
    for pod in (SERVICE, LOADER):
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] & 0o037 == 0


def test_ports_and_probes_agree() -> None:
    """The ports of settings, container, service, policies and probes are the same."""
    (container,) = SERVICE["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": GRPC_PORT, "metrics": METRICS_PORT}
    settings = environment(container)
    assert settings["NUMROUTE_LISTEN"] == f"0.0.0.0:{GRPC_PORT}"
    assert settings["NUMROUTE_METRICS"] == f"0.0.0.0:{METRICS_PORT}"
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness")}
    assert all(probe == {"path": "/livez", "port": "metrics"} for probe in probes.values())
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    (patch,) = documents(REPLICAS / "service.yaml")
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    health = json.loads(re.search(r"CMD (\[\"python3.*\])", dockerfile)[1])
    for feed in (CONTAINERS[1], patch["spec"]["template"]["spec"]["containers"][1]):
        assert feed["livenessProbe"]["exec"]["command"] == health
    service = MANIFESTS["Service", "numroute"]["spec"]
    assert service["clusterIP"] == "None"
    assert {port["name"]: port["port"] for port in service["ports"]} == ports
    rules = MANIFESTS["NetworkPolicy", "numroute"]["spec"]["ingress"]
    assert [port["port"] for rule in rules for port in rule["ports"]] == [GRPC_PORT, METRICS_PORT]
    grace = SERVICE["spec"]["terminationGracePeriodSeconds"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert grace > pause + float(settings["NUMROUTE_DRAIN"]) + 5


def test_labels_select_what_they_should() -> None:
    """Selectors of service, budget and policies match the pods' labels."""
    labels = SERVICE["metadata"]["labels"]
    for selector in (
        MANIFESTS["Deployment", "numroute"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["Service", "numroute"]["spec"]["selector"],
        MANIFESTS["PodDisruptionBudget", "numroute"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy", "numroute"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    policy = MANIFESTS["NetworkPolicy", "numroute-loader"]["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= LOADER["metadata"]["labels"].items()


def test_the_mesh_overlay_is_plaintext_with_grpc_probes() -> None:
    """It asks for plaintext by name, drops certificate and tokens, and probes by gRPC."""
    (patch,) = documents(MESH / "plaintext.yaml")
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    assert environment(container)["NUMROUTE_INSECURE"] == "true"
    dropped = {each["name"] for each in container["env"] if each.get("$patch") == "delete"}
    assert dropped == {"NUMROUTE_TLS_CERT", "NUMROUTE_TLS_KEY", "NUMROUTE_TOKENS"}
    assert container["readinessProbe"]["grpc"] == {
        "port": GRPC_PORT,
        "service": "numroute.v1.NumberRouting",
    }


def test_replicas_pull_what_the_watcher_pushes() -> None:
    """Both take the URL from one secret; each replica has a store of its own that `pull` writes."""
    (patch,) = documents(REPLICAS / "service.yaml")
    service, pull = patch["spec"]["template"]["spec"]["containers"]
    assert service == {"name": "numroute"}
    assert pull["args"] == ["pull", "$(NUMROUTE_PUSH)", "--follow"]
    (loader,) = documents(REPLICAS / "loader.yaml")
    (watch,) = loader["spec"]["template"]["spec"]["containers"]
    assert watch["envFrom"] == pull["envFrom"]
    assert "NUMROUTE_PUSH" in SETTINGS["watch"]
    (volume,) = patch["spec"]["template"]["spec"]["volumes"]
    assert "emptyDir" in volume
    assert pull["volumeMounts"][0] == {"name": "store", "mountPath": "/var/lib/numroute/store"}
    (policy,) = documents(REPLICAS / "egress.yaml")
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {
        22,
        53,
        443,
    }


@pytest.mark.parametrize("key", list(MANIFESTS), ids="-".join)
def test_manifests_follow_the_schemas(key) -> None:
    """Each manifest is valid by the schemas of Kubernetes."""
    validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    validate.validate(MANIFESTS[key], "1.30", strict=True)


@pytest.mark.parametrize("folder", [BASE, MESH, REPLICAS], ids=["base", "mesh", "replicas"])
def test_kustomize_makes_what_kubernetes_takes(folder) -> None:
    """`kubectl kustomize` puts base and overlay together; in a mesh without TLS and tokens."""
    validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    words = [kubectl, "kustomize", str(folder)]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    found = {}
    for manifest in yaml.safe_load_all(made.stdout):
        validate.validate(manifest, "1.30", strict=True)
        found[manifest["kind"], manifest["metadata"]["name"]] = manifest
    assert found.keys() == MANIFESTS.keys()
    pod = found["Deployment", "numroute"]["spec"]["template"]["spec"]
    secrets = {each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
    assert secrets == (set() if folder == MESH else {"numroute-tls", "numroute-tokens"})
    assert {mount["name"] for each in pod["containers"] for mount in each["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    egress = found["NetworkPolicy", "numroute"]["spec"]["egress"]
    ports = {port["port"] for rule in egress for port in rule.get("ports", ())}
    assert ports == ({22, 53, 443} if folder == REPLICAS else set())
    assert ({} in egress) == (folder == MESH)


def test_the_image_is_small_and_not_root() -> None:
    """Two stages from one base whose digest is given, a fixed user, known settings."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert "--build-arg BASE=" in (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert set(re.findall(r"^ +(NUMROUTE_[A-Z_]+)=", text, re.MULTILINE)) <= KNOWN
    assert f"EXPOSE {GRPC_PORT} {METRICS_PORT}" in text
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    for name in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / word).exists() and f"!{word}" in ignored for word in name.split())


def test_compose_runs_what_there_is() -> None:
    """Service and watcher run the image's commands with known settings; its files exist."""
    (compose,) = documents(DEPLOY / "compose.yaml")
    services = compose["services"]
    assert services.keys() == {"serve", "web", "watch", "prometheus", "grafana"}
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for name in ("serve", "web", "watch"):
        service = services[name]
        command, *rest = service["command"]
        assert command == name
        assert service["image"] == f"numroute:{version[1]}"
        assert service["read_only"]
        assert service.get("environment", {}).keys() <= SETTINGS[name]
        flags = {flag for parameter in COMMANDS[name].params for flag in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= flags
    for service in services.values():
        assert re.fullmatch(r"[\w./]+:v?\d[\d.]+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert source in ("./inbox", "./open-plan") or (DEPLOY / source).exists()
            else:
                assert source in compose["volumes"]
    (scrape,) = documents(DEPLOY / "prometheus" / "compose.yaml")
    assert scrape["scrape_configs"][0]["static_configs"] == [{"targets": [f"serve:{METRICS_PORT}"]}]
    docker = shutil.which("docker")
    words = [docker, "compose", "--file", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    if docker and not subprocess.run([docker, "compose", "version"], check=False).returncode:
        subprocess.run(words, check=True)


@pytest.mark.parametrize(
    "unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda u: u.stem
)
def test_units_have_sample_settings(unit: Path) -> None:
    """Each unit's environment file has a sample, with settings that its command knows."""
    text = unit.read_text("utf-8")
    words = re.search(r"^ExecStart=/opt/numroute/bin/(\S+) (\S+)", text, re.MULTILINE)
    assert words[1] in {"numroute", "numroute-load"}
    (name,) = re.findall(r"^EnvironmentFile=/etc/numroute/(.+)$", text, re.MULTILINE)
    sample = (DEPLOY / "systemd" / name).read_text("utf-8")
    named = set(re.findall(r"^#?([A-Z_]+)=", sample, re.MULTILINE))
    assert named
    assert {each for each in named if each.startswith("NUMROUTE_")} <= SETTINGS.get(words[2], KNOWN)
    assert "LimitCORE=0" in text
    if unit.with_suffix(".timer").exists():
        assert "WantedBy=timers.target" in unit.with_suffix(".timer").read_text("utf-8")
    else:
        assert "WantedBy=multi-user.target" in text


@pytest.mark.parametrize(("name", "command"), [("numroute", "serve"), ("numroute-web", "web")])
def test_the_unit_starts_the_service_hardened(name: str, command: str) -> None:
    """The command as its own user, shut in, its folders made for it; `serve` reloads on SIGHUP."""
    unit = (DEPLOY / "systemd" / f"{name}.service").read_text("utf-8")
    lines = dict(re.findall(r"^([A-Za-z]+)=(.*)$", unit, re.MULTILINE))
    assert lines["ExecStart"].endswith(f"/numroute {command}")
    assert ("-HUP" in lines.get("ExecReload", "")) == (command == "serve")
    assert lines["User"] == "numroute"
    assert lines["ProtectSystem"] == "strict"
    assert lines["NoNewPrivileges"] == "yes"
    assert lines["StartLimitIntervalSec"] == "0"
    made = {f"/var/lib/{name}" for name in lines["StateDirectory"].split()}
    assert set(re.findall(r"^Environment=\w+=(/.*)$", unit, re.MULTILINE)) <= made
    assert set(re.findall(r"^Environment=(\w+)=", unit, re.MULTILINE)) <= SETTINGS[command]


def test_envoy_asks_the_replicas_for_their_health() -> None:
    """The example spreads calls round robin over TLS, by gRPC health, and retries elsewhere."""
    (config,) = documents(DEPLOY / "envoy" / "envoy.yaml")
    (cluster,) = config["static_resources"]["clusters"]
    assert cluster["lb_policy"] == "ROUND_ROBIN"
    health = cluster["health_checks"][0]["grpc_health_check"]
    assert health["service_name"] == "numroute.v1.NumberRouting"
    for endpoint in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]:
        assert endpoint["endpoint"]["address"]["socket_address"]["port_value"] == GRPC_PORT


def metric_names() -> set[str]:
    """Return all names under which Prometheus knows the metrics."""
    names = set()
    for metric in METRICS:
        if isinstance(metric, Counter):
            names.add(f"{metric.name}_total")
        elif isinstance(metric, Distribution):
            names |= {f"{metric.name}_{suffix}" for suffix in ("bucket", "sum", "count")}
        else:
            names.add(metric.name)
    return names


def alerts() -> list[dict[str, Any]]:
    (rules,) = documents(RULES)
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_alerts_and_dashboard_use_metrics_that_exist() -> None:
    """Every metric that a rule or a panel names is one of the service's."""
    dashboard = json.loads((DEPLOY / "grafana" / "numroute.json").read_text("utf-8"))
    asked = [rule["expr"] for rule in alerts()]
    asked += [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    asked.append(dashboard["templating"]["list"][1]["query"]["query"])
    used = {name for expression in asked for name in re.findall(r"numroute_\w+", expression)}
    assert used <= metric_names()
    assert len(used) > 20


def test_every_label_of_an_alert_exists() -> None:
    """Labels that rules and panels select by are labels of some metric, or Prometheus' own."""
    labels = {label for metric in METRICS for label in metric.labels} | {"instance", "job", "le"}
    text = json.dumps([rule["expr"] for rule in alerts()])
    text += (DEPLOY / "grafana" / "numroute.json").read_text("utf-8")
    assert set(re.findall(r"[{,](\w+)=~?\\\\?\"", text)) <= labels
    for group in re.findall(r"by \(([a-z, ]+)\)", text):
        assert set(group.split(", ")) <= labels


def test_every_alert_has_an_answer() -> None:
    """Each alert says what it means and what to do."""
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert all(rule["annotations"][name] for name in ("summary", "meaning", "remedy"))


@pytest.mark.parametrize(
    "words",
    [["check", "rules", RULES], ["test", "rules", Path(__file__).with_name("alerts.yaml")]],
    ids=["check", "test"],
)
def test_prometheus_understands_the_rules(words) -> None:
    """`promtool` takes the rules, and they fire when they should."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    checked = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
