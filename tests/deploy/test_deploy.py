"""What is in deploy/ and grafana/provisioning: valid where a tool can tell, and of one mind with the code."""

import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from tokwatt_exporter import config, fleet, fleet_cli
from tokwatt_exporter.cli import app
from tokwatt_exporter.service import plist
from tokwatt_exporter.service.base import Account
from tokwatt_exporter.service.launchd import Launchd

ROOT = Path(__file__).parents[2]
DEPLOY, GRAFANA, DOCS = ROOT / "deploy", ROOT / "grafana", ROOT / "docs"
UNIT = DEPLOY / "systemd/tokwatt.service"
PLIST = DEPLOY / "launchd/tokwatt.exporter.plist"
TEXTS = [
    path
    for pattern in ("*.md", "docs/*.md", "deploy/**/*.*", "grafana/**/*.yml", "grafana/**/*.json", "Makefile")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file() and "__pycache__" not in path.parts
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_port_that_looks_like_ours_is_ours(path):
    ports = re.findall(r"(?:127\.0\.0\.1|localhost|\[::1\]|0\.0\.0\.0):(10\d\d\d)\b", path.read_text())
    assert set(ports) <= {str(config.DEFAULT_PORT), str(config.MCP_PORT), str(fleet.SD_PORT)}


def test_the_port_is_named_where_a_scraper_or_a_reader_needs_it():
    naming = {path.name for path in TEXTS if f"127.0.0.1:{config.DEFAULT_PORT}" in path.read_text()}
    assert {"README.md", "deploy.md", "configuration.md", "prometheus.yml"} <= naming


@pytest.mark.parametrize("document", ["docs/deploy.md", "README.md"])
def test_every_file_that_a_document_leads_to_exists(document):
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    named = re.findall(r"(?<!--output )\b(?:deploy|grafana)/[\w./-]*\w\.\w+", text)
    missing = [link for link in links if not ((ROOT / document).parent / link).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_what_is_deployed_by_hand_is_what_the_command_would_write(tmp_path):
    subprocess.run([sys.executable, DEPLOY / "generate.py", "--check"], check=True, timeout=60)
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    copy = tmp_path / "deploy/systemd/tokwatt.service"
    copy.write_text(copy.read_text().replace("Nice=5", "Nice=4"))
    check = "import pathlib, sys; import generate; sys.exit(generate.main(['--check'], pathlib.Path(sys.argv[1])))"
    result = subprocess.run([sys.executable, "-c", check, copy.parents[1]], capture_output=True, text=True, check=False,
                            timeout=60, env={**os.environ, "PYTHONPATH": str(DEPLOY)})  # fmt: skip
    assert (result.returncode, result.stderr) == (
        1, "deploy/systemd/tokwatt.service is not what the code says: run `make docs`\n")  # fmt: skip


def test_the_documented_commands_of_the_service_are_commands():
    text = (DOCS / "deploy.md").read_text()
    lines = re.findall(r"^(?:sudo \S*)?tokwatt (service .*?)(?: +#.*)?$", text, re.M)
    assert {line.split()[1] for line in lines} >= {"install", "status", "logs", "stop", "uninstall"}
    command = typer.main.get_command(app)
    for line in lines:
        verb, *words = shlex.split(line)[1:]
        # Makes the context, which parses; nothing is run.
        command.commands["service"].commands[verb].make_context(verb, words)


def test_the_documented_commands_of_the_fleet_are_commands():
    texts = [path.read_text() for path in (DOCS / "deploy.md", *DEPLOY.glob("**/*.yml"))]
    lines = [line for text in texts for line in re.findall(r"^(?:#   )?tokwatt fleet (sd .*?)(?: +#.*)?$", text, re.M)]
    assert len(lines) >= 5
    command = typer.main.get_command(fleet_cli.app).commands["sd"]
    for line in lines:
        context = command.make_context("sd", shlex.split(line)[1:])
        assert context.params["target"] or context.params["file"]


def test_the_list_of_machines_is_written_where_the_configuration_looks_for_it():
    for recipe in ("prometheus/file-sd.yml", "victoriametrics.yml"):
        text = (DEPLOY / recipe).read_text()
        [job] = yaml.safe_load(text)["scrape_configs"]
        [[file]] = [discovered["files"] for discovered in job["file_sd_configs"]]
        assert f"--output deploy/{Path(recipe).parent / file}" in text


# --- launchd


def test_the_documented_command_fills_in_every_placeholder_of_the_agent(tmp_path):
    text = (DOCS / "deploy.md").read_text()
    [folder] = re.findall(r"^mkdir -p -m 0700 ~.*$", text, re.M)
    [command] = re.findall(r"^sed .*LaunchAgents.*$", text, re.M)
    (tmp_path / "Library/LaunchAgents").mkdir(parents=True)
    program = Path(sys.executable).parent
    subprocess.run(
        ["sh", "-ec", f"{folder}\n{command}"], cwd=ROOT, check=True, timeout=20,
        env={"HOME": str(tmp_path), "PATH": f"{program}:{os.environ['PATH']}"},
    )  # fmt: skip
    text = (tmp_path / f"Library/LaunchAgents/{PLIST.name}").read_text()
    agent = plistlib.loads(text.encode())
    executable, *arguments = agent["ProgramArguments"]
    assert Path(executable).is_absolute()
    assert os.access(executable, os.X_OK)
    assert arguments == ["run", "--log.file", str(tmp_path / "Library/Logs/tokwatt/tokwatt.log")]
    for path in (agent["StandardErrorPath"], arguments[2]):
        assert Path(path).parent.is_dir()
    assert "__" not in re.sub(r"<!--.*?-->", "", text, flags=re.S)


def test_the_documented_paths_are_where_the_agent_is_put():
    text = (DOCS / "deploy.md").read_text()
    agent = Launchd(Account("me", 501, 20, Path("~")))
    daemon = Launchd(None, system=True)
    assert f"`{agent.file}`" in text
    assert f"`{daemon.file.parent}`" in text
    assert f"`{agent.folder}`" in text
    assert f"`{daemon.folder}`" in text
    assert f"every {plist.THROTTLE} s" in text


# --- systemd


def directives() -> list[tuple[str, str]]:
    lines = [line for line in UNIT.read_text().splitlines() if line and line[0] not in "#[;"]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def test_the_unit_keeps_history_and_settings_where_the_code_looks_for_them(monkeypatch):
    unit = dict(directives())
    name, _, value = unit["Environment"].partition("=")
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("STATE_DIRECTORY", f"/var/lib/{unit['StateDirectory']}")
    if sys.platform == "linux":
        assert str(config.default_config_file()) in UNIT.read_text()
    assert str(config.default_data_dir()) in UNIT.read_text()


def test_the_unit_runs_what_the_documented_commands_install():
    program, command = dict(directives())["ExecStart"].split()
    assert Path(program).is_absolute()
    assert command == "run"
    assert f"venv {Path(program).parents[1]}" in (DOCS / "deploy.md").read_text()


def test_a_setting_that_cannot_be_used_does_not_make_the_service_start_for_ever():
    from tokwatt_exporter.shell import WRONG_USAGE

    assert dict(directives())["RestartPreventExitStatus"] == str(WRONG_USAGE)


@pytest.fixture
def installed_unit(tmp_path):
    """The unit with a program that is there, which is what systemd-analyze asks for."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("this machine has no systemd-analyze")
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/tokwatt/bin", str(Path(sys.executable).parent)))
    return path


def test_systemd_understands_every_line_of_the_unit(installed_unit):
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", installed_unit],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    ours = [line for line in (result.stdout + result.stderr).splitlines() if UNIT.stem in line]
    assert (result.returncode, ours) == (0, [])


def test_systemd_finds_hardly_anything_that_the_service_is_exposed_to(installed_unit):
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", installed_unit],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="a promise of the Linux kernel")
def test_the_exporter_works_where_no_memory_is_writable_and_executable(tmp_path):
    assert ("MemoryDenyWriteExecute", "yes") in directives()
    # PR_SET_MDWE, which is kept over exec.
    deny = "import ctypes, os, sys; sys.exit(77) if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) else os.execv(*ARGS)"
    arguments = [sys.executable, "-m", "tokwatt_exporter", "sample", "--json", "--data-dir", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-c", deny.replace("ARGS", repr((sys.executable, arguments)))],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if result.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert result.returncode == 0, result.stderr
    assert "memory_available" in result.stdout


# --- Prometheus, Grafana, Collector

PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())


def test_the_alert_on_a_missing_exporter_looks_for_the_scrape_job():
    [job] = PROMETHEUS["scrape_configs"]
    rules = yaml.safe_load((GRAFANA / "rules/tokwatt.rules.yml").read_text())
    [down] = [r for g in rules["groups"] for r in g["rules"] if r.get("alert") == "TokwattExporterDown"]
    assert f'up{{job="{job["job_name"]}"}} == 0' in down["expr"]


def test_grafana_is_told_the_scrape_interval():
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/tokwatt.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_grafana_looks_for_the_boards_where_the_documented_command_puts_them():
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/tokwatt.yml").read_text())["providers"]
    assert f"install -D -t {provider['options']['path']} " in (DOCS / "deploy.md").read_text()
    assert provider["allowUiUpdates"] is False


def test_the_pipelines_of_the_collector_are_made_of_what_is_configured():
    collector = yaml.safe_load((DEPLOY / "otel-collector.yaml").read_text())
    for pipeline in collector["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) == collector[kind].keys()
    listens = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    for path in (DEPLOY / "otel-collector.yaml", DOCS / "deploy.md"):
        [endpoint] = set(re.findall(r"--otlp.endpoint (\S+?)[`\s]", path.read_text()))
        assert endpoint == f"http://{listens}/v1/metrics"
