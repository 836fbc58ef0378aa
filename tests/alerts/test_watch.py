"""The watch: judged on the real history, said once, sent until it is taken, and remembered over restarts."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from fakes.engines import FakeEngine, response
from tokwatt_exporter import catalogue as c
from tokwatt_exporter import cli, shell
from tokwatt_exporter.alerts import rules, send, state
from tokwatt_exporter.alerts.history import History
from tokwatt_exporter.alerts.judge import Alert, Change
from tokwatt_exporter.alerts.promql import read
from tokwatt_exporter.alerts.watch import Watch, now
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal

NOW = 1_790_000_000_000
MINUTE = 60_000
RULES = rules.load().alerts
OK = response(200, b"{}", "application/json")
BROKEN = response(500, b"", "text/plain")


class Machine:
    """A machine whose thermal state is written into the history, and the clock that goes with it."""

    def __init__(self, folder):
        self.folder, self.time_ms, self.lines = folder, NOW, []

    def goes_on(self, minutes, state, *more, step=15_000):
        journal = Journal(self.folder)
        end = self.time_ms + round(minutes * MINUTE)
        while self.time_ms < end:
            self.time_ms += step
            readings = [c.BUILD_INFO(version="1"), *c.THERMAL_STATE(state), *more]
            journal.append_snapshot(Snapshot.of(self.time_ms, readings), "mac")
        journal.close()

    def watch(self, *receivers, every=60.0):
        return Watch(self.folder, RULES, receivers, every, self.lines.append, lambda: self.time_ms / 1000)

    def looks(self, watch, minutes, state, *more):
        """So many minutes with a look in each; what had changed."""
        changes = []
        for _ in range(minutes):
            self.goes_on(1, state, *more)
            changes += watch.look()
            watch.send()
        return [(change.status, change.alert.name) for change in changes]


@pytest.fixture
def machine(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return Machine(folder)


HOT = [("firing", "TokwattThermalPressure")]
COOL = [("resolved", "TokwattThermalPressure")]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def posted(server):
    return [json.loads(request.body) for request in server.requests]


def test_an_alert_of_the_history_fires_after_its_time_once_and_ends_once(machine):
    with FakeEngine({"/hook": OK}) as server:
        watch = machine.watch(send.Webhook(f"{server.url}/hook"))
        assert machine.looks(watch, 2, "nominal") == []
        assert machine.looks(watch, 2, "serious") == []
        assert machine.looks(watch, 3, "serious") == HOT
        # Five minutes are what a series may be old; a state that is over is 0 at once.
        assert machine.looks(watch, 1, "nominal") == COOL
        assert machine.looks(watch, 2, "nominal") == []
        told = posted(server)
    assert [one["status"] for one in told] == ["firing", "resolved"]
    first = told[0]["alerts"][0]
    assert first["labels"] == {
        "alertname": "TokwattThermalPressure", "job": "tokwatt", "instance": "mac", "severity": "warning",
        "state": "serious",
    }  # fmt: skip
    assert first["annotations"]["summary"] == "mac is under serious thermal pressure"
    assert told[0]["alerts"][0]["fingerprint"] == told[1]["alerts"][0]["fingerprint"]
    assert [line.split(" ", 1)[1] for line in machine.lines] == [
        f"{word} TokwattThermalPressure: mac is under serious thermal pressure" for word in ("firing", "resolved")
    ]


def test_after_a_restart_nothing_is_said_twice_and_the_end_is_not_missed(machine):
    assert machine.looks(machine.watch(), 5, "serious") == HOT
    assert machine.looks(machine.watch(), 1, "serious") == []
    assert machine.looks(machine.watch(), 1, "nominal") == COOL


def test_what_has_begun_before_anybody_watched_is_said_at_the_first_look(machine):
    machine.goes_on(10, "serious")
    [change] = machine.watch().look()
    assert (change.status, change.alert.name) == HOT[0]
    assert change.alert.fired_ms - change.alert.since_ms == 2 * MINUTE


def test_what_was_over_before_anybody_watched_is_no_news(machine):
    machine.goes_on(5, "serious")
    machine.goes_on(5, "nominal")
    assert machine.watch().look() == []


def test_time_in_which_nobody_looked_is_no_time_of_pressure(machine):
    watch = machine.watch()
    assert machine.looks(watch, 1, "serious") == []
    machine.time_ms += 60 * MINUTE
    assert machine.looks(machine.watch(), 1, "serious") == []
    assert machine.looks(machine.watch(), 2, "serious") == HOT


def test_who_does_not_take_it_is_asked_again_later_and_holds_up_nobody(machine, capsys):
    with FakeEngine({"/hook": BROKEN, "/api/v2/alerts": OK}) as server:
        watch = machine.watch(send.Webhook(f"{server.url}/hook"), send.Alertmanager(server.url))
        machine.looks(watch, 5, "serious")
        tried = server.asked().count("/hook")
        assert 1 < tried < 6, "it backs off"
        assert server.asked().count("/api/v2/alerts") >= 1
        server.routes["/hook"] = OK
        machine.time_ms += 15 * MINUTE
        watch.send()
        assert len(state.read(machine.folder).unsent["webhook"]) == 0
        assert posted(server)[-2:][0]["status"] == "firing" or posted(server)[-1]["status"] == "firing"
    assert capsys.readouterr().err.count("webhook: 127.0.0.1 answers with HTTP 500; again in 5 s") == 1


def test_what_could_not_be_sent_is_sent_after_a_restart(machine):
    with FakeEngine({"/hook": BROKEN}) as server:
        machine.looks(machine.watch(send.Webhook(f"{server.url}/hook")), 4, "serious")
        server.routes["/hook"] = OK
        machine.watch(send.Webhook(f"{server.url}/hook")).send()
        assert [one["status"] for one in posted(server)][-1] == "firing"
        count = len(server.requests)
        machine.watch(send.Webhook(f"{server.url}/hook")).send()
        assert len(server.requests) == count


def test_what_begins_and_ends_unsent_is_no_news(machine):
    with FakeEngine({"/hook": BROKEN}) as server:
        watch = machine.watch(send.Webhook(f"{server.url}/hook"))
        machine.looks(watch, 4, "serious")
        machine.looks(watch, 1, "nominal")
        assert state.read(machine.folder).unsent == {"webhook": []}


def test_an_alertmanager_hears_every_minute_of_what_fires_and_when_it_ends(machine):
    with FakeEngine({"/api/v2/alerts": OK}) as server:
        watch = machine.watch(send.Alertmanager(server.url))
        machine.looks(watch, 6, "serious")
        machine.looks(watch, 1, "nominal")
        told = [one for many in posted(server) for one in many]
    assert {one["labels"]["alertname"] for one in told} == {"TokwattThermalPressure"}
    assert len({one["startsAt"] for one in told}) == 1
    ends = [one["endsAt"] for one in told]
    # Each time it is to go on for five minutes, until it has ended.
    assert ends[:-1] == sorted(ends[:-1])
    assert 4 <= len(ends) <= 7
    assert ends[-1] < ends[-2]


def test_the_state_is_its_owners_alone_and_a_broken_one_begins_anew(machine):
    machine.looks(machine.watch(), 4, "serious")
    path = machine.folder / state.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    whole = path.read_text()
    for broken in (
        "",
        "[]",
        "{}",
        whole[:-20],
        whole.replace('"alert"', '"allert"'),
        whole.replace('"since_ms"', '"x"'),
    ):
        path.write_text(broken)
        assert state.read(machine.folder) == state.State()


def test_two_watches_of_one_history_would_send_all_twice(machine):
    with (
        state.alone(machine.folder),
        pytest.raises(UsageError, match="another tokwatt watch"),
        state.alone(machine.folder),
    ):
        pass
    with state.alone(machine.folder):
        pass


def test_a_disk_that_is_full_is_said_once_and_nothing_stops(machine, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "write", full)
    assert machine.looks(machine.watch(), 4, "serious") == HOT
    assert capsys.readouterr().err == "tokwatt: watch.json cannot be written, kept in memory: No space left on device\n"


def test_long_windows_are_read_by_the_hour_and_end_with_all_samples(machine):
    [rule] = [rule for rule in RULES if rule.name == "TokwattBenchmarkRegression"]
    speed = c.BENCHMARK_GENERATION_SPEED
    labels = {"engine": "e", "model": "m", "scenario": "s"}
    machine.goes_on(300, "nominal", speed(50, **labels), step=5 * MINUTE)
    machine.goes_on(90, "nominal", speed(44, **labels), step=5 * MINUTE)
    watch = machine.watch()
    assert [(one.alert.name, dict(one.alert.annotations)["description"]) for one in watch.look()] == [
        ("TokwattBenchmarkRegression", "Its latest run decodes at 88% of the best of the last 30 days.")
    ]
    history = History([rule], machine.time_ms, machine.time_ms).load(machine.folder, take_in=False)
    [series] = history.series(read(f"{speed.name}[30d]"))
    assert list(series.times) == sorted(set(series.times))
    assert series.times[-1] == machine.time_ms
    assert 24 + 4 <= len(series.times) <= 25 + 6


def test_what_fires_now_is_what_a_watch_has_seen_or_else_judged_and_nothing_is_written(machine):
    machine.goes_on(10, "serious")
    ingest(machine.folder)
    before = contents(machine.folder)
    clock = lambda: machine.time_ms / 1000  # noqa: E731
    [alert] = now(machine.folder, RULES, clock).alerts
    assert (alert.name, alert.fired_ms is not None) == ("TokwattThermalPressure", True)
    assert contents(machine.folder) == before
    machine.watch().look()
    seen = state.read(machine.folder)
    assert now(machine.folder, RULES, clock) == seen
    machine.time_ms += 60 * MINUTE
    assert [alert.name for alert in now(machine.folder, RULES, clock).alerts] == ["TokwattExporterDown"]


def alert(summary="it is hot", **labels):
    return Alert("A", tuple(sorted(labels.items())), (("summary", summary),), 1.0, NOW, NOW)


@pytest.mark.parametrize("system", ["darwin", "linux"])
def test_a_notification_holds_the_text_and_runs_nothing_of_it(tmp_path, monkeypatch, system):
    name = "osascript" if system == "darwin" else "notify-send"
    (tmp_path / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/said\n')
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    hostile = '--help"; do shell script "x" <b>'
    assert send.Desktop(system).send([Change("firing", alert(hostile, severity="critical"))]) == 1
    said = (tmp_path / "said").read_text().splitlines()
    if system == "darwin":
        assert said[-2:] == [hostile, "tokwatt: firing"]
        assert not any("shell" in line for line in said[:-2])
    else:
        assert said[1:] == [
            "--urgency=critical",
            "--",
            "tokwatt: firing",
            "--help&quot;; do shell script &quot;x&quot; &lt;b&gt;",
        ]


def test_a_notification_that_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "notify-send").write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    (tmp_path / "notify-send").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(send.NotSent, match="no bus"):
        send.Desktop("linux").send([Change("firing", alert())])
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="there is no osascript"):
        send.Desktop("darwin")


def test_who_cannot_be_reached_is_named_without_the_secret_of_its_url():
    with pytest.raises(send.NotSent) as caught:
        send.Webhook("http://127.0.0.1:1/hook/very-secret").send([Change("firing", alert())])
    assert str(caught.value) == "127.0.0.1 does not answer: ConnectError"


def test_only_so_much_is_kept_for_who_never_takes_it():
    kept = state.State()
    kept.add(["webhook"], [Change("firing", alert(n=str(n))) for n in range(state.MOST_UNSENT + 5)])
    assert len(kept.unsent["webhook"]) == state.MOST_UNSENT
    assert dict(kept.unsent["webhook"][0].alert.labels)["n"] == "5"


@pytest.mark.parametrize(
    "text",
    [
        "[", "groups: 5", "- a", "groups: [{rules: [{alert: A}]}]",
        "groups: [{rules: [{alert: A, expr: a, for: soon}]}]",
    ],
)  # fmt: skip
def test_a_file_that_holds_no_rules_is_one_line(tmp_path, text):
    path = tmp_path / "rules.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match="is no file of alert rules"):
        rules.load(path)


def test_a_rule_that_cannot_be_judged_is_said_and_the_others_are_watched(tmp_path):
    path = tmp_path / "rules.yml"
    odd = {"alert": "Odd", "expr": "absent(a)"}
    strange = {"alert": "Strange", "expr": "a", "annotations": {"summary": "{{ printf `%s` $value }}"}}
    mine = {"alert": "Mine", "expr": "tokwatt_thermal_state == 1"}
    written = [odd, mine, strange, {"record": "r", "expr": "b"}]
    path.write_text(json.dumps({"groups": [{"name": "g", "rules": written}]}))
    loaded = rules.load(path)
    assert [rule.name for rule in loaded.alerts] == ["Mine"]
    assert [line.partition(":")[0] for line in loaded.left_out] == ["Odd is not watched", "Strange is not watched"]


def run(capsys, monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["tokwatt", "watch", *args])
    status = shell.run_app(cli.app, "tokwatt")
    return status, capsys.readouterr()


def test_the_command_says_what_is_missing_and_what_fires(tmp_path, capsys, monkeypatch):
    status, said = run(capsys, monkeypatch, "--once", "--json", f"--data-dir={tmp_path}")
    assert status == 0
    assert json.loads(said.out)["alerts"] == []
    assert said.err == "tokwatt: TokwattExporterDown is judged without up, which no history keeps\n"
    for wrong, why in ((["--json"], "--json goes with --once"), (["--webhook=ftp://x"], "--webhook"),
                       (["--every=soon"], "--every"), ([f"--rules={Path(tmp_path, 'none')}"], "--rules")):  # fmt: skip
        status, said = run(capsys, monkeypatch, f"--data-dir={tmp_path}", *wrong)
        assert status == 2
        assert why in said.err.splitlines()[-1]
