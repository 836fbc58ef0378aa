"""What both commands share at the shell: one-line errors, exit codes, JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import typer

from tokwatt_exporter.errors import TokwattError, UsageError

#: Exit codes of every command; a contract.
DONE, FAILED, WRONG_USAGE = 0, 1, 2


def run_app(app: typer.Typer, name: str) -> int:
    """Run a typer application and return the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    Errors are one line on stderr; a traceback means a bug.
    """
    try:
        return int(app(prog_name=name, standalone_mode=False) or DONE)
    except UsageError as error:
        return _fail(name, error, WRONG_USAGE)
    except TokwattError as error:
        return _fail(name, error, FAILED)
    except typer.TyperException as error:
        text = error.format_message()
        return _fail(name, text[:1].lower() + text[1:].rstrip("."), error.exit_code) if text else WRONG_USAGE
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader went away (`| head`); what Python flushes at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _fail(name: str, error: object, code: int) -> int:
    line = " ".join(str(error).split())
    sys.stderr.write(f"{name}: {line}\n")
    return code


def one_format(json: bool, csv: bool) -> None:
    """`UsageError` where both are wanted."""
    if json and csv:
        raise UsageError("--json and --csv exclude each other")


def print_json(data: Any) -> None:
    """One JSON document on stdout; NaN is refused, since it is not JSON."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2) + "\n")
