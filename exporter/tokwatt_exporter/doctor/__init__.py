"""`tokwatt doctor`: what is looked at, what was found, what it means, and the command that mends it."""
