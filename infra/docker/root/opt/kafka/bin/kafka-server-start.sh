#!/usr/bin/env bash
# Starts the broker as Kafka's script does: kafka-server-start.sh server.properties [--override key=value]...
set -euo pipefail
[[ "${1-}" != -daemon ]] || { echo "-daemon: a container has one process; leave it out" >&2 && exit 1; }
if (($#)) && [[ "$1" != -* ]]; then
    set -- --config "$@"
fi
exec strata serve "$@"
