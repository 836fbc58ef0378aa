"""What can go wrong, as a tree.

TokwattError
├── UsageError      what the user gave is wrong; the message names what to fix; commands exit 2
├── NotAvailable    this machine has no such source; absence, not failure
├── ServiceError    launchd or systemd refused, or is not there; the message says what mends it
├── EngineError     an engine's answer cannot be used (refused, too large, not what its API promises)
└── StoreError      the history cannot be read or written now
    ├── StoreLocked another process holds the file; trying later helps
    └── StoreSlow   the question takes too long; asking for less helps
"""


class TokwattError(Exception):
    """Base of every error raised on purpose; its text is one line fit for a user."""


class UsageError(TokwattError):
    """A flag, variable, file or argument is wrong; commands print the text and exit 2."""


class NotAvailable(TokwattError):
    """The source does not exist on this machine; the text is constant, it becomes a label value."""


class ServiceError(TokwattError):
    """The manager of services refused, or there is none; the text says what mends it."""


class EngineError(TokwattError):
    """An engine could not be asked, or answered something that must not be trusted."""


class StoreError(TokwattError):
    """The history could not be read or written; nothing was lost, it waits in the journal."""


class StoreLocked(StoreError):
    """Another process holds the history file."""


class StoreSlow(StoreError):
    """A query took longer than it may."""
