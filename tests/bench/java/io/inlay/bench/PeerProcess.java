package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.server.demo.ServerProcess;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** One side of a comparison as a child process that does a timed segment on command; see tests/bench/peers/peer.py for the protocol. */
final class PeerProcess implements AutoCloseable {

    private static final ObjectMapper JSON = new ObjectMapper();

    private final String name;
    private final Process process;
    private final BufferedReader answers;
    private final JsonNode ready;

    /** One timed segment. */
    record Segment(double seconds, int tokens) {
    }

    /** The process has ended before its time. */
    static final class Ended extends RuntimeException {
        private Ended(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** @throws Ended when the process ends before it is ready */
    PeerProcess(String name, List<String> command) throws IOException {
        this.name = name;
        this.process = new ProcessBuilder(command).redirectError(log().toFile()).start();
        this.answers = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        this.ready = answer();
    }

    private Path log() {
        return Path.of("target", "bench-" + name + ".log");
    }

    private Ended ended(Throwable cause) {
        String last;
        try {
            last = Files.readAllLines(log()).stream().filter(line -> !line.isBlank()).reduce((_, line) -> line).orElse("it said nothing");
        } catch (IOException unreadable) {
            last = unreadable.getMessage();
        }
        return new Ended(name + " ended: " + last.strip() + " (" + log() + ")", cause);
    }

    /** A process of ours, with the JVM and the class path of this one. */
    static PeerProcess ours(String name, String heap, Class<?> main, String... arguments) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ServerProcess.neededFlags());
        command.addAll(List.of("-Xmx" + heap, "-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(List.of(arguments));
        return new PeerProcess(name, command);
    }

    /** What the process said of itself when it was ready. */
    JsonNode ready() {
        return ready;
    }

    Segment run() {
        JsonNode answer = ask("run");
        return new Segment(answer.get("seconds").asDouble(), answer.get("tokens").asInt());
    }

    /** Peak resident bytes. */
    long peak() {
        return ask("peak").get("bytes").asLong();
    }

    /**
     * One command, one answer.
     *
     * @throws Ended when the process is gone
     */
    JsonNode ask(String command) {
        try {
            process.getOutputStream().write((command + "\n").getBytes(StandardCharsets.UTF_8));
            process.getOutputStream().flush();
            return answer();
        } catch (IOException failure) {
            throw ended(failure);
        }
    }

    /** The next line that is JSON; libraries print what they like. */
    private JsonNode answer() throws IOException {
        for (String line = answers.readLine(); line != null; line = answers.readLine()) {
            if (line.startsWith("{")) {
                return JSON.readTree(line);
            }
        }
        throw ended(null);
    }

    @Override
    public void close() {
        try {
            process.getOutputStream().write("quit\n".getBytes(StandardCharsets.UTF_8));
            process.getOutputStream().flush();
            process.waitFor(5, java.util.concurrent.TimeUnit.SECONDS);
        } catch (IOException ended) {
            // It is gone already, which is what closing wants.
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        } finally {
            process.destroyForcibly();
        }
    }
}
