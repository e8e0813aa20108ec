# shellcheck shell=bash
# Sourced by tests/run, tests/tour, localstack/start, benchmarks/bars and .ci/run: says where things are and installs
# by name what they need. All that is installed or built lies in one cache directory, keyed by a hash of what was
# asked for, so that a second run installs nothing and needs no network.
#
# Each `need_…` function installs its part once and exports where it is. The optional parts (Apache Kafka, MinIO)
# return 1 and print a line that begins with SKIPPED when they cannot be had.

strata_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
strata_cache="${STRATA_CACHE:-$HOME/.cache/strata}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$strata_cache/target}"
export PYTHONPATH="$strata_root/tests/lib${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONDONTWRITEBYTECODE=1
export PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p "$strata_cache"

minio_version="v0.0.0-20260212201848-7aac2a2c5b7c"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# Prints a name for the content of the given files (and of one word more).
key_of() {
    local word="$1"
    shift
    { printf '%s\n' "$word" && cat -- "$@"; } | sha256sum | cut -c1-12
}

# Runs a command while holding a lock, so that two runs do not install the same thing into each other.
locked() {
    local name="$1"
    shift
    mkdir -p "$strata_cache/locks"
    (
        flock 9
        "$@"
    ) 9>"$strata_cache/locks/$name"
}

python_command() {
    local candidate
    for candidate in python3.11 python3 python3.12 python3.13; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer with its venv module is needed (Debian: apt-get install python3 python3-venv)"
}

fill_venv() {
    local directory="$1" requirements="$2" lock="$3" extra="${4:-}"
    [[ -e "$directory/complete" ]] && return
    say "installing $(basename "$requirements" .txt) into $directory"
    rm -rf "$directory"
    "$(python_command)" -m venv "$directory"
    "$directory/bin/pip" install --quiet --requirement "$requirements" --constraint "$lock"
    [[ -z "$extra" ]] || "$directory/bin/pip" install --quiet --no-deps --requirement "$extra"
    touch "$directory/complete"
}

# The Kafka clients, readers and the test runner: exports STRATA_LAB_PYTHON.
need_clients() {
    local wanted="$strata_root/tests/lib/requirements" python directory
    python="$(python_command)"
    directory="$strata_cache/venv/clients-$(key_of "$("$python" --version)" "$wanted"/clients.* "$wanted/data.txt")"
    locked clients fill_venv "$directory" "$wanted/clients.txt" "$wanted/clients.lock" "$wanted/data.txt"
    export STRATA_LAB_PYTHON="$directory/bin/python"
}

# LocalStack as a Python package: exports STRATA_LAB_LOCALSTACK_PYTHON.
need_localstack() {
    local wanted="$strata_root/tests/lib/requirements" python directory
    python="$(python_command)"
    directory="$strata_cache/venv/localstack-$(key_of "$("$python" --version)" "$wanted"/localstack.*)"
    locked localstack fill_venv "$directory" "$wanted/localstack.txt" "$wanted/localstack.lock"
    export STRATA_LAB_LOCALSTACK_PYTHON="$directory/bin/python"
}

fill_kafka_tools() {
    local directory="$1" pom="$2"
    [[ -e "$directory/complete" ]] && return
    say "installing Apache Kafka's tools into $directory"
    rm -rf "$directory"
    mkdir -p "$directory"
    mvn -q -B -f "$pom" dependency:copy-dependencies "-DoutputDirectory=$directory/libs" >&2 || return 1
    touch "$directory/complete"
}

# Apache Kafka's broker and tools from Maven: exports STRATA_LAB_KAFKA_LIBS.
need_kafka_tools() {
    local pom="$strata_root/tests/lib/kafka-tools/pom.xml" directory
    if ! command -v java >/dev/null; then
        say "SKIPPED: every test with Apache Kafka's tools, because there is no java (17 or newer)"
        return 1
    fi
    directory="$strata_cache/kafka/$(key_of kafka "$pom")"
    if [[ ! -e "$directory/complete" ]] && ! command -v mvn >/dev/null; then
        say "SKIPPED: every test with Apache Kafka's tools, because there is no mvn to install them"
        return 1
    fi
    if ! locked kafka fill_kafka_tools "$directory" "$pom"; then
        say "SKIPPED: every test with Apache Kafka's tools, because Maven could not install them"
        return 1
    fi
    export STRATA_LAB_KAFKA_LIBS="$directory/libs"
}

fill_minio() {
    local directory="$1"
    [[ -x "$directory/minio" ]] && return
    say "building MinIO into $directory (some minutes, once)"
    GOBIN="$directory" GOFLAGS=-modcacherw nice go install "github.com/minio/minio@$minio_version" >&2
}

# MinIO, the strictest S3 server that installs by name: exports STRATA_LAB_MINIO. Building it takes minutes, so this
# happens only when STRATA_TEST_MINIO=1 asks for it; what is in the cache is used in any case.
need_minio() {
    local directory="$strata_cache/minio/$minio_version"
    if [[ ! -x "$directory/minio" ]]; then
        if [[ "${STRATA_TEST_MINIO:-0}" != 1 ]]; then
            say "SKIPPED: tests against MinIO, because it is not built yet (STRATA_TEST_MINIO=1 builds it, some minutes)"
            return 1
        elif ! command -v go >/dev/null; then
            say "SKIPPED: tests against MinIO, because there is no go to build it"
            return 1
        elif ! locked minio fill_minio "$directory"; then
            say "SKIPPED: tests against MinIO, because it could not be built"
            return 1
        fi
    fi
    export STRATA_LAB_MINIO="$directory/minio"
}

# Two checkouts may share the cache. Cargo tells a changed source by its time only, and would take the other one's build
# of the same crate for fresh: so whoever builds after another checkout marks its own sources as changed.
own_target() {
    local owner="$CARGO_TARGET_DIR/.checkout"
    mkdir -p "$CARGO_TARGET_DIR"
    if [[ -e "$owner" && "$(<"$owner")" != "$strata_root" ]]; then
        find "$strata_root"/{broker,tiering,gateway,infra,tests,benchmarks} -name '*.rs' -exec touch {} +
    fi
    printf '%s\n' "$strata_root" >"$owner"
}

# The program itself: STRATA_BIN when given, otherwise built. Exports STRATA_BIN.
need_strata() {
    if [[ -n "${STRATA_BIN:-}" ]]; then
        [[ -x "$STRATA_BIN" ]] || die "STRATA_BIN=$STRATA_BIN is not a program"
        return
    fi
    command -v cargo >/dev/null || die "cargo is needed to build Strata (https://rustup.rs)"
    own_target
    (cd "$strata_root" && cargo build --release --quiet)
    export STRATA_BIN="$CARGO_TARGET_DIR/release/strata"
}
