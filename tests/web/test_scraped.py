"""A real Prometheus scrapes the server."""

import subprocess

import bcrypt
import pytest

from support.components import component
from support.net import free_port, get, wait_for
from web.serving import running, write

pytestmark = pytest.mark.e2e

SCRAPE = """\
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: tokwatt
  scheme: https
  basic_auth: {{username: prometheus, password: wonderland}}
  tls_config:
    ca_file: {pki}/ca.pem
    cert_file: {pki}/prometheus.pem
    key_file: {pki}/prometheus.key
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""


def test_prometheus_scrapes_with_a_certificate_and_a_password(tmp_path, pki):
    keys = {"client_ca_file": pki.folder / "ca.pem", "client_auth_type": "RequireAndVerifyClientCert"}
    users = f"basic_auth_users: {{prometheus: {bcrypt.hashpw(b'wonderland', bcrypt.gensalt(4)).decode()}}}\n"
    prometheus = f"127.0.0.1:{free_port()}"
    with running(web_config_file=write(tmp_path / "web.yml", pki.tls_config(**keys) + users)) as web:
        scrape = write(tmp_path / "prometheus.yml", SCRAPE.format(pki=pki.folder, port=web.port))
        command = [component("prometheus"), f"--config.file={scrape}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                   f"--web.listen-address={prometheus}"]  # fmt: skip

        def value(query: str) -> list[str]:
            answer = get(f"http://{prometheus}/api/v1/query", params={"query": query})
            return [result["value"][1] for result in answer.json()["data"]["result"]]

        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for(lambda: value("sum_over_time(up[1m]) > 3"), 60, "four scrapes that worked")
                assert value("min_over_time(up[1m])") == ["1"]
                assert value("scrape_samples_scraped") == [str(len(web.daemon.latest))]
                assert [web.rejected(reason) for reason in ("limit", "timeout", "host", "auth")] == [0, 0, 0, 0]
            finally:
                process.terminate()
