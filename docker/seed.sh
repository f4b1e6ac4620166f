#!/bin/sh
# What a new set-up begins with: a user of the desk, the demo's version and batches, and the deployments of every pipeline.
# Everything in it may run again: what is there stays as it is.
set -eu
if ! flowguard users --json | grep -qF "\"name\": \"$FLOWGUARD_ADMIN\""; then
  flowguard users add "$FLOWGUARD_ADMIN" --role admin --password-stdin < "$FLOWGUARD_ADMIN_PASSWORD_FILE"
fi
if [ "${FLOWGUARD_SEED_DEMO:-yes}" = yes ]; then
  flowguard demo
fi
flowguard deploy
