"""What the tests share: real components, a tiny model, recordings, ports and waiting.

Tests say `from support.net import free_port`.
"""
