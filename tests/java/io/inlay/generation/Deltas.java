package io.inlay.generation;

import io.inlay.delta.BaseMatrices;
import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.TensorBlocks;
import io.inlay.model.LlamaModel;
import io.inlay.model.Projection;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/** Makes fine-tunes by hand: some blocks of q, k and v with their base values moved a good deal. */
final class Deltas {

    static final int EDGE = 16;

    private Deltas() {
    }

    /** Publishes {@link #blocks} as the next version of the task, for tenant {@code acme}. */
    static DeltaVersion publish(DeltaStore store, LlamaModel model, String task, long seed) {
        try (Arena arena = Arena.ofConfined()) {
            return publish(store, model, task, blocks(model, seed, arena));
        }
    }

    static DeltaVersion publish(DeltaStore store, LlamaModel model, String task, List<TensorBlocks> blocks) {
        DeltaManifest draft = DeltaManifest.draft(model.name(), model.fingerprint(), task, EDGE, "2026-01-01T00:00:00Z", "job-1", Map.of(),
                "sha256:0", Map.of(), "test");
        return store.publish("acme", model.name(), task, draft, blocks, model);
    }

    /** Every other block of every q, k and v of the model, moved by noise of the weights' own size. */
    static List<TensorBlocks> blocks(LlamaModel model, long seed, Arena arena) {
        SplittableRandom random = new SplittableRandom(seed);
        List<TensorBlocks> all = new ArrayList<>();
        for (int layer = 0; layer < model.config().layers(); layer++) {
            for (Projection projection : List.of(Projection.Q, Projection.K, Projection.V)) {
                all.add(blocks(model, projection.tensor(layer), random, arena));
            }
        }
        return all;
    }

    private static TensorBlocks blocks(LlamaModel model, String tensor, SplittableRandom random, Arena arena) {
        BaseMatrices.Matrix matrix = model.matrix(tensor);
        List<BlockCoordinate> places = new ArrayList<>();
        for (int i = 0; i < matrix.rows() / EDGE; i++) {
            for (int j = 0; j < matrix.columns() / EDGE; j++) {
                if (random.nextBoolean()) {
                    places.add(new BlockCoordinate(i, j));
                }
            }
        }
        MemorySegment values = arena.allocate(2L * EDGE * EDGE * places.size(), 64);
        for (int k = 0; k < places.size(); k++) {
            for (int e = 0; e < EDGE * EDGE; e++) {
                long row = (long) places.get(k).row() * EDGE + e / EDGE;
                long column = (long) places.get(k).column() * EDGE + e % EDGE;
                short base = matrix.bits().getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, row * matrix.columns() + column);
                float moved = (float) (Float.intBitsToFloat(base << 16) + 0.2 * random.nextGaussian());
                values.setAtIndex(ValueLayout.JAVA_SHORT, (long) k * EDGE * EDGE + e, (short) (Float.floatToRawIntBits(moved) >>> 16));
            }
        }
        return new TensorBlocks(tensor, matrix.rows(), matrix.columns(), EDGE, places, values);
    }

    /** One block of NaN: a fine-tune that diverged. */
    static List<TensorBlocks> diverged(LlamaModel model, Arena arena) {
        String tensor = Projection.Q.tensor(0);
        BaseMatrices.Matrix matrix = model.matrix(tensor);
        MemorySegment values = arena.allocate(2L * EDGE * EDGE, 64);
        for (int e = 0; e < EDGE * EDGE; e++) {
            values.setAtIndex(ValueLayout.JAVA_SHORT, e, (short) 0x7FC0);
        }
        return List.of(new TensorBlocks(tensor, matrix.rows(), matrix.columns(), EDGE, List.of(new BlockCoordinate(0, 0)), values));
    }
}
