package io.inlay.bench;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.TensorBlocks;
import io.inlay.generation.DeltaResidency;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.Projection;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;

/**
 * Switches among a thousand deltas of the embedded model, of which three quarters are resident: others are loaded, verified and freed again.
 * The base's digest is computed before and after; memory is looked at after a tenth of the switches and at the end.
 */
final class SwitchBench {

    private static final int DELTAS = 1000;
    private static final int EDGE = 32;
    private static final int SWITCHES = 100_000;

    /** @param untouched whether the base has the digest that it had */
    record Measured(boolean untouched, double growthMib, long loads, double seconds) {
    }

    private SwitchBench() {
    }

    static Measured measure() throws IOException {
        Path root = Files.createTempDirectory(BenchModels.cache(), "switches-");
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("model-store/base/inlay-tiny"),
                ModelOptions.defaults())) {
            DeltaStore store = Stores.folder(root);
            List<DeltaVersion> versions = publish(store, model);
            String before = model.digest();
            long start = System.nanoTime();
            long early = 0;
            long loads;
            try (DeltaResidency residency = new DeltaResidency(model, store, 2L * EDGE * EDGE * DELTAS * 3 / 4)) {
                SplittableRandom random = new SplittableRandom(5);
                for (int i = 0; i < SWITCHES; i++) {
                    residency.acquire(versions.get(random.nextInt(DELTAS))).join().close();
                    if (i == SWITCHES / 10) {
                        early = residentBytes();
                    }
                }
                loads = residency.figures().loads();
                double grown = (residentBytes() - early) / (double) (1 << 20);
                return new Measured(model.digest().equals(before), grown, loads, (System.nanoTime() - start) / 1e9);
            }
        } finally {
            try (Stream<Path> all = Files.walk(root)) {
                all.sorted(Comparator.reverseOrder()).forEach(each -> each.toFile().delete());
            }
        }
    }

    /** Deltas of one block each, of another place and other values. */
    private static List<DeltaVersion> publish(DeltaStore store, LlamaModel model) {
        List<DeltaVersion> versions = new ArrayList<>();
        SplittableRandom random = new SplittableRandom(3);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment values = arena.allocate(2L * EDGE * EDGE, 64);
            for (int k = 0; k < DELTAS; k++) {
                String tensor = Projection.Q.tensor(random.nextInt(model.config().layers()));
                var matrix = model.matrix(tensor);
                BlockCoordinate at = new BlockCoordinate(random.nextInt(matrix.rows() / EDGE), random.nextInt(matrix.columns() / EDGE));
                for (int i = 0; i < EDGE * EDGE; i++) {
                    values.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (0x3C00 + random.nextInt(64)));
                }
                DeltaManifest draft = DeltaManifest.draft(model.name(), model.fingerprint(), "task" + k, EDGE, Instant.now().toString(), "bench",
                        Map.of(), "", Map.of(), "bench");
                versions.add(store.publish("bench", model.name(), "task" + k, draft,
                        List.of(new TensorBlocks(tensor, matrix.rows(), matrix.columns(), EDGE, List.of(at), values)), model));
            }
        }
        return versions;
    }

    private static long residentBytes() throws IOException {
        System.gc();
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmRSS")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
            }
        }
        throw new IOException("the process tells no resident memory; this benchmark needs Linux");
    }
}
