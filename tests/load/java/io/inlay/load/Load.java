package io.inlay.load;

import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * {@code ./inlay load MINUTES [REQUESTS_A_SECOND]}: the packaged server under load. Ends with exit code 1 where something was not right.
 */
public final class Load {

    private static final Path MODEL = Path.of("model-store/base/inlay-tiny");
    private static final String ADMIN = "key-of-the-load-generator-0123456789";
    private static final double RATE = 20;

    private Load() {
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 1 || arguments.length > 2) {
            System.err.println("load needs minutes, and may have requests a second: ./inlay load MINUTES [REQUESTS_A_SECOND]");
            System.exit(2);
        }
        Duration time = Duration.ofMillis((long) (60_000 * Double.parseDouble(arguments[0])));
        double rate = arguments.length > 1 ? Double.parseDouble(arguments[1]) : RATE;
        Path data = Files.createTempDirectory("inlay-load-");
        int port;
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            port = free.getLocalPort();
        }
        Process process = start(data, port);
        List<String> faults;
        try (Target server = new Target(URI.create("http://127.0.0.1:" + port), ADMIN, process.pid());
                LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), MODEL, ModelOptions.of(DType.BF16))) {
            while (!server.ready()) {
                if (!process.isAlive()) {
                    throw new IOException("the server ended; see " + data.resolve("server.log"));
                }
                Thread.sleep(50);
            }
            LoadRun.Outcome outcome = new LoadRun(server, model, rate, "load").run(time);
            System.out.println(outcome.table());
            faults = outcome.faults();
        } finally {
            process.destroy();
            process.waitFor(30, TimeUnit.SECONDS);
        }
        faults.forEach(System.out::println);
        System.out.println(faults.isEmpty() ? "nothing was wrong" : faults.size() + " faults; the server's log is "
                + data.resolve("server.log"));
        System.exit(faults.isEmpty() ? 0 : 1);
    }

    private static Process start(Path data, int port) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream().filter(flag -> flag.startsWith("--")).forEach(command::add);
        command.addAll(List.of("-Xmx1g", "-Dquarkus.http.host=127.0.0.1", "-Dquarkus.http.port=" + port, "-Dinlay.models.folder="
                + MODEL.getParent(),
                "-Dinlay.models.names=" + MODEL.getFileName(), "-Dinlay.data=" + data, "-Dinlay.store=" + data.resolve("store"),
                "-Dinlay.access.admin-keys=" + ADMIN, "-Dinlay.generation.cache-bytes=" + (16 << 20), "-Dinlay.generation.resident-bytes="
                        + (4 << 20), "-Dinlay.deltas.keep-last=3", "-Dinlay.deltas.collect-seconds=20", "-Dinlay.deltas.grace-seconds=20",
                "-Dinlay.deltas.lease-seconds=20", "-Dinlay.log.access=false", "-jar", "target/quarkus-app/quarkus-run.jar"));
        return new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(data.resolve("server.log").toFile()).start();
    }
}
