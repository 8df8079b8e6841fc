package io.inlay.bench;

import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** LLaMA-7B's 863 blocks of edge 256 over its 96 targets, from a file to blocks that are verified and ready. */
final class ColdLoad {

    private static final int TARGETS = 96;
    private static final int BLOCKS = 863;
    private static final double SPREAD = 3e-4;

    /** Median seconds; {@code cold} is empty where the file could not be dropped from the page cache. */
    record Seconds(List<Double> cached, List<Double> cold, long fileBytes) {
    }

    private ColdLoad() {
    }

    static Seconds measure(int rounds) throws IOException, InterruptedException {
        // Beside the checkpoints, on a disk: what is called temporary may be memory.
        Files.createDirectories(BenchModels.cache());
        Path root = Files.createTempDirectory(BenchModels.cache(), "cold-load-");
        try (Arena arena = Arena.ofShared()) {
            Deltas base = new Deltas(arena, 11);
            List<TensorBlocks> blocks = new ArrayList<>();
            for (int target = 0; target < TARGETS; target++) {
                // Of a layer's matrix, the part that blocks lie in: the rest costs memory and no time.
                base.with("target." + target, 1024, 1024);
                int count = BLOCKS * (target + 1) / TARGETS - BLOCKS * target / TARGETS;
                blocks.add(base.tuned("target." + target, 256, count, SPREAD));
            }
            DeltaStore store = Stores.folder(root);
            DeltaVersion version = store.publish("bench", "base", "load", Deltas.draft("load", 256), blocks, base);
            Path file = root.resolve("bench/base/load/1.safetensors");
            List<Double> cached = new ArrayList<>();
            List<Double> cold = new ArrayList<>();
            for (int round = -2; round < rounds; round++) {
                double warm = load(store, version, base);
                boolean dropped = drop(file);
                double fresh = load(store, version, base);
                if (round >= 0) {
                    cached.add(warm);
                    if (dropped) {
                        cold.add(fresh);
                    }
                }
            }
            return new Seconds(cached, cold, version.fileBytes());
        } finally {
            try (Stream<Path> all = Files.walk(root)) {
                all.sorted(Comparator.reverseOrder()).forEach(each -> each.toFile().delete());
            }
        }
    }

    private static double load(DeltaStore store, DeltaVersion version, Deltas base) {
        long start = System.nanoTime();
        try (Arena arena = Arena.ofShared()) {
            if (store.load(version, Deltas.FINGERPRINT, base, arena).blocks().size() != TARGETS) {
                throw new IllegalStateException("not all targets were loaded");
            }
            return (System.nanoTime() - start) / 1e9;
        }
    }

    /** Drops a file that is on the disk from the page cache: dd's nocache flag without a copy is posix_fadvise(DONTNEED) of all of it. */
    private static boolean drop(Path file) throws IOException, InterruptedException {
        Process dd = new ProcessBuilder("dd", "if=" + file, "iflag=nocache", "count=0", "status=none").redirectErrorStream(true).start();
        dd.getInputStream().readAllBytes();
        return dd.waitFor() == 0;
    }
}
