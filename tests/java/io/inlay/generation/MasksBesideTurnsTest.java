package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.inlay.Problem;
import io.inlay.generation.GenerationEngine.Limits;
import io.inlay.generation.GenerationEvent.Finished;
import io.inlay.generation.grammar.Grammar;
import io.inlay.generation.grammar.TokenGrammar;
import io.inlay.generation.grammar.Vocabulary;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.KvPool;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Masks that take as long as a test likes: who waits for one, who does not, and that no answer shows it. */
@Timeout(120)
class MasksBesideTurnsTest {

    private static final String FORM = "([a-z0-9 ]{3,8}[,;] ?){2,9}[A-Z]{2,}\\.";
    private static final int MANY = 1_000_000;

    @TempDir
    private Path folder;
    private LlamaModel model;
    private DeltaResidency residency;
    private final List<GenerationEngine> engines = new ArrayList<>();
    private final List<SlowMasks> threads = new ArrayList<>();

    /** A thread that begins a mask only when there is a permit for it. */
    private static final class SlowMasks extends ThreadPoolExecutor {
        private final Semaphore permits = new Semaphore(0);
        private final Semaphore begun = new Semaphore(0);

        private SlowMasks() {
            super(1, 1, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>());
        }

        @Override
        protected void beforeExecute(Thread thread, Runnable task) {
            begun.release();
            permits.acquireUninterruptibly();
        }
    }

