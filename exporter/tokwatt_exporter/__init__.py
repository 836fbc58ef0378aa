"""tokwatt: samples a machine and its LLM engines, publishes, pushes and keeps what it saw."""

__version__ = "0.1.0"
