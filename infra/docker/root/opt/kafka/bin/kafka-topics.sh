#!/usr/bin/env bash
# Kafka's topic tool in the words of health checks and of containers that make topics: it says them to strata topic.
# What it prints is Strata's, not Kafka's.
set -euo pipefail

fail() {
    printf 'kafka-topics.sh: %s\n' "$*" >&2
    exit 1
}

action="" topic="" excluding=""
words=()
while (($#)); do
    option="$1"
    shift
    value=""
    case "$option" in
    --*=*)
        value="${option#*=}"
        option="${option%%=*}"
        ;;
    --bootstrap-server | --topic | --partitions | --replication-factor | --config | --delete-config | --command-config)
        (($#)) || fail "$option needs a value"
        value="$1"
        shift
        ;;
    esac
    case "$option" in
    --list | --create | --describe | --delete | --alter)
        [[ -z "$action" ]] || fail "one of --list, --create, --describe, --delete, --alter is expected"
        action="${option#--}"
        ;;
    --topic) topic="$value" ;;
    --exclude-internal) excluding=yes ;;
    --if-not-exists | --if-exists) words+=("$option") ;;
    --bootstrap-server | --partitions | --replication-factor | --config | --delete-config | --command-config)
        words+=("$option" "$value")
        ;;
    *) fail "$option is not known here: see strata topic --help" ;;
    esac
done
[[ -n "$action" ]] || fail "one of --list, --create, --describe, --delete, --alter is expected"
[[ -n "$topic" || "$action" == list ]] || fail "--$action needs --topic"
[[ "$action" != list || -n "$excluding" ]] || words+=(--internal)
exec strata topic "$action" ${words[@]+"${words[@]}"} ${topic:+"$topic"}
