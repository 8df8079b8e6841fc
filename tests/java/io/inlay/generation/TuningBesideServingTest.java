package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.Pace;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningListener;
import io.inlay.tuning.TuningMethod.RandomBlocks;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningRun;
import io.inlay.tuning.YieldingPace;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A run and an engine over the one embedded model. */
@Timeout(120)
class TuningBesideServingTest {

    private static final double SHARE = 0.2;
    private static final int STEPS = 8;

    private static LlamaModel model;

    @TempDir
    private Path folder;

    @BeforeAll
    static void open() {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("model-store/base/inlay-tiny"), ModelOptions.of(DType.BF16));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @Test
    void beside_generation_a_run_takes_about_its_share_of_the_time_and_alone_all_of_it() {
        try (DeltaResidency residency = new DeltaResidency(model, Stores.folder(folder), 1 << 20);
                GenerationEngine engine = new GenerationEngine(model, residency, new GenerationEngine.Limits(4, 16))) {
            Stopwatch alone = new Stopwatch(new YieldingPace(() -> engine.load() > 0, SHARE));
            run(alone);
            assertThat(alone.share()).as("of the time, with nothing generated").isGreaterThan(0.95);

            Stopwatch beside = new Stopwatch(new YieldingPace(() -> engine.load() > 0, SHARE));
            long before = engine.figures().tokens();
            try (Clients clients = new Clients(engine)) {
                run(beside);
            }
            assertThat(beside.share()).as("of the time, beside generation").isBetween(SHARE / 4, SHARE * 1.3);
            assertThat(engine.figures().tokens() - before).as("tokens meanwhile").isGreaterThan(STEPS);
        }
    }

    private static void run(Stopwatch pace) {
        List<TuningExample> examples = IntStream.range(0, 16).mapToObj(i -> new TuningExample(IntStream.range(0, 60)
                .map(t -> 5 + (t * 7 + i) % 300).toArray(), 20)).toList();
        TuningParameters parameters = TuningParameters.of(RandomBlocks.of(0.02)).maxSteps(STEPS).batchSize(4).microBatchTokens(128).build();
        try (Arena arena = Arena.ofConfined()) {
            new TuningRun(model, pace, model.torch().devices(), Optional.empty(), true).run(examples, List.of(), parameters,
                    TuningListener.NONE, () -> false, arena);
        }
        pace.await(() -> true);
    }

    /** Tells working from waiting. */
    private static final class Stopwatch implements Pace {

        private final Pace pace;
        private long began;
        private long worked;
        private long waited;

        private Stopwatch(Pace pace) {
            this.pace = pace;
        }

        @Override
        public void await(BooleanSupplier cancelled) {
            long start = System.nanoTime();
            worked += began == 0 ? 0 : start - began;
            pace.await(cancelled);
            began = System.nanoTime();
            waited += began - start;
        }

        double share() {
            return (double) worked / (worked + waited);
        }
    }

    /** Keeps three answers under way, so that there always is one, until it is closed. */
    private static final class Clients implements AutoCloseable {

        private final GenerationEngine engine;
        private volatile boolean over;

        private Clients(GenerationEngine engine) {
            this.engine = engine;
            IntStream.range(0, 3).forEach(this::ask);
        }

        private void ask(int client) {
            int[] prompt = IntStream.range(0, 8 + client).map(t -> 5 + t).toArray();
            engine.submit(new GenerationRequest(Optional.empty(), prompt, Sampling.GREEDY, 100 + 37 * client, List.of()), event -> {
                if (event instanceof GenerationEvent.Finished && !over) {
                    ask(client);
                }
            });
        }

        @Override
        public void close() {
            over = true;
        }
    }
}
