package strata.clients;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ExecutionException;

/**
 * How the program tells what it saw: the plan, then one line of JSON per capability (name, ok, detail). {@code settled}
 * between writing and reading is where the runner makes a topic cold: it asks and waits for the answer.
 */
record Capability(String name, String what, Check check) {
    static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final BufferedReader ANSWERS =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    /** Returns the detail of a row, or throws. */
    interface Check {
        String run() throws Exception;
    }

    /** Asked again and again until it is true. */
    interface Probe {
        boolean holds() throws Exception;
    }

    /** Runs each capability, also after one that failed. */
    static void runAll(String client, String version, List<Capability> capabilities) {
        StringBuilder plan = new StringBuilder();
        for (Capability one : capabilities) {
            plan.append(plan.isEmpty() ? "" : ",");
            plan.append("{\"name\":%s,\"what\":%s}".formatted(quoted(one.name), quoted(one.what)));
        }
        tell("{\"client\":%s,\"version\":%s,\"plan\":[%s]}".formatted(quoted(client), quoted(version), plan));
        for (Capability one : capabilities) {
            one.run();
        }
    }

    private void run() {
        String detail;
        boolean ok = false;
        try {
            detail = check.run();
            ok = true;
        } catch (ExecutionException failed) {
            detail = String.valueOf(failed.getCause());
        } catch (Exception | AssertionError failed) {
            detail = failed + place(failed);
        }
        tell("{\"name\":%s,\"ok\":%b,\"detail\":%s}".formatted(quoted(name), ok, quoted(detail)));
    }

    private static String place(Throwable failed) {
        for (StackTraceElement frame : failed.getStackTrace()) {
            if (frame.getClassName().startsWith("strata.") && !frame.getClassName().endsWith("Capability")) {
                return " (" + frame.getFileName() + ":" + frame.getLineNumber() + ")";
            }
        }
        return "";
    }

    static void settled(String topic) throws IOException {
        tell("{\"settle\":%s}".formatted(quoted(topic)));
        String answer = ANSWERS.readLine();
        check("ok".equals(answer), topic + " did not settle: " + answer);
    }

    static void check(boolean holds, Object otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    static void same(Object wanted, Object found) {
        check(Objects.equals(wanted, found), "wanted " + wanted + " and found " + found);
    }

    static void until(Probe probe, String what) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!probe.holds()) {
            check(System.nanoTime() < deadline, "still waiting for " + what);
        }
    }

    private static void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                out.append('\\').append(letter);
            } else if (letter < ' ') {
                out.append(' ');
            } else {
                out.append(letter);
            }
        }
        return out.append('"').toString();
    }
}
