"""The recipes of deploy/: what can be started is, the rest is looked through for what would not fit together."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

import pytest
import yaml

from deploy.fleet_command import listed, served
from support import cache, tsdb
from support.components import component
from support.debian import NotInstallable, unpack
from support.demo import daemon
from support.missing import missing
from support.net import free_port, get, wait_for
from tokwatt_exporter.catalogue import BUILD_INFO

ROOT = Path(__file__).parents[2]
DEPLOY, RULES = ROOT / "deploy", ROOT / "grafana/rules/tokwatt.rules.yml"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
ALERTMANAGER = yaml.safe_load((DEPLOY / "alertmanager.yml").read_text())
DEPLOYED = (ROOT / "docs/deploy.md").read_text()


# --- Homebrew


@pytest.fixture
def formula(tmp_path):
    """As the documented commands make it, of a repository of git."""
    [command] = re.findall(r"^sed .*tokwatt\.rb.*$", DEPLOYED, re.M)
    checkout, brew = tmp_path / "checkout", tmp_path / "brew"
    shutil.copytree(DEPLOY, checkout / "deploy")
    subprocess.run(["git", "init", "-q", "-b", "trunk", checkout], check=True, timeout=20)
    brew.write_text(f"#!/bin/sh\necho {tmp_path}/tap\n")
    brew.chmod(0o755)
    (tmp_path / "tap/Formula").mkdir(parents=True)
    subprocess.run(["sh", "-ec", command], cwd=checkout, check=True, timeout=20,
                   env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})  # fmt: skip
    text = (tmp_path / "tap/Formula/tokwatt.rb").read_text()
    assert f'head "file://{checkout}", using: :git, branch: "trunk"' in text
    return text


def test_the_formula_is_whole_and_every_placeholder_in_it_is_filled_in(formula):
    code = "\n".join(line for line in formula.splitlines() if not line.strip().startswith("#"))
    assert "__" not in code
    opened = re.findall(r"^\s*(?:class|def|if|unless|case|begin)\b|\bdo$", code, re.M)
    assert len(opened) == len(re.findall(r"^\s*end$", code, re.M)) == 4
    assert code.count("(") == code.count(")")
    assert all(line.count('"') % 2 == 0 for line in code.splitlines())
    if ruby := shutil.which("ruby"):
        subprocess.run([ruby, "-c"], input=formula, text=True, check=True, timeout=20, stdout=subprocess.DEVNULL)


def test_the_formula_installs_the_commands_from_the_lock_by_checksum(formula):
    steps = re.findall(r"system\(\*pip, (.*)\)", formula)
    assert steps == ['"--require-hashes", "-r", "requirements.lock"', '"--no-deps", "."']
    assert (ROOT / "requirements.lock").read_text().count("--hash=sha256:") > 100
    scripts = re.search(r"\[project\.scripts\]\n(.*?)\n\n", (ROOT / "pyproject.toml").read_text(), re.S)[1]
    linked = re.findall(r'libexec/"bin/([\w-]+)"', formula)
    assert linked == [line.partition(" ")[0] for line in scripts.splitlines()]
    assert re.findall(r'generate_completions_from_executable bin/"([\w-]+)"', formula) == linked
    depends, runs = re.search(r'depends_on "python@(.*)"', formula)[1], re.search(r'python = "python(.*)"', formula)[1]
    assert depends == runs


# --- the image and what is composed of it


def test_the_image_is_made_of_what_its_context_has():
    allowed = set(re.findall(r"^!(.*)$", (DEPLOY / "Containerfile.dockerignore").read_text(), re.M))
    copied = [
        words for line in re.findall(r"^COPY (?!--from)(.*)$", CONTAINERFILE, re.M) for words in line.split()[:-1]
    ]
    assert set(copied) == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_has_all_that_the_package_is_built_from():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = re.findall(r"^COPY (\S+) \1$", CONTAINERFILE, re.M)
    needed = [*wheel["packages"], *wheel["force-include"], *wheel["shared-data"]]
    assert [path for path in needed if not any(Path(path).is_relative_to(folder) for folder in copied)] == []


def test_the_image_runs_as_nobody_in_particular_and_writes_to_its_volume_only():
    final = CONTAINERFILE.split("\nFROM ")[-1]
    [user] = re.findall(r"^USER (.*)$", final, re.M)
    assert f"useradd --system --uid {user} " in final
    assert int(user) > 0
    assert final.index("USER") < final.index("ENTRYPOINT")
    [volume] = re.findall(r"^VOLUME (.*)$", final, re.M)
    assert f"TOKWATT_DATA_DIR={volume}" in final
    tokwatt = COMPOSE["tokwatt"]
    assert (tokwatt["read_only"], tokwatt["cap_drop"]) == (True, ["ALL"])
    assert [place.partition(":")[2] for place in tokwatt["volumes"]] == [volume]


def mounted(service):
    """Where in the container the files of the checkout are."""
    pairs = [place.split(":")[:2] for place in COMPOSE[service]["volumes"]]
    return {PurePosixPath(there): DEPLOY / here for here, there in pairs if here.startswith(".")}


@pytest.mark.parametrize("service", COMPOSE)
def test_what_is_composed_is_there_and_listens_on_loopback_only(service):
    assert [path for path in mounted(service).values() if not path.exists()] == []
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE[service].get("ports", ()))
    # One network, so that addresses of loopback are those of the neighbours.
    assert service == "prometheus" or COMPOSE[service]["network_mode"] == "service:prometheus"
    assert ":" in COMPOSE[service].get("image", "built:here")


def test_the_composed_prometheus_finds_its_rules():
    [file] = [
        PurePosixPath(flag.partition("=")[2]) for flag in COMPOSE["prometheus"]["command"] if "config.file" in flag
    ]
    here = mounted("prometheus")
    [rules] = yaml.safe_load(here[file].read_text())["rule_files"]
    place = PurePosixPath(os.path.normpath(file.parent / rules))
    assert (here[place.parent] / place.name).resolve() == RULES


# --- Alertmanager


@pytest.fixture(scope="module")
def amtool():
    try:
        folder = cache.made("alertmanager-trixie", lambda folder: unpack("trixie", ["prometheus-alertmanager"], folder))
    except NotInstallable as reason:
        missing(f"amtool cannot be installed: {reason}")

    def run(*words):
        command = [folder / "usr/bin/amtool", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.mark.e2e
def test_alertmanager_accepts_its_configuration_and_sends_every_severity_somewhere(amtool):
    file = str(DEPLOY / "alertmanager.yml")
    checked = amtool("check-config", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    alerts = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule
    ]
    sent = {
        severity: amtool("config", "routes", "test", f"--config.file={file}", f"severity={severity}").stdout.strip()
        for severity in {alert["labels"]["severity"] for alert in alerts}
    }
    assert sent == {"critical": "email,webhook", "warning": "webhook", "info": "nobody"}


def test_the_alert_that_silences_others_is_one_of_ours():
    [inhibit] = ALERTMANAGER["inhibit_rules"]
    [named] = re.findall(r'alertname="(\w+)"', inhibit["source_matchers"][0])
    assert f"alert: {named}\n" in RULES.read_text()


# --- Prometheus and VictoriaMetrics


def recipe(name):
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.e2e
@pytest.mark.parametrize(
    "name", ["prometheus.yml", *(f"prometheus/{kind}.yml" for kind in ("file-sd", "http-sd", "agent"))]
)
def test_prometheus_accepts_its_configuration_and_finds_the_rules_and_the_list(name, tmp_path):
    for part in ("deploy", "grafana/rules"):
        shutil.copytree(ROOT / part, tmp_path / part)
    listed(
        "--target", "mac-1", "--target", "mac-2", "--output", str(tmp_path / "deploy/prometheus/targets/tokwatt.json")
    )
    result = subprocess.run([component("promtool"), "check", "config", "--lint-fatal", tmp_path / "deploy" / name],
                            capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
    assert (result.returncode, "WARNING" in result.stdout) == (0, False), result.stdout + result.stderr
    assert ("tokwatt.rules.yml" in result.stdout) == ("rule_files" in recipe(name))


@pytest.mark.e2e
def test_vmagent_and_vmalert_take_the_documented_flags(tmp_path):
    for program, extra in (("vmagent", [f"-remoteWrite.tmpDataPath={tmp_path}"]), ("victoria-metrics", [])):
        [flags] = re.findall(rf"^{program} (.*)$", DEPLOYED, re.M)
        run = [component(program), *flags.split(), "-dryRun", *extra]
        result = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert result.returncode == 0, result.stderr
    [flags] = re.findall(r"^vmalert (.*)$", DEPLOYED, re.M)
    vmalert = component("victoria-metrics").with_name("vmalert")
    result = subprocess.run([vmalert, *flags.split(), "-dryRun"], cwd=ROOT, capture_output=True, text=True, check=False,
                            timeout=60)  # fmt: skip
    assert result.returncode == 0, result.stderr


@contextmanager
def running(program, log, *flags):
    with log.open("wb") as output:
        process = subprocess.Popen([component(program), *flags], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A demo daemon that is found by all recipes at once; the databases that scrape it, and its port."""
    folder = tmp_path_factory.mktemp("recipes")
    ports = {name: free_port() for name in ("daemon", "sd", "prometheus", "victoria")}
    targets = ("--target", f"127.0.0.1:{ports['daemon']}", "--label", "room=lab")
    here = [f"127.0.0.1:{ports['daemon']}"]
    with ExitStack() as stack:
        stack.enter_context(daemon("laptop", folder, ports["daemon"], "--sample-interval", "500ms"))
        url = stack.enter_context(served(ports["sd"], folder / "sd.log", *targets))
        listed(*targets, "--output", str(folder / "targets/tokwatt.json"))
        jobs = {kind: recipe(f"prometheus/{kind}.yml")["scrape_configs"][0] for kind in ("file-sd", "http-sd", "agent")}
        jobs["http-sd"]["http_sd_configs"][0]["url"] = url
        jobs["agent"]["static_configs"][0]["targets"] = here
        [push] = recipe("prometheus/agent.yml")["remote_write"]
        push |= {"url": f"http://127.0.0.1:{ports['victoria']}/api/v1/write"}
        scraped = {"scrape_configs": [job | {"job_name": kind} for kind, job in jobs.items()], "remote_write": [push]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(scraped | {"global": {"scrape_interval": "1s"}}))
        own = recipe("victoriametrics.yml")
        own["scrape_configs"][0]["static_configs"][0]["targets"] = []
        (folder / "victoria.yml").write_text(yaml.safe_dump(own | {"global": {"scrape_interval": "1s"}}))
        stack.enter_context(running(
            "victoria-metrics", folder / "victoria.log", f"-storageDataPath={folder / 'victoria'}",
            f"-httpListenAddr=127.0.0.1:{ports['victoria']}", "-search.latencyOffset=0s",
            f"-promscrape.config={folder / 'victoria.yml'}"))  # fmt: skip
        stack.enter_context(running(
            "prometheus", folder / "prometheus.log", f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}"))  # fmt: skip
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


def found(url):
    """Labels of the exporters that a database has a value of."""
    answer = get(f"{url}/api/v1/query", params={"query": BUILD_INFO.name}).json()
    return [row["metric"] for row in answer["data"]["result"]]


@pytest.mark.e2e
def test_prometheus_finds_the_machines_of_a_list_by_file_and_by_http(fleet):
    jobs = ("file-sd", "http-sd", "agent")
    rows = wait_for(lambda: len(rows := found(fleet["prometheus"])) == len(jobs) and rows, 60, "all jobs to be scraped")
    by_job = {row["job"]: row for row in rows}
    assert by_job.keys() == set(jobs)
    assert [by_job[kind].get("room") for kind in jobs] == ["lab", "lab", None]
    assert by_job["file-sd"]["instance"] == fleet["daemon"].removeprefix("http://")
    assert by_job["agent"]["instance"] == "this-machine"


@pytest.mark.e2e
def test_what_is_scraped_on_a_machine_is_pushed_and_victoriametrics_scrapes_by_itself(fleet):
    def both():
        rows = {row["job"]: row["instance"] for row in found(fleet["victoria"])}
        return {"agent", tsdb.JOB} <= rows.keys() and rows

    rows = wait_for(both, 60, "VictoriaMetrics to have been pushed to, and to have scraped")
    assert rows["agent"] == "this-machine"


@pytest.mark.e2e
def test_the_image_is_healthy_while_the_exporter_answers_and_not_after(fleet):
    [code] = re.findall(r'CMD \["python", "-c", "(.*)"\]', CONTAINERFILE)
    ours = re.search(r"http://127\.0\.0\.1:\d+", code)[0]
    healthy = [
        subprocess.run([sys.executable, "-c", code.replace(ours, url)], capture_output=True, check=False, timeout=30)
        for url in (fleet["daemon"], f"http://127.0.0.1:{free_port()}")
    ]
    assert [run.returncode for run in healthy] == [0, 1]
