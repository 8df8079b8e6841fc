package io.inlay.load;

import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.server.demo.ServerProcess;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

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
        List<String> faults;
        try (ServerProcess process = start(data); Target server = new Target(process.address(), ADMIN, process.pid());
                LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), MODEL, ModelOptions.of(DType.BF16))) {
            while (!server.ready()) {
                process.requireAlive();
                Thread.sleep(50);
            }
            LoadRun.Outcome outcome = new LoadRun(server, model, rate, "load").run(time);
            System.out.println(outcome.table());
            faults = outcome.faults();
        }
        faults.forEach(System.out::println);
        System.out.println(faults.isEmpty() ? "nothing was wrong" : faults.size() + " faults; the server's log is "
                + data.resolve("server.log"));
        System.exit(faults.isEmpty() ? 0 : 1);
    }

    private static ServerProcess start(Path data) throws IOException {
        Path home = Path.of("").toAbsolutePath();
        Map<String, String> settings = new TreeMap<>(Map.of("inlay.models.folder", MODEL.getParent().toString(), "inlay.models.names",
                MODEL.getFileName().toString(), "inlay.data", data.toString(), "inlay.store", data.resolve("store").toString(),
                "inlay.access.admin-keys", ADMIN, "inlay.log.access", "false"));
        settings.putAll(Map.of("inlay.generation.cache-bytes", Integer.toString(16 << 20), "inlay.generation.resident-bytes",
                Integer.toString(4 << 20), "inlay.deltas.keep-last", "3", "inlay.deltas.collect-seconds", "20",
                "inlay.deltas.grace-seconds", "20", "inlay.deltas.lease-seconds", "20"));
        return ServerProcess.start(home, home.resolve("target/quarkus-app/quarkus-run.jar"),
                Stream.concat(ServerProcess.neededFlags().stream(), Stream.of("-Xmx1g")).toList(), settings, data.resolve("server.log"));
    }
}
