"""Engines: one file each says how to recognise it, what it reports, how to stream from it and how to unload a model."""
