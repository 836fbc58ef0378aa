"""The history: a journal that never waits, and a DuckDB file that nobody keeps open."""
