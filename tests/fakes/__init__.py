"""Stand-ins for what cannot run on a test machine, and for what must misbehave."""
