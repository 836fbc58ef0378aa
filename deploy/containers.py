"""Recipes of a container image for Linux, and of everything at once to look at."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from tokwatt_exporter import config
from tokwatt_exporter.demo import NAMES

ROOT = Path(__file__).parents[1]
DATA = "/var/lib/tokwatt"
#: What the package is made of besides its recipe: pyproject.toml says so.
SOURCES = ("exporter", "bench", "grafana", "docs/man")
#: Tried with these; newer ones should do.
PROMETHEUS, GRAFANA = "prom/prometheus:v3.5.3", "grafana/grafana:13.2.3"
_ALIVE = f"http://127.0.0.1:{config.DEFAULT_PORT}/-/healthy"


def python() -> str:
    """The newest Python that the tests run on, `3.14`."""
    makefile = ROOT / "Makefile"
    [newest] = re.findall(r"^MINORS := (\d+)", makefile.read_text(), re.M)
    return f"3.{newest}"


def containerfile() -> str:
    """The image."""
    image = f"python:{python()}-slim"
    sources = "\n".join(f"COPY {name} {name}" for name in SOURCES)
    return f"""\
# An image for Linux: `docker build -f deploy/Containerfile -t tokwatt .` (or podman), from the root of the checkout.
FROM {image} AS build
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/tokwatt \\
    && /opt/tokwatt/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
{sources}
RUN /opt/tokwatt/bin/pip install --no-cache-dir --no-deps .

FROM {image}
RUN useradd --system --uid {config.DEFAULT_PORT} --create-home --home-dir {DATA} tokwatt
COPY --from=build /opt/tokwatt /opt/tokwatt
ENV PATH=/opt/tokwatt/bin:$PATH {config.variable("data-dir")}={DATA}
# The only place that is written to: the rest of the file system may be read-only.
VOLUME {DATA}
# By its number, which clusters want to see.
USER {config.DEFAULT_PORT}
EXPOSE {config.DEFAULT_PORT}
# With another --web.listen-address, give `docker run` another --health-cmd.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \\
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('{_ALIVE}', timeout=4)"]
ENTRYPOINT ["tokwatt"]
CMD ["run"]
"""


def context() -> str:
    """What the build gets to see."""
    taken = ("requirements.lock", "pyproject.toml", "README.md", "LICENSE", *SOURCES)
    return "".join(["*\n", *(f"!{name}\n" for name in taken), "**/__pycache__\n"])


def boards() -> str:
    """The folder in which Grafana is told to look for them."""
    provisioned = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/tokwatt.yml").read_text())
    return str(provisioned["providers"][0]["options"]["path"])


def compose() -> str:
    """A demo machine, Prometheus and Grafana."""
    return f"""\
# A demo machine, Prometheus and Grafana, to look at: `docker compose -f deploy/compose.yaml up`, then open
# http://127.0.0.1:3000/d/tokwatt-fleet. Nothing in it is measured. All three share one network, so that the files for a
# single machine serve as they are: every address in them is of loopback.
name: tokwatt-demo

services:
  prometheus:
    image: {PROMETHEUS}
    command:
      - --config.file=/etc/tokwatt/deploy/prometheus.yml
      - --storage.tsdb.path=/prometheus
    ports:
      - "127.0.0.1:9090:9090"
      - "127.0.0.1:3000:3000"
    volumes:
      - ./prometheus.yml:/etc/tokwatt/deploy/prometheus.yml:ro
      - ../grafana/rules:/etc/tokwatt/grafana/rules:ro
      - prometheus:/prometheus

  tokwatt:
    build:
      context: ..
      dockerfile: deploy/Containerfile
    command: [run, --demo, {NAMES[0]}]
    network_mode: service:prometheus
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    tmpfs: [/tmp]
    volumes:
      - tokwatt:{DATA}

  grafana:
    image: {GRAFANA}
    network_mode: service:prometheus
    depends_on: [prometheus]
    environment:
      GF_AUTH_ANONYMOUS_ENABLED: "true"
      GF_ANALYTICS_REPORTING_ENABLED: "false"
      GF_ANALYTICS_CHECK_FOR_UPDATES: "false"
    volumes:
      - ../grafana/provisioning:/etc/grafana/provisioning:ro
      - ../grafana/dashboards:{boards()}:ro

volumes:
  prometheus:
  tokwatt:
"""


def formula() -> str:
    """For Homebrew."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = ", ".join(f'libexec/"bin/{name}"' for name in project["scripts"])
    completions = "\n".join(
        f'    generate_completions_from_executable bin/"{name}", shell_parameter_format: :typer'
        for name in project["scripts"]
    )
    version = f"python@{python()}"
    return f"""\
# For a tap of your own: docs/deploy.md has the commands, which fill in __CHECKOUT__ and __BRANCH__.
# The packages are those of requirements.lock, each by its checksum. Resources would repeat the lock without its wheels,
# and build DuckDB anew on every Mac.
class Tokwatt < Formula
  include Language::Python::Virtualenv

  desc "{project["description"].partition(":")[0]}"
  license "{project["license"]}"
  head "file://__CHECKOUT__", using: :git, branch: "__BRANCH__"

  depends_on "{version}"

  def install
    python = "{version.replace("@", "")}"
    virtualenv_create(libexec, python)
    pip = [python, "-m", "pip", "--python=#{{libexec}}/bin/python", "install", "--no-cache-dir"]
    system(*pip, "--require-hashes", "-r", "requirements.lock")
    system(*pip, "--no-deps", ".")
    bin.install_symlink {commands}
    man1.install_symlink Dir[libexec/"share/man/man1/*.1"]
{completions}
  end

  def caveats
    "`tokwatt service install` runs it from login on; `tokwatt doctor` says what is missing."
  end

  test do
    assert_match(/\\Atokwatt \\d/, shell_output("#{{bin}}/tokwatt --version"))
  end
end
"""
