"""What `launchctl print` says, as real ones said it."""

import pytest

from support.captures import shared_captures
from tokwatt_exporter.service.printed import Printed, is_disabled, parse


def capture(name):
    return (shared_captures() / "macos/launchd" / f"{name}.txt").read_text()


def test_a_running_agent():
    assert parse(capture("gui_agent_running_print")) == Printed(
        "running", 63057, 2, 0, "/Users/me/Library/LaunchAgents/io.github.wmxscott.upkeep.plist"
    )


def test_an_agent_that_does_not_run_has_no_pid():
    printed = parse(capture("user_domain_not_running_print"))
    assert printed[:4] == ("not running", None, 1, 0)
    assert not printed.running


def test_a_braced_argument_with_a_pid_in_it_is_no_fact():
    printed = parse(capture("system_daemon_running_print_modelled"))
    assert printed[:4] == ("running", 1219, 1, None)
    assert printed.running


def test_an_argument_that_closes_the_block_changes_nothing():
    text = capture("gui_agent_running_print").replace(
        "\t\t-lic\n", "\t\t-c\n\t}\n\tpid = 1\n\tstate = not running\n\tlast exit code = 9\n\truns = 77\n"
    )
    assert parse(text) == parse(capture("gui_agent_running_print"))


@pytest.mark.parametrize("brace", ["}", "\t}"])
def test_an_argument_gives_no_pid_to_what_does_not_run(brace):
    text = capture("user_domain_not_running_print").replace("\t\t--no-ansi\n", f"\t\t-c\n{brace}\n\tpid = 1\n")
    assert parse(text).pid is None


def test_a_brace_that_closes_no_block_opens_none_to_the_reader():
    text = "x = {\n\tstate = waiting\n\targuments = {\n\t\tsh\n}\n\truns = 9\n\t}\n}\n"
    assert parse(text) == Printed("waiting")


def test_only_the_facts_of_the_service_itself_count():
    # The coalitions have a state of their own, and come after the service's.
    text = "x = {\n\tstate = waiting\n\tresource coalition = {\n\t\tstate = active\n\t\tpid = 7\n\t}\n}\n"
    assert parse(text) == Printed("waiting")


@pytest.mark.parametrize("text", ["", "nonsense\n", "x = {\n\tnew fact = ?\n\todd\n\tpid = many\n}\n"])
def test_what_is_not_known_is_not_there(text):
    assert parse(text) == Printed()


def test_an_exit_code_with_a_name():
    assert parse("x = {\n\tlast exit code = 78: EX_CONFIG\n}\n").last_exit_code == 78


@pytest.mark.parametrize(("word", "off"), [("disabled", True), ("true", True), ("enabled", False), ("false", False)])
def test_an_override_in_the_words_of_newer_and_older_systems(word, off):
    text = f'\tdisabled services = {{\n\t\t"a.tokwatt" => disabled\n\t\t"tokwatt" => {word}\n\t}}\n'
    assert is_disabled(text, "tokwatt") is off


def test_a_label_without_an_override_is_neither():
    assert is_disabled('disabled services = {\n\t"other" => disabled\n}\n', "tokwatt") is None
