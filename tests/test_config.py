"""Settings: where they come from, and one clear line for each thing that can be wrong."""

from pathlib import Path

import pytest

from tokwatt_exporter import config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.parse import Address
from tokwatt_exporter.show import settings_rows


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "tokwatt.toml"
        path.write_text(text)
        return path

    return write


def load(flags=None, environ=None, file=None):
    return config.load(flags or {}, environ or {}, file)


def test_it_works_without_any_setting():
    effective = load()
    assert effective.sample_interval == 5
    assert effective.web_listen_address == (Address("127.0.0.1", config.DEFAULT_PORT),)
    assert set(effective.sources.values()) == {"default"}


def test_flag_beats_environment_beats_file_beats_default(toml):
    path = toml('sample-interval = "7s"\n[discovery]\ninterval = "8s"\n[otlp]\ninterval = "9s"\n')
    environ = {"TOKWATT_DISCOVERY_INTERVAL": "18s", "TOKWATT_OTLP_INTERVAL": "19s"}
    effective = load({"otlp.interval": "29s"}, environ, path)
    assert (effective.sample_interval, effective.discovery_interval, effective.otlp_interval) == (7, 18, 29)
    assert effective.sources["sample-interval"] == f"file {path}"
    assert effective.sources["discovery.interval"] == "environment TOKWATT_DISCOVERY_INTERVAL"
    assert effective.sources["otlp.interval"] == "flag --otlp.interval"


def test_the_file_can_be_named_by_the_environment(toml):
    path = toml('sample-interval = "7s"')
    assert load(environ={"TOKWATT_CONFIG_FILE": str(path)}).sample_interval == 7


def test_repeatable_settings_are_lists_in_the_file_and_commas_in_the_environment(toml):
    path = toml('[web]\nlisten-address = ["127.0.0.1:1", "[::1]:2"]')
    expected = (Address("127.0.0.1", 1), Address("::1", 2))
    assert load(file=path).web_listen_address == expected
    assert load(environ={"TOKWATT_WEB_LISTEN_ADDRESS": "127.0.0.1:1, [::1]:2"}).web_listen_address == expected


def test_engines_and_collectors_come_from_tables(toml, tmp_path):
    path = toml(
        "[collector]\nrapl = false\n"
        '[[engine]]\nurl = "http://127.0.0.1:8080/"\nname = "box"\nkind = "llama_cpp"\napi-key-file = "~/key"\n'
    )
    effective = load(file=path)
    assert effective.collector_enabled("rapl", True) is False
    assert effective.collector_enabled("cpu", True) is True
    [engine] = effective.engines
    assert (engine.url, engine.name, engine.kind) == ("http://127.0.0.1:8080", "box", "llama_cpp")
    assert engine.api_key_file == Path("~/key").expanduser()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sample-intervall = 5", "unknown key sample-intervall; did you mean sample-interval?"),
        ("[web]\nport = 5", "unknown key web.port"),
        ("sample-interval = 5", "sample-interval: '5' is not a duration like 5s, 10m or 14d"),
        ('sample-interval = "0s"', "'0s' is not longer than zero"),
        ('sample-interval = "-5s"', "'-5s' is not a duration"),
        ("[web]\nlisten-address = 10021", "web.listen-address: must be a list"),
        ('[web]\nlisten-address = ["localhost"]', "'localhost' is not HOST:PORT"),
        ('[web]\nlisten-address = ["127.0.0.1:70000"]', "is not HOST:PORT"),
        ('[web]\nlisten-address = ["::1:80"]', "needs brackets"),
        ('[otlp]\nendpoint = "collector:4318"', "is not a URL"),
        ('[otlp]\nendpoint = "http://me:secret@collector"', "has a user or password"),
        ('[otlp]\nheader = ["Authorization"]', "a header is NAME=VALUE"),
        ('[log]\nlevel = "loud"', "'loud' is not one of debug, info, warning, error"),
        ("[collector]\nrappl = false", "unknown key collector.rappl; did you mean collector.rapl?"),
        ('[collector]\nrapl = "maybe"', "collector.rapl: 'maybe' is not true or false"),
        ("[[engine]]\nname = 'x'", "each [[engine]] needs a url"),
        ('[[engine]]\nurl = "127.0.0.1"', "is not a URL"),
        ('[[engine]]\nurl = "http://u:p@h"', "use api-key-file"),
        ('[[engine]]\nurl = "http://h"\nkind = "gpt"', "kind 'gpt' is not one of"),
        ('[[engine]]\nurl = "http://h"\napi_kee = "x"', "unknown key api_kee"),
        ('[[engine]]\nurl = "http://h"\napi_key_file = "x"', "unknown key api_key_file"),
        ('[[engine]]\nurl = "http://h"\nname = ""', "is not a name"),
        (
            '[[engine]]\nurl = "http://h"\napi-key-file = "x"\napi-key-env = "X"',
            "[[engine]] has api-key-file and api-key-env; one of them is enough",
        ),
        ('[[engine]]\nurl = "http://h"\napi-key-env = "sk-secret"', "the key itself does not go here"),
        ('[[engine]]\nurl = "http://h"\napi-key-env = 5', "api-key-env is not the name of an environment variable"),
        ('[[engine]]\nurl = "http://h"\napi-key-command = "security -w"', "api-key-command is not a list like"),
        ('[[engine]]\nurl = "http://h"\napi-key-command = []', "api-key-command is not a list like"),
        ('[[engine]]\nurl = "http://h"\napi-key-command = ["", "a"]', "api-key-command is not a list like"),
        ('[[engine]]\nurl = "http://h"\napi-key-command = ["a", 5]', "api-key-command is not a list like"),
        ("engine = 5", "unknown key engine"),
        ("[discovery]\nport = [0]", "discovery.port: '0' is not a port"),
        ('[discovery]\nport = ["http"]', "discovery.port: 'http' is not a port"),
        ("sample-interval = ", "not valid TOML"),
    ],
)
def test_a_wrong_file_gets_one_line_that_names_file_and_key(toml, text, said):
    path = toml(text)
    with pytest.raises(UsageError) as error:
        load(file=path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "sk-secret" not in str(error.value)


def test_a_key_from_the_environment_or_a_program_is_named_but_not_shown(toml):
    path = toml(
        '[[engine]]\nurl = "http://127.0.0.1:1"\napi-key-env = "MY_KEY"\n'
        '[[engine]]\nurl = "http://127.0.0.1:2"\napi-key-command = ["get", "--password", "sk-secret"]\n'
    )
    effective = load(file=path)
    assert effective.engines[0].api_key_env == "MY_KEY"
    assert effective.engines[1].api_key_command == (("get", "--password", "sk-secret"),)
    shown = {row["key"]: row["value"] for row in settings_rows(effective)}
    assert shown["engine[1].api_key_env"] == "MY_KEY"
    assert shown["engine[2].api_key_command"] == "get <hidden>"


def test_a_file_that_was_named_must_exist(tmp_path):
    with pytest.raises(UsageError, match="no such configuration file"):
        load(file=tmp_path / "none.toml")


def test_a_binary_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load(file=path)


def test_a_secret_never_appears_in_an_error():
    with pytest.raises(UsageError) as error:
        load({"otlp.header": ["hunter2"]})
    assert "hunter2" not in str(error.value)


def test_the_flush_interval_follows_the_sampling():
    assert load().flush_interval == 120
    assert load({"sample-interval": "1s"}).flush_interval == 24
    assert load({"history.flush-interval": "3s"}).flush_interval == 3
