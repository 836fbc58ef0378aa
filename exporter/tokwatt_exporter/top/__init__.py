"""`tokwatt top`: the machine and its engines, live in a terminal."""
