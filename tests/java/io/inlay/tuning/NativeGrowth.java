package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** What a program's native memory grows by: it runs in a process of its own, with the Java heap touched beforehand. */
final class NativeGrowth {

    private NativeGrowth() {
    }

    /** Runs the class's main and returns the bytes of its line {@code growth BYTES}. */
    static long of(Class<?> program) throws IOException, InterruptedException {
        ProcessBuilder builder = new ProcessBuilder(ProcessHandle.current().info().command().orElseThrow(),
                "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-Xms256m", "-Xmx256m", "-XX:+AlwaysPreTouch",
                "-cp", System.getProperty("java.class.path"), program.getName()).redirectErrorStream(true);
        // Matrices this small gain nothing from a second thread, and lose much where other programs run beside.
        builder.environment().put("OMP_NUM_THREADS", "1");
        Process child = builder.start();
        String output = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(child.waitFor()).as(output).isZero();
        String growth = output.lines().filter(line -> line.startsWith("growth ")).findFirst().orElseThrow();
        return Long.parseLong(growth.substring(7));
    }

    /** Bytes of this process's anonymous memory. */
    static long anonymousBytes() {
        try (var lines = Files.lines(Path.of("/proc/self/smaps_rollup"))) {
            return lines.filter(line -> line.startsWith("Anonymous:")).mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                    .findFirst().orElseThrow() * 1024;
        } catch (IOException unreadable) {
            throw new UncheckedIOException(unreadable);
        }
    }
}
