"""The `tokwatt-bench` command. `--version` answers before anything is imported that takes time."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        from tokwatt_exporter import __version__

        sys.stdout.write(f"tokwatt-bench {__version__}\n")
        return
    from tokwatt_bench.cli import app
    from tokwatt_exporter.shell import run_app

    sys.exit(run_app(app, "tokwatt-bench"))


if __name__ == "__main__":
    main()
