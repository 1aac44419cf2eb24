"""The asyncio shell around `emotion`: one port, many sessions, a few inference threads."""