    @BeforeEach
    void open() throws IOException {
        Files.createDirectories(folder.resolve("swap"));
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Golden.of("llama31-like").folder(), ModelOptions.of(DType.BF16));
        residency = new DeltaResidency(model, Stores.folder(folder.resolve("store")), Long.MAX_VALUE);
    }

    @AfterEach
    void close() {
        threads.forEach(each -> each.permits.release(MANY));
        engines.forEach(GenerationEngine::close);
        residency.close();
        model.close();
    }

    @Test
    void a_stream_goes_on_to_its_end_while_the_first_mask_of_another_is_worked_out() {
        int[] alone = run(engine(new Limits(1, 1), masks(MANY)), formed(1, form()));
        SlowMasks slow = masks(0);
        GenerationEngine engine = engine(new Limits(4, 4), slow);
        Transcript formed = submit(engine, formed(1, form()), _ -> { });
        Transcript stream = submit(engine, free(2, 60), _ -> { });
        stream.finished();
        assertThat(slow.begun.tryAcquire()).as("a mask was asked for").isTrue();
        assertThat(formed.events()).isEmpty();
        slow.permits.release(MANY);
        formed.finished();
        assertThat(formed.tokens()).isEqualTo(alone);
        assertThat(formed.text()).matches(FORM);
    }

    @Test
    void a_stream_goes_on_to_its_end_while_a_later_mask_of_another_is_worked_out() {
        int[] alone = run(engine(new Limits(1, 1), masks(MANY)), formed(3, form()));
        assertThat(alone.length).isGreaterThan(6);
        SlowMasks slow = masks(3);
        GenerationEngine engine = engine(new Limits(4, 4), slow);
        Transcript formed = submit(engine, formed(3, form()), _ -> { });
        slow.begun.acquireUninterruptibly(4);
        Transcript stream = submit(engine, free(4, 60), _ -> { });
        stream.finished();
        assertThat(formed.ended()).isFalse();
        slow.permits.release(MANY);
        formed.finished();
        assertThat(formed.tokens()).isEqualTo(alone);
    }

    @Test
    void answers_are_the_same_alone_and_where_each_mask_lets_others_go_ahead() {
        TokenGrammar form = form();
        List<int[]> alone = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            alone.add(run(engine(new Limits(1, 1), masks(MANY)), formed(10 + i, form())));
        }
        int[] aloneFree = run(engine(new Limits(1, 1), masks(MANY)), free(5, 120));
        SlowMasks slow = masks(0);
        GenerationEngine engine = engine(new Limits(9, 20), slow);
        List<Transcript> together = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            together.add(submit(engine, formed(10 + i, form), _ -> { }));
        }
        Transcript stream = submit(engine, free(5, 120), _ -> slow.permits.release());
        stream.finished();
        slow.permits.release(MANY);
        for (int i = 0; i < alone.size(); i++) {
            together.get(i).finished();
            assertThat(together.get(i).tokens()).as("answer %d", i).isEqualTo(alone.get(i));
        }
        assertThat(stream.tokens()).isEqualTo(aloneFree);
    }

    @Test
    void who_waits_for_a_mask_can_be_cancelled_or_run_out_of_time_and_leaves_nothing() {
        SlowMasks slow = masks(1);
        GenerationEngine engine = engine(new Limits(4, 4), slow);
        Transcript cancelled = new Transcript();
        Generation first = engine.submit("a", formed(6, form()), cancelled);
        await().until(() -> cancelled.tokens().length == 1);
        slow.begun.acquireUninterruptibly(2);
        Transcript late = new Transcript();
        Generation second = engine.submit("b", formed(7, form()), late);
        await().until(() -> engine.memory().used() > 1);
        first.cancel();
        assertThat(((Finished) cancelled.await()).reason()).isEqualTo(FinishReason.CANCELLED);
        second.fail(new Problem(Problem.Code.DEADLINE_EXCEEDED, "too late"));
        assertThat(late.problem()).hasMessage("too late");
        await().untilAsserted(() -> assertThat(engine.figures().underWay()).isZero());
        await().untilAsserted(() -> assertThat(engine.memory().used()).isEqualTo(engine.memory().kept()));
        slow.permits.release(MANY);
        await().until(() -> slow.getActiveCount() == 0 && slow.getQueue().isEmpty());
        assertThat(cancelled.events()).hasSize(2);
        assertThat(late.events()).hasSize(1);
        assertThat(run(engine, free(8, 10))).hasSizeLessThanOrEqualTo(10);
    }

    @Test
    void a_mask_that_cannot_be_worked_out_fails_its_own_request_alone() {
        SlowMasks stopped = masks(0);
        stopped.shutdown();
        GenerationEngine engine = engine(new Limits(4, 4), stopped);
        Transcript stream = submit(engine, free(9, 30), _ -> { });
        Transcript formed = submit(engine, formed(9, form()), _ -> { });
        assertThat(formed.problem().code()).isEqualTo(Problem.Code.INTERNAL);
        stream.finished();
        await().untilAsserted(() -> assertThat(engine.figures().underWay()).isZero());
    }

    @Test
    void who_waits_for_a_mask_can_be_put_aside_and_gives_the_same_answer() throws IOException {
        Limits tight = new Limits(4, 4, KvPool.pagesFor(12 + 100) * KvPool.pageBytes(model), folder.resolve("swap"));
        int[] alone = run(engine(tight, masks(MANY)), formed(11, form()));
        SlowMasks slow = masks(2);
        GenerationEngine engine = engine(tight, slow);
        Transcript stream = submit(engine, free(12, 100), _ -> { });
        Transcript formed = submit(engine, formed(11, form()), _ -> { });
        stream.finished();
        assertThat(stream.tokens()).hasSize(100);
        await().untilAsserted(() -> assertThat(engine.memory().putAside()).isPositive());
        assertThat(formed.ended()).isFalse();
        slow.permits.release(MANY);
        formed.finished();
        assertThat(formed.tokens()).isEqualTo(alone);
        try (Stream<Path> left = Files.list(folder.resolve("swap"))) {
            assertThat(left).isEmpty();
        }
    }

    private SlowMasks masks(int permits) {
        SlowMasks made = new SlowMasks();
        made.permits.release(permits);
        threads.add(made);
        return made;
    }

    /** With nothing worked out yet. */
    private TokenGrammar form() {
        return new TokenGrammar(Grammar.regex(FORM), new Vocabulary(model.tokenizer().bytes()));
    }

    private static GenerationRequest formed(long seed, TokenGrammar form) {
        return new GenerationRequest(Optional.empty(), prompt(seed), sampling(seed), 150, List.of(),
                new Steering(Map.of(), 0, 0, 1, Optional.of(form)), -1);
    }

    /** Without a form, and without an end before its last token. */
    private GenerationRequest free(long seed, int tokens) {
        Map<Integer, Float> bias = new HashMap<>();
        model.tokenizer().eos().forEach(end -> bias.put(end, -100f));
        return new GenerationRequest(Optional.empty(), prompt(seed), sampling(seed), tokens, List.of(),
                new Steering(bias, 0, 0, 1, Optional.empty()), -1);
    }

    private static int[] prompt(long seed) {
        return new SplittableRandom(seed).ints(12, 5, 500).toArray();
    }

    private static Sampling sampling(long seed) {
        return new Sampling(1.5, 1, 0, OptionalLong.of(seed));
    }

    private GenerationEngine engine(Limits limits, SlowMasks masks) {
        GenerationEngine engine = new GenerationEngine(model, residency, limits, Forward.of(model), ServingListener.NONE, masks);
        engines.add(engine);
        return engine;
    }

    private static int[] run(GenerationEngine engine, GenerationRequest request) {
        Transcript transcript = submit(engine, request, _ -> { });
        transcript.finished();
        return transcript.tokens();
    }

    private static Transcript submit(GenerationEngine engine, GenerationRequest request, Consumer<GenerationEvent> also) {
        Transcript transcript = new Transcript(also);
        engine.submit("someone", request, transcript);
        return transcript;
    }
}
