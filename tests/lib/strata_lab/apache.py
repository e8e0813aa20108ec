"""Apache Kafka's tools, each a main class of the jars that `setup.sh` installed (STRATA_LAB_KAFKA_LIBS)."""

import os
import subprocess

TOOLS = "org.apache.kafka.tools"


def available() -> bool:
    return bool(os.environ.get("STRATA_LAB_KAFKA_LIBS"))


def command(main_class: str, *arguments: str, heap: str = "256m") -> list[str]:
    libs = os.environ["STRATA_LAB_KAFKA_LIBS"]
    # Without PerfDisableSharedMem each JVM leaves a file behind when it is killed.
    jvm = ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+PerfDisableSharedMem"]
    return [*jvm, "-cp", f"{libs}/*", main_class, *arguments]


def run(main_class: str, *arguments: str, given: str | None = None, seconds: float = 120.0, heap: str = "256m") -> str:
    """Runs a tool to its end and returns its standard output; fails with its whole output when it failed."""
    return run_program(command(main_class, *arguments, heap=heap), {}, seconds, given)


def run_program(argv: list[str], env: dict[str, str], seconds: float, given: str | None = None) -> str:
    try:
        done = subprocess.run(
            argv,
            env=os.environ | env,
            input=given if given is not None else "",
            capture_output=True,
            text=True,
            timeout=seconds,
            errors="replace",
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{_shown(argv)} still runs after {seconds:.0f} s\n{late.stdout}\n{late.stderr}") from None
    assert done.returncode == 0, f"{_shown(argv)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _shown(argv: list[str]) -> str:
    start = argv.index("-cp") + 2 if "-cp" in argv else 0
    return " ".join(argv[start:])


def dump_log(file: str, *options: str) -> str:
    """DumpLogSegments over one file, with every check that it has."""
    return run(f"{TOOLS}.DumpLogSegments", "--files", file, *options)
