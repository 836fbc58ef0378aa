"""The command line as a user meets it: real processes, exit codes, one clear line."""

import json
import os
import subprocess
import sys

import pytest

from support.warm import warm


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    modules = ("tokwatt_exporter.cli", "tokwatt_exporter.daemon", "typer._adapters", "httpx")
    with warm(tmp_path_factory.mktemp("warm"), *modules) as process:
        yield process


@pytest.fixture
def tokwatt(tmp_path, python):
    """Run `tokwatt ARGS`; the data directory is the test's own."""

    def run(*args, environ=None):
        environ = {**os.environ, "TOKWATT_DATA_DIR": str(tmp_path / "data"), **(environ or {})}
        return python.run("from tokwatt_exporter.__main__ import main\nmain()", *args, environ=environ)

    return run


def imported_by(code):
    script = f"import sys\ntry:\n {code}\nexcept SystemExit:\n pass\nprint(*sys.modules, file=sys.stderr)"
    listed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return {name.partition(".")[0] for name in listed.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "sys.argv = ['tokwatt', '--version']; from tokwatt_exporter.__main__ import main; main()",
        "sys.argv = ['tokwatt', '--help']; from tokwatt_exporter.__main__ import main; main()",
        "sys.argv = ['tokwatt-bench', '--help']; from tokwatt_bench.__main__ import main; main()",
    ],
)
def test_version_and_help_import_nothing_heavy(code):
    assert not imported_by(code) & {"duckdb", "opentelemetry", "httpx", "hypercorn", "prometheus_client", "pynvml"}


def test_version(tokwatt):
    from tokwatt_exporter import __version__

    assert tokwatt("--version").stdout == f"tokwatt {__version__}\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "--sample-interval", "soon"], "sample-interval: 'soon' is not a duration"),
        (["run", "--web.listen-address", "everywhere"], "web.listen-address: 'everywhere' is not HOST:PORT"),
        (["run", "--web.config.file", "/nowhere/web.yml"], "/nowhere/web.yml"),
        (["run", "--otlp.endpoint", "ftp://x"], "otlp.endpoint: 'ftp://x' is not a URL"),
        (["run", "--data-dir", "/dev/null/x"], "data-dir: /dev/null/x cannot be made"),
        (["run", "--config.file", "/nowhere.toml"], "/nowhere.toml: no such configuration file"),
        (["run", "--colector.cpu"], "no such option"),
        (["history", "query"], "missing option '--metric'"),
        (["history", "query", "--metric", "tokwatt_memory_siz_bytes"], "did you mean tokwatt_memory_size_bytes"),
        (["history", "query", "--metric", "tokwatt_memory_size_bytes", "--since", "soon"], "soon"),
        (["history", "query", "--metric", "tokwatt_memory_size_bytes", "--label", "x"], "x"),
        (["engines", "--url", "not a url"], "is not a URL"),
        (["frobnicate"], "no such command 'frobnicate'"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(tokwatt, args, said):
    result = tokwatt(*args)
    assert result.returncode == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("tokwatt: ")
    assert said in line


def test_a_wrong_environment_variable_is_named(tokwatt):
    result = tokwatt("config", "show", environ={"TOKWATT_SAMPLE_INTERVAL": "soon"})
    assert result.returncode == 2
    assert "environment TOKWATT_SAMPLE_INTERVAL" in result.stderr


def test_config_show_says_where_each_value_came_from_and_hides_secrets(tokwatt):
    result = tokwatt("config", "show", "--json", "--otlp.header", "Authorization=hunter2", "--no-collector.rapl",
                     environ={"TOKWATT_SAMPLE_INTERVAL": "2s"})  # fmt: skip
    settings = {row["key"]: row for row in json.loads(result.stdout)["settings"]}
    assert settings["sample-interval"] == {
        "key": "sample-interval",
        "value": 2.0,
        "source": "environment TOKWATT_SAMPLE_INTERVAL",
    }
    assert settings["otlp.header"]["value"] == "<hidden>"
    assert settings["collector.rapl"]["value"] is False
    assert "hunter2" not in result.stdout + result.stderr


def test_config_check_reads_the_files_it_names(tokwatt, tmp_path):
    web = tmp_path / "web.yml"
    web.write_text("tls_server_config:\n  cert_file: missing.pem\n  key_file: missing.key\n")
    assert tokwatt("config", "check").returncode == 0
    result = tokwatt("config", "check", "--web.config.file", str(web))
    assert result.returncode == 2
    assert "missing.pem" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_sample_prints_this_machines_cpu_and_memory(tokwatt):
    result = tokwatt("sample", "--json", "--no-collector.engines")
    assert result.returncode == 0, result.stderr
    readings = json.loads(result.stdout)["readings"]
    names = {reading["metric"] for reading in readings}
    assert {"tokwatt_cpu_busy_seconds_total", "tokwatt_memory_size_bytes", "tokwatt_collector_success"} <= names
    assert all(set(reading) == {"metric", "labels", "value", "unit"} for reading in readings)


def test_sample_as_a_table(tokwatt):
    result = tokwatt("sample", "--series", "--no-collector.engines")
    assert result.returncode == 0, result.stderr
    assert "tokwatt_memory_size_bytes" in result.stdout


def test_asking_an_empty_history_gives_an_empty_answer(tokwatt):
    result = tokwatt("history", "query", "--metric", "tokwatt_memory_size_bytes", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"samples": []}
    assert tokwatt("history", "info").returncode == 0


def test_a_reader_that_goes_away_is_no_error(tokwatt, tmp_path):
    command = f"{sys.executable} -m tokwatt_exporter config show --json | head -c 1"
    result = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60,
                            env={**os.environ, "TOKWATT_DATA_DIR": str(tmp_path)}, check=False)  # fmt: skip
    assert result.stderr == ""
