#!/usr/bin/env bash
# Kafka's storage tool: format, info and random-uuid.
exec strata storage "$@"
