"""What can be known of the files without building an image."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scalelab.cli import serve_roles
from scalelab.serve.images import TARGETS
from scalelab.serve.metrics import GATEWAY, WORKER
from scalelab.serve.tally import COUNTER, HISTOGRAM

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
OF_THE_QUEUE = {"broker_up", "queue_depth_tasks", "queue_oldest_age_seconds", "tasks_in_flight", "workers"}
OF_THE_QUEUE |= {"dead_letters", "gateway_info", "model_info"}


def shown_names():
    """Return the names of all series that Prometheus sees of us."""
    names = {f"scalelab_{name}" for name in OF_THE_QUEUE}
    for metric in (*GATEWAY.metrics, *WORKER.metrics):
        ends = {COUNTER: ("_total",), HISTOGRAM: ("_bucket", "_sum", "_count")}.get(metric.kind, ("",))
        names |= {f"scalelab_{metric.name}{end}" for end in ends}
    return names


def dashboard_queries():
    panels = json.loads((DOCKER / "grafana" / "dashboards" / "scalelab.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
def test_where_the_tools_of_the_base_are_missing_it_says_what_brings_them(tmp_path):
    command = [sys.executable, ROOT / "scripts" / "container_base.py"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "buildah missing" in done.stdout
    assert "make system-packages" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
def test_hadolint_finds_nothing():
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, DOCKER / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("target", TARGETS)
def test_what_an_image_installs_is_pinned_and_asked_for_by_the_package(target):
    names = {
        line.lower()
        for line in (DOCKER / "requirements" / f"{target}.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    pinned = {
        Requirement(line).name.lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert len(names) > 4
    assert names <= pinned
    assert [name for name in names if f'"{name}>=' not in project] == []


@pytest.mark.parametrize("role", [serve_roles.gateway, serve_roles.worker], ids=["gateway", "worker"])
def test_every_setting_of_a_container_is_an_option_of_its_command(role):
    told = set(re.findall(r"\b(SCALELAB_[A-Z_]+)\b", (DOCKER / "compose.yaml").read_text()))
    told |= set(re.findall(r"\b(SCALELAB_[A-Z_]+)=", (DOCKER / "Dockerfile").read_text()))
    known = {f"SCALELAB_{option.name.upper()}" for option in role.params}
    other = serve_roles.worker if role is serve_roles.gateway else serve_roles.gateway
    others = {f"SCALELAB_{option.name.upper()}" for option in other.params}
    assert told & known
    assert told <= known | others


@pytest.mark.slow
def test_compose_understands_its_file(program):
    command = [program("docker-compose"), "-f", str(DOCKER / "compose.yaml"), "--profile", "load"]
    command += ["config", "--services"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    wanted = {"gateway", "worker", "valkey", "prometheus", "grafana", "locust"}
    assert set(done.stdout.split()) == wanted


def test_images_of_others_have_a_version():
    images = re.findall(r"^\s+image: (\S+)$", (DOCKER / "compose.yaml").read_text(), re.MULTILINE)
    assert len(images) == 6
    assert [image for image in images if not re.search(r":v?\d+\.\d+", image)] == []


def test_the_dashboard_is_what_its_maker_writes():
    spec = importlib.util.spec_from_file_location("make_dashboard", DOCKER / "grafana" / "make_dashboard.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert json.loads(maker.OUT.read_text()) == maker.dashboard(), "run docker/grafana/make_dashboard.py"


def test_dashboard_and_alerts_ask_only_for_what_is_counted():
    rules = (DOCKER / "prometheus" / "rules.yml").read_text()
    asked = set(
        re.findall(r"scalelab_[a-z_]+", " ".join([*dashboard_queries(), *re.findall(r"expr: (.*)", rules)]))
    )
    assert len(asked) > 12
    assert asked <= shown_names()


@pytest.mark.slow
def test_every_query_of_the_dashboard_is_one_that_prometheus_understands(program, tmp_path):
    queries = [query.replace("$__rate_interval", "1m") for query in dashboard_queries()]
    rules = [{"record": f"test:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(queries)} rules found" in done.stdout
