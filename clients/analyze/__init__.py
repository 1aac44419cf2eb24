"""Many recordings judged at once, into one file: `emotion-client analyze`.

In reading order: `found` (which recordings), `judge` (one of them), `run` (all of them, over all cores),
`store` (what is finished, so that an interrupted run goes on), `outputs` and what it opens (one file of
all of it), `timeline` and its two painters (a picture of one recording).
"""
