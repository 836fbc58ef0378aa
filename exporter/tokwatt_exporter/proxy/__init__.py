"""`tokwatt proxy`: passes bytes between clients and an engine untouched, and counts what it sees pass."""
