#!/usr/bin/env bash
# For health checks: succeeds where a broker answers. It does not print the versions of its APIs.
set -euo pipefail
[[ "${1-}" == --bootstrap-server && $# == 2 ]] || { echo "usage: $0 --bootstrap-server HOST:PORT" >&2 && exit 1; }
strata topic list --bootstrap-server "$2" >/dev/null
echo "$2 answers (Strata's image does not list the versions of its APIs)"
