package io.inlay.server.demo;

import io.inlay.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;

/**
 * The JVM's cache of classes that the packaged server loads when it starts, and of what it learnt about their methods (JEP 483, 514, 515),
 * beside the jar. Made by a run of the server with the embedded model: {@code StartupCache JAR MODELS}. Without it the server does the same,
 * it only starts more slowly.
 */
final class StartupCache {

    private static final String NAME = "app.aot";
    private static final String MODEL = "inlay-tiny";
    private static final String KEY = "inlay-startup-key";
    private static final Duration START = Duration.ofMinutes(2);
    /** The JVM writes the cache when the server has ended. */
    private static final int SECONDS_TO_WRITE = 120;

    private StartupCache() {
    }

    /** For the JVM that runs {@code jar}; none when the jar has no cache or a newer one was packaged since. */
    static List<String> flags(Path jar) throws IOException {
        Path cache = jar.resolveSibling(NAME);
        return Files.isRegularFile(cache) && Files.getLastModifiedTime(cache).compareTo(Files.getLastModifiedTime(jar)) >= 0
                ? List.of("-XX:AOTCache=" + cache) : List.of();
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        try {
            make(Path.of(arguments[0]), Path.of(arguments[1]));
        } catch (Problem failure) {
            System.err.println("no startup cache was made, so that servers start more slowly: " + failure.getMessage());
            System.exit(1);
        }
    }

    private static void make(Path jar, Path models) throws IOException, InterruptedException {
        Path data = Files.createTempDirectory("inlay-startup-");
        Path made = jar.resolveSibling(NAME + ".new");
        try {
            List<String> flags = new ArrayList<>(ServerProcess.neededFlags());
            flags.add("-XX:AOTCacheOutput=" + made);
            flags.add("-Xlog:aot=off,cds=off");
            ServerProcess server = ServerProcess.launch(Path.of("").toAbsolutePath(), jar, flags, Map.of(
                    "inlay.models.folder", models.toAbsolutePath().toString(), "inlay.models.names", MODEL,
                    "inlay.data", data.resolve("state").toString(), "inlay.store", data.resolve("store").toString(),
                    "inlay.tenants.startup.keys", KEY), data.resolve("server.log"));
            try (InlayClient client = new InlayClient(server.address(), KEY)) {
                use(server, client);
            } finally {
                server.end(SECONDS_TO_WRITE);
            }
            if (!Files.isRegularFile(made)) {
                throw server.failure("the JVM wrote no cache");
            }
            Files.move(made, jar.resolveSibling(NAME), StandardCopyOption.ATOMIC_MOVE);
        } finally {
            try (var files = Files.walk(data)) {
                for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                    Files.deleteIfExists(file);
                }
            }
        }
    }

    /** What a server does first: gets ready, answers. */
    private static void use(ServerProcess server, InlayClient client) throws IOException, InterruptedException {
        long started = System.nanoTime();
        while (!client.isReady()) {
            server.requireAlive();
            if (System.nanoTime() - started > START.toNanos()) {
                throw server.failure("the server was not ready after " + START.toSeconds() + " s");
            }
            Thread.sleep(100);
        }
        client.get("/v1/models");
        client.complete(MODEL, "Once", 8);
        client.complete(MODEL, "Once upon a time", 8);
    }
}
