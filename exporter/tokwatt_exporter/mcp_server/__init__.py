"""`tokwatt mcp`: the snapshot, the history and the doctor for agents, over the Model Context Protocol."""
