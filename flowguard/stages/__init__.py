"""The use cases, one module each: plain functions that commands, flows and pages are thin doors to."""
