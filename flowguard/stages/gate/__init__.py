"""The gate: what a new version must show, on records that it does not know, before it may score."""
