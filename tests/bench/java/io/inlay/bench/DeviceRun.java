package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.server.demo.ServerProcess;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;

/**
 * {@code tests/gpu/run}: contract tests, equality with the CPU, speed, each in a process of its own with a time limit, so that neither a crash
 * nor a standstill takes the others with it. {@code DeviceRun [--cpu] [--python PYTHON] [--results FILE] [--commit ID] [--stages A,B]
 * [--contracts PATTERN]}. Exit code 1 when a check fails; a bar that is not reached is a figure, not a failure.
 */
final class DeviceRun {

    /** On a GPU all stages together have eight minutes. */
    private enum Stage {
        CONTRACTS(DeviceContracts.class, 120),
        EQUALITY(DeviceEquality.class, 75),
        SPEED(DeviceSpeed.class, 280);

        private final Class<?> main;
        private final int seconds;

        Stage(Class<?> main, int seconds) {
            this.main = main;
            this.seconds = seconds;
        }

        private String title() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** A small processor is slower than a GPU's machine, and nobody waits for it. */
    private static final int PATIENCE_ON_CPU = 5;

    private static final String USAGE = "it takes --cpu, --python PYTHON, --results FILE, --commit ID, --stages contracts,equality,speed "
            + "and --contracts PATTERN";

    private final DeviceResults results = new DeviceResults();
    private BenchDevice device = BenchDevice.named("cuda:0");
    private String python;
    private Path file;
    private String contracts;
    private List<Stage> stages = List.of(Stage.values());

    private DeviceRun() {
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        DeviceRun run = new DeviceRun();
        run.read(arguments);
        System.exit(run.all() ? 0 : 1);
    }

    private void read(String[] arguments) {
        for (int i = 0; i < arguments.length; i++) {
            switch (arguments[i]) {
                case "--cpu" -> device = BenchDevice.CPU;
                case "--python" -> python = value(arguments, ++i);
                case "--results" -> file = Path.of(value(arguments, ++i));
                case "--commit" -> results.commit(value(arguments, ++i));
                case "--contracts" -> contracts = value(arguments, ++i);
                case "--stages" -> stages = List.of(value(arguments, ++i).split(",")).stream()
                        .map(stage -> Stage.valueOf(stage.toUpperCase(Locale.ROOT))).toList();
                default -> throw new IllegalArgumentException("'" + arguments[i] + "' is no option; " + USAGE);
            }
        }
    }

    private static String value(String[] arguments, int place) {
        if (place >= arguments.length) {
            throw new IllegalArgumentException(arguments[place - 1] + " needs a value; " + USAGE);
        }
        return arguments[place];
    }

    private boolean all() throws IOException, InterruptedException {
        Files.createDirectories(Path.of("target"));
        if (device.device().isCpu()) {
            System.out.println("No GPU is used: the same stages at a tiny size on the CPU. Their figures mean nothing.");
        }
        boolean there = describe();
        for (Stage stage : stages) {
            if (there) {
                run(stage);
            } else {
                results.add(Verdict.skipped(stage.title(), "there is no GPU").say());
            }
        }
        for (GpuBar bar : GpuBar.values()) {
            if (stages.contains(Stage.SPEED) && !results.tells(bar.title())) {
                results.add(Verdict.skipped(bar.title(), there ? "its stage did not come to it" : "there is no GPU").say());
            }
        }
        boolean required = "1".equals(System.getenv("INLAY_REQUIRE_GPU"));
        if (!there && required) {
            results.add(Verdict.of(false, "device", "INLAY_REQUIRE_GPU is 1, and there is no GPU").say());
        }
        if (file != null && there) {
            results.write(file, device);
            System.out.println("Results are in " + file);
        }
        return results.passed();
    }

    /** What the device is, by torch; false where torch finds none. */
    private boolean describe() throws IOException {
        if (python == null) {
            return true;
        }
        try (PeerProcess card = DeviceSpeed.card(python, device)) {
            JsonNode ready = card.ready();
            results.describe(ready.get("device").asText(), ready.get("versions"));
            System.out.println(ready.get("device").asText() + ", " + ready.get("versions"));
            return true;
        } catch (PeerProcess.Ended ended) {
            System.out.println(ended.getMessage());
            return false;
        }
    }

    private void run(Stage stage) throws IOException, InterruptedException {
        if (stage == Stage.SPEED && python == null) {
            results.add(Verdict.skipped(stage.title(), "there is no Python with torch, transformers and peft").say());
            return;
        }
        int limit = stage.seconds * (device.device().isCpu() ? PATIENCE_ON_CPU : 1);
        System.out.printf("== %s, %d s at most%n", stage.title(), limit);
        long start = System.nanoTime();
        Process process = new ProcessBuilder(command(stage)).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        process.getOutputStream().close();
        List<String> lines = Collections.synchronizedList(new ArrayList<>());
        Thread reader = Thread.ofVirtual().start(() -> echo(process, lines));
        boolean ended = process.waitFor(limit, TimeUnit.SECONDS);
        if (!ended) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly().waitFor();
        }
        reader.join();
        results.stage(stage.title(), List.copyOf(lines));
        String text = String.format(Locale.ROOT, "%.0f s", (System.nanoTime() - start) / 1e9);
        if (!ended) {
            text = "was stopped after " + limit + " s";
        } else if (process.exitValue() != 0) {
            text = "ended with exit code " + process.exitValue() + " after " + text;
        }
        results.add(Verdict.of(ended && process.exitValue() == 0, stage.title(), text).say());
    }

    private List<String> command(Stage stage) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ServerProcess.neededFlags());
        command.addAll(List.of("-Xmx2g", "-cp", System.getProperty("java.class.path"), stage.main.getName(), device.toString()));
        switch (stage) {
            case CONTRACTS -> {
                if (contracts != null) {
                    command.add(contracts);
                }
            }
            case EQUALITY, SPEED -> {
                if (python != null) {
                    command.add(python);
                }
            }
        }
        return command;
    }

    private static void echo(Process process, List<String> lines) {
        try (BufferedReader out = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = out.readLine(); line != null; line = out.readLine()) {
                System.out.println(line);
                lines.add(line);
            }
        } catch (IOException stopped) {
            lines.add("(its output ended: " + stopped.getMessage() + ")");
        }
    }
}
