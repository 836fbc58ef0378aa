"""tokwatt-bench: drives engines and measures what their tokens cost in seconds and joules."""
