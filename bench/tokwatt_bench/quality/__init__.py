"""Whether answers are any good: a gate that every answer passes, and suites that are scored without a judge."""
