"""What engines stream, read as it comes: when tokens came, how many there were by whose count, and how it ended.

Nothing here asks or waits: pieces of a body and clock readings go in, an `Answer` comes out. The benchmark reads what
it recorded, and whoever passes a stream on can read along.
"""
