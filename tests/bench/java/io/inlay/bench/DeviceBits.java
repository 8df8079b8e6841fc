package io.inlay.bench;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.model.Asked;
import io.inlay.model.Given;
import io.inlay.model.KvCache;
import io.inlay.model.KvPool;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.Projection;
import io.inlay.model.WeightOverlay;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/** Whether a device keeps the promise that an answer's bits depend on nothing but its prompt and its weights. */
final class DeviceBits {

    private static final int PROMPT = 1400;
    private static final int PIECE = 48;
    private static final int COMPANIONS = 70;
    private static final int STEPS = 5;
    private static final int EDGE = 32;

    private final LlamaModel model;
    private final LlamaInference inference;
    private final KvPool pool;
    private final SplittableRandom random = new SplittableRandom(5);

    private DeviceBits(LlamaModel model, LlamaInference inference, KvPool pool) {
        this.model = model;
        this.inference = inference;
        this.pool = pool;
    }

    /** @param model in bf16 */
    static List<Verdict> of(LlamaModel model) {
        try (LlamaInference inference = new LlamaInference(model);
                KvPool pool = new KvPool(model, 2 * KvPool.pagesFor(PROMPT + STEPS) + COMPANIONS * 2)) {
            return new DeviceBits(model, inference, pool).verdicts();
        }
    }

    private List<Verdict> verdicts() {
        int[] prompt = random.ints(PROMPT, 2, model.config().vocabularySize()).toArray();
        try (Arena arena = Arena.ofShared(); WeightOverlay own = WeightOverlay.of(model, blocks(1, arena));
                WeightOverlay other = WeightOverlay.of(model, blocks(2, arena)); KvCache one = pool.cache(PROMPT + STEPS);
                KvCache pieces = pool.cache(PROMPT + STEPS)) {
            float[] expected = inference.prefill(prompt, one, own);
            boolean cut = Arrays.equals(expected, inPieces(prompt, pieces, own));
            return List.of(Verdict.of(cut, "equality.bits-however-a-prompt-is-cut", PROMPT + " tokens"),
                    Verdict.of(beside(one, pieces, own, other), "equality.bits-alone-and-among-" + COMPANIONS, STEPS + " steps"));
        }
    }

    private float[] inPieces(int[] prompt, KvCache cache, WeightOverlay overlay) {
        int whole = (prompt.length - 1) / 16 * 16;
        while (cache.length() < whole) {
            int from = cache.length();
            int to = Math.min(from + PIECE, inference.cut().end(from, whole, true));
            cache.reserve(to);
            inference.extend(Arrays.copyOfRange(prompt, from, to), whole, cache, overlay);
        }
        return inference.prefill(Arrays.copyOfRange(prompt, whole, prompt.length), cache, overlay);
    }

    /** Whether each step's logits are the same alone and beside rows of other lengths and weights; the later steps are graphs. */
    private boolean beside(KvCache alone, KvCache beside, WeightOverlay own, WeightOverlay other) {
        List<KvCache> companions = new ArrayList<>();
        boolean same = true;
        try {
            for (int i = 0; i < COMPANIONS; i++) {
                companions.add(pool.cache(32));
                inference.prefill(random.ints(1 + i % 20, 2, model.config().vocabularySize()).toArray(), companions.get(i),
                        overlay(i, own, other));
            }
            for (int step = 0; step < STEPS; step++) {
                List<LlamaInference.Row> rows = new ArrayList<>();
                for (int i = 0; i < COMPANIONS; i++) {
                    companions.get(i).reserve(companions.get(i).length() + 1);
                    rows.add(new LlamaInference.Row(5 + i, companions.get(i), overlay(i, own, other), Asked.LOGITS));
                }
                beside.reserve(beside.length() + 1);
                rows.add(COMPANIONS / 2, new LlamaInference.Row(7 + step, beside, own, Asked.LOGITS));
                same &= inference.step(rows).get(COMPANIONS / 2) instanceof Given.Logits(float[] logits)
                        && Arrays.equals(inference.decode(7 + step, alone, own), logits);
            }
            return same;
        } finally {
            companions.forEach(KvCache::close);
        }
    }

    private static WeightOverlay overlay(int companion, WeightOverlay own, WeightOverlay other) {
        return switch (companion % 3) {
            case 0 -> own;
            case 1 -> other;
            default -> WeightOverlay.none();
        };
    }

    /** Some blocks of every layer's q. */
    private List<TensorBlocks> blocks(long seed, Arena arena) {
        SplittableRandom values = new SplittableRandom(seed);
        List<BlockCoordinate> places = List.of(new BlockCoordinate(0, (int) seed), new BlockCoordinate(2, 1));
        List<TensorBlocks> all = new ArrayList<>();
        long[] shape = model.config().shape(Projection.Q);
        for (int layer = 0; layer < model.config().layers(); layer++) {
            MemorySegment bits = arena.allocate(2L * places.size() * EDGE * EDGE, 64);
            for (long i = 0; i < bits.byteSize() / 2; i++) {
                bits.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits((float) (0.1 * values.nextGaussian())) >>> 16));
            }
            all.add(new TensorBlocks(Projection.Q.tensor(layer), (int) shape[0], (int) shape[1], EDGE, places, bits));
        }
        return all;
    }
}
