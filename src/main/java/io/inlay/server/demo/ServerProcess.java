package io.inlay.server.demo;

import io.inlay.Problem;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The packaged server as a child process with a log file; closing it ends the child. */
public final class ServerProcess implements AutoCloseable {
    private static final int LINES_OF_LOG_TO_SHOW = 25;
    private static final int SECONDS_TO_END = 15;

    private final Process process;
    private final URI address;
    private final Path log;

    private ServerProcess(Process process, URI address, Path log) {
        this.process = process;
        this.address = address;
        this.log = log;
    }

    /**
     * Starts {@code jar} in {@code home} with the JVM that runs this program, and with the jar's {@link StartupCache} where there is one.
     *
     * @param jvmFlags for the child; it needs {@link #neededFlags} at least
     * @param settings configuration of the server by its property names; the port is chosen here
     */
    public static ServerProcess start(Path home, Path jar, List<String> jvmFlags, Map<String, String> settings, Path log) throws IOException {
        if (!Files.isRegularFile(jar)) {
            throw new Problem(Problem.Code.UNAVAILABLE, "there is no packaged server at " + jar + "; run ./inlay demo, which builds it");
        }
        List<String> flags = new ArrayList<>(jvmFlags);
        flags.addAll(StartupCache.flags(jar));
        return launch(home, jar, flags, settings, log);
    }

    static ServerProcess launch(Path home, Path jar, List<String> jvmFlags, Map<String, String> settings, Path log) throws IOException {
        int port = freePort();
        var command = new ArrayList<String>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(jvmFlags);
        command.add("-Dquarkus.http.host=127.0.0.1");
        command.add("-Dquarkus.http.port=" + port);
        settings.forEach((name, value) -> command.add("-D" + name + "=" + value));
        command.add("-jar");
        command.add(jar.toString());
        var builder = new ProcessBuilder(command).directory(home.toFile()).redirectErrorStream(true).redirectOutput(log.toFile());
        builder.redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()));
        return new ServerProcess(builder.start(), URI.create("http://127.0.0.1:" + port), log);
    }

    /** Of the flags of this very JVM, those without which Inlay does not run: modules and access. */
    public static List<String> neededFlags() {
        return ManagementFactory.getRuntimeMXBean().getInputArguments().stream().filter(flag -> flag.startsWith("--")).toList();
    }

    private static int freePort() throws IOException {
        try (var socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    public URI address() {
        return address;
    }

    public long pid() {
        return process.pid();
    }

    /** A server that has ended by itself cannot answer: says so, with the end of its log. */
    public void requireAlive() {
        if (!process.isAlive()) {
            throw failure("the server ended with exit code " + process.exitValue());
        }
    }

    Problem failure(String what) {
        return new Problem(Problem.Code.UNAVAILABLE, what + "; the end of its log, " + log + ":\n" + endOfLog());
    }

    private String endOfLog() {
        try {
            var lines = Files.readAllLines(log);
            return String.join("\n", lines.subList(Math.max(0, lines.size() - LINES_OF_LOG_TO_SHOW), lines.size()));
        } catch (IOException e) {
            return "(the log cannot be read: " + e.getMessage() + ")";
        }
    }

    @Override
    public void close() {
        end(SECONDS_TO_END);
    }

    /** Ends the child; kills it when it is still there after so many seconds. */
    void end(int seconds) {
        process.destroy();
        try {
            if (!process.waitFor(seconds, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }
}
