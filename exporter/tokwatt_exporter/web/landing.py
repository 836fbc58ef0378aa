"""The page at `/`: what this is and where to go. No scripts, no styles: the content security policy allows none."""

from html import escape

from tokwatt_exporter import __version__
from tokwatt_exporter.web.api import DESCRIPTION, PREFIX

_LINKS = (
    ("{metrics}", "metrics, for Prometheus"),
    ("/-/healthy", "whether sampling goes on"),
    ("/-/ready", "whether there is a first sample"),
    (f"{PREFIX}series", "the series in the history, as JSON"),
    (DESCRIPTION, "what else the history can be asked, in OpenAPI"),
)


def landing_page(telemetry_path: str) -> bytes:
    """The page, in UTF-8."""
    links = "\n".join(
        f'<dt><a href="{escape(path)}">{escape(path)}</a></dt><dd>{escape(what)}</dd>'
        for path, what in ((path.format(metrics=telemetry_path), what) for path, what in _LINKS)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width">
<title>tokwatt</title>
</head>
<body>
<h1>tokwatt</h1>
<p>What this machine and its LLM engines do, and what a token costs. Version {escape(__version__)}.</p>
<dl>
{links}
</dl>
</body>
</html>
""".encode()
