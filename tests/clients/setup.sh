# shellcheck shell=bash
# Sourced after tests/lib/setup.sh: what the client programs need beyond it, each installed once into the cache, by
# name and pinned (kafkajs by package-lock.json, Maven by pom.xml, cargo by Cargo.lock). What cannot be had is left
# out: the runner then prints a SKIPPED line for the client.

clients_root="$strata_root/tests/clients"

fill_kafkajs() {
    local directory="$1"
    [[ -e "$directory/complete" ]] && return
    say "installing kafkajs into $directory"
    rm -rf "$directory"
    mkdir -p "$directory"
    cp "$clients_root"/kafkajs/package{,-lock}.json "$directory"
    npm ci --silent --no-audit --no-fund --prefix "$directory" >&2 || return 1
    touch "$directory/complete"
}

# kafkajs: exports NODE_PATH.
need_kafkajs() {
    local directory
    directory="$strata_cache/clients/kafkajs-$(key_of kafkajs "$clients_root"/kafkajs/package{,-lock}.json)"
    command -v node >/dev/null || return 0
    [[ -e "$directory/complete" ]] || command -v npm >/dev/null || return 0
    if locked kafkajs fill_kafkajs "$directory"; then
        export NODE_PATH="$directory/node_modules"
    fi
}

fill_java_program() {
    local directory="$1"
    [[ -e "$directory/complete" ]] && return
    say "building the Java program into $directory"
    rm -rf "$directory"
    mkdir -p "$directory"
    mvn -q -B -f "$clients_root/java/pom.xml" "-Dbuild=$directory" compile dependency:copy-dependencies \
        "-DoutputDirectory=$directory/libs" >&2 || return 1
    touch "$directory/complete"
}

# The program of the Java client: exports STRATA_CLIENTS_JAVA.
need_java_program() {
    local directory tool
    directory="$strata_cache/clients/java-$(key_of java "$clients_root/java/pom.xml" "$clients_root"/java/src/main/java/strata/clients/*.java)"
    for tool in java javac mvn; do
        command -v "$tool" >/dev/null || return 0
    done
    if locked java-program fill_java_program "$directory"; then
        export STRATA_CLIENTS_JAVA="$directory"
    fi
}

# The program of rdkafka with the librdkafka that its crate brings: exports STRATA_CLIENTS_RDKAFKA.
need_rdkafka_program() {
    local target="$strata_cache/clients/rdkafka"
    command -v cargo >/dev/null && command -v cc >/dev/null && command -v make >/dev/null || return 0
    if CARGO_TARGET_DIR="$target" cargo build --quiet --release --locked --manifest-path "$clients_root/rdkafka/Cargo.toml" >&2; then
        export STRATA_CLIENTS_RDKAFKA="$target/release/strata-clients-rdkafka"
    fi
}

need_client_programs() {
    need_kafkajs
    need_java_program
    need_rdkafka_program
}
