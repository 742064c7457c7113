import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * The small frame of the Java programs: named checks with a bound, the proxy's words, assertions.
 * Prints what harness/suite.ts reads: PASS, FAIL and INFO lines, last of all DONE.
 */
final class Checks {
    static final int TICK_MS = Integer.parseInt(System.getenv("TICK_MS"));
    static final String SERVER = System.getenv("ZK_HOST");
    /** Absent on an ensemble. */
    static final String PROXY = System.getenv("PROXY_HOST");
    private static final long CHECK_LIMIT_S = Long.parseLong(System.getenv().getOrDefault("CHECK_LIMIT_S", "60"));
    private static final long EVENT_LIMIT_MS = 20_000;

    /** A check may return a detail for its PASS line, or null. */
    interface Body {
        Object run() throws Exception;
    }

    private static final List<AutoCloseable> open = new ArrayList<>();

    private Checks() {}

    /** Keeps something to be closed after the check, whatever happens in it. */
    static synchronized <T extends AutoCloseable> T closing(T resource) {
        open.add(resource);
        return resource;
    }

    private static synchronized void closeAll() {
        for (int i = open.size() - 1; i >= 0; i--) {
            try {
                open.get(i).close();
            } catch (Exception e) {
                System.err.println("closing: " + e);
            }
        }
        open.clear();
    }

    static void check(String name, Body body) throws Exception {
        ExecutorService runner = Executors.newSingleThreadExecutor(work -> {
            Thread thread = new Thread(work, name);
            thread.setDaemon(true);
            return thread;
        });
        long started = System.nanoTime();
        try {
            Future<Object> future = runner.submit((Callable<Object>) body::run);
            Object detail = future.get(CHECK_LIMIT_S, TimeUnit.SECONDS);
            double took = (System.nanoTime() - started) / 1e9;
            System.out.println(String.format("PASS %s (%.1f s%s)", name, took, detail == null ? "" : "; " + detail));
        } catch (TimeoutException e) {
            System.out.println("FAIL " + name + ": longer than " + CHECK_LIMIT_S + " s");
        } catch (ExecutionException e) {
            e.getCause().printStackTrace();
            System.out.println("FAIL " + name + ": " + String.valueOf(e.getCause()).replaceAll("\\s+", " "));
        } finally {
            runner.shutdownNow();
            tell("open");
            closeAll();
        }
    }

    static void done() {
        System.out.println("DONE");
        System.out.flush();
        // Threads of a client that would not stop must not keep the process.
        Runtime.getRuntime().halt(0);
    }

    /** Tells the proxy `cut`, `block` or `open`, or the run what is to happen to its servers. */
    static void tell(String word) throws Exception {
        String host = "127.0.0.1";
        try (Socket control = new Socket(host, Integer.parseInt(System.getenv("PROXY_CONTROL")))) {
            control.getOutputStream().write((word + "\n").getBytes(StandardCharsets.UTF_8));
            InputStreamReader in = new InputStreamReader(control.getInputStream(), StandardCharsets.UTF_8);
            equal(new BufferedReader(in).readLine(), "ok");
        }
    }

    static void equal(Object found, Object wanted) {
        if (!wanted.equals(found)) {
            throw new AssertionError("found " + found + ", wanted " + wanted);
        }
    }

    static void isTrue(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    /** The call has to fail with exactly this kind of exception, which is returned. */
    static <E extends Exception> E raises(Class<E> kind, Callable<?> call) throws Exception {
        Object result;
        try {
            result = call.call();
        } catch (Exception e) {
            if (e.getClass() == kind) {
                return kind.cast(e);
            }
            throw new AssertionError("expected " + kind.getSimpleName() + ", got " + e, e);
        }
        throw new AssertionError("expected " + kind.getSimpleName() + ", got the result " + result);
    }

    /** Asks again and again until the probe says true. */
    static void eventually(String what, Callable<Boolean> probe) throws Exception {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(EVENT_LIMIT_MS);
        while (!probe.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError(what + ": not within " + EVENT_LIMIT_MS + " ms");
            }
            Thread.sleep(20);
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }
}
