"""Recipes of what scrapes, stores and alerts: Prometheus, its agent, VictoriaMetrics, Alertmanager."""

from __future__ import annotations

from tokwatt_exporter import fleet, fleet_serve
from tokwatt_exporter.config import DEFAULT_PORT

#: An alert looks for this name.
JOB = "tokwatt"
INTERVAL = "15s"
HERE = f"127.0.0.1:{DEFAULT_PORT}"
ALERTMANAGER = "127.0.0.1:9093"
#: Below the folder of the configuration.
TARGETS = "targets/tokwatt.json"
TOKEN = """\
    # For exporters that ask for a token (--web.bearer-token-file):
    # authorization:
    #   credentials_file: /etc/prometheus/tokwatt.token
"""
STATIC = f"""\
    static_configs:
      - targets: ["{HERE}"]
"""
FILE_SD = f"""\
    file_sd_configs:
      - files: ["{TARGETS}"]
"""


def scraping(what: str, discovery: str, *, rules: str = "") -> str:
    """A whole configuration: `what` it is for, how it finds exporters, and the folder of the rules where it has any."""
    loads = (
        f"""
rule_files:
  - {rules}/tokwatt.rules.yml

# With deploy/alertmanager.yml:
# alerting:
#   alertmanagers:
#     - static_configs:
#         - targets: ["{ALERTMANAGER}"]
"""
        if rules
        else ""
    )
    evaluates = f"  evaluation_interval: {INTERVAL}\n" if rules else ""
    job = f"  # An alert looks for this name.\n  - job_name: {JOB}\n{discovery}{TOKEN}"
    return f"{what}global:\n  scrape_interval: {INTERVAL}\n{evaluates}{loads}\nscrape_configs:\n{job}"


def prometheus() -> str:
    """Beside one exporter."""
    what = (
        "# A whole configuration for a Prometheus beside tokwatt: `prometheus --config.file=deploy/prometheus.yml`.\n"
        "# In one that exists, add the scrape job and the rule file.\n"
    )
    return scraping(what, STATIC, rules="../grafana/rules")


def file_sd() -> str:
    """For a list of machines in a file."""
    what = (
        "# Many machines, listed in a file; Prometheus follows it when it changes.\n"
        f"#   tokwatt fleet sd --file hosts.txt --output deploy/prometheus/{TARGETS}\n"
        "#   prometheus --config.file=deploy/prometheus/file-sd.yml\n"
    )
    return scraping(what, FILE_SD, rules="../../grafana/rules")


def http_sd() -> str:
    """For a list of machines that is asked for."""
    listen = f"127.0.0.1:{fleet.SD_PORT}"
    what = (
        "# Many machines, listed by a server, which may be another machine than that of Prometheus.\n"
        f"#   tokwatt fleet sd --file hosts.txt --listen {listen}\n"
        "#   prometheus --config.file=deploy/prometheus/http-sd.yml\n"
    )
    discovery = f"""\
    http_sd_configs:
      - url: http://{listen}{fleet_serve.PATH}
        # Beyond loopback the list asks for a token, too:
        # authorization:
        #   credentials_file: /etc/prometheus/tokwatt.token
"""
    return scraping(what, discovery, rules="../../grafana/rules")


def agent() -> str:
    """On each machine, for those that nobody can reach."""
    what = """\
# On each machine: scrape it over loopback, and push. For laptops, and behind routers; what cannot be pushed waits on
# disk for about two hours. `prometheus --agent --config.file=deploy/prometheus/agent.yml`; Prometheus 2 says
# --enable-feature=agent instead. The receiver is any that takes remote write: Prometheus with
# --web.enable-remote-write-receiver, VictoriaMetrics, Mimir, Grafana Cloud.
"""
    named = """\
        # Its own name on each machine: over there, all of them would be 127.0.0.1.
        labels: {instance: this-machine}
"""
    pushed = """
remote_write:
  - url: http://127.0.0.1:9090/api/v1/write
    # basic_auth:
    #   username: fleet
    #   password_file: /etc/prometheus/remote.password
"""
    return scraping(what, STATIC + named) + pushed


def victoria_metrics() -> str:
    """For VictoriaMetrics, which scrapes by itself, and for vmagent."""
    what = f"""\
# VictoriaMetrics scrapes by itself: `victoria-metrics -promscrape.config=deploy/victoriametrics.yml`. vmagent takes the
# same file, and -remoteWrite.url. Both follow a list of machines as Prometheus does:
#   tokwatt fleet sd --file hosts.txt --output deploy/{TARGETS}
"""
    return scraping(what, STATIC + FILE_SD)


def alertmanager() -> str:
    """Where alerts go."""
    return """\
# Where alerts go: `alertmanager --config.file=deploy/alertmanager.yml`; Prometheus is told by `alerting` in its file.
# Change the two addresses; a receiver that is not wanted goes away with the routes that name it.
global:
  smtp_smarthost: mail.example.org:587
  smtp_from: tokwatt@example.org
  smtp_auth_username: tokwatt
  smtp_auth_password_file: /etc/alertmanager/smtp.password

route:
  receiver: webhook
  group_by: [alertname, job]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 12h
  routes:
    # Nobody has to get up for a laptop that stays at home.
    - receiver: nobody
      matchers: [severity="info"]
    - receiver: email
      matchers: [severity="critical"]
      continue: true
    - receiver: webhook
      matchers: [severity=~"critical|warning"]

inhibit_rules:
  # A machine that is away says nothing true about its engines.
  - source_matchers: [alertname="TokwattExporterDown"]
    target_matchers: [alertname!="TokwattExporterDown"]
    equal: [job, instance]

receivers:
  - name: nobody
  - name: webhook
    webhook_configs:
      - url: http://127.0.0.1:8090/alerts
        send_resolved: true
  - name: email
    email_configs:
      - to: you@example.org
        send_resolved: true
"""
