"""The `tokwatt` command. `--version` answers before anything is imported that takes time."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        from tokwatt_exporter import __version__

        sys.stdout.write(f"tokwatt {__version__}\n")
        return
    from tokwatt_exporter.cli import app
    from tokwatt_exporter.shell import run_app

    sys.exit(run_app(app, "tokwatt"))


if __name__ == "__main__":
    main()
