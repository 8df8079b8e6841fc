package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.inlay.Problem;
import io.inlay.generation.GenerationEngine.Limits;
import io.inlay.generation.GenerationEvent.Finished;
import io.inlay.generation.GenerationEvent.Text;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Asked;
import io.inlay.model.Given;
import io.inlay.model.Golden;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.WeightOverlay;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The engine over golden models (see tests/golden/llama), in fp32. */
@Timeout(120)
class GenerationEngineTest {

    private static final Sampling GREEDY = Sampling.GREEDY;
    private static final Limits ROOMY = new Limits(8, 64);

    private static Libtorch torch;
    private static LlamaModel model;
    private static Golden golden;

    @TempDir
    private Path folder;
    private DeltaStore store;
    private DeltaResidency residency;
    private final List<GenerationEngine> engines = new ArrayList<>();

    @BeforeAll
    static void open() {
        torch = Libtorch.load();
        golden = Golden.of("llama31-like");
        model = LlamaModel.open(torch, CpuKernels.best(), golden.folder(), ModelOptions.of(DType.FP32));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @AfterEach
    void stop() {
        engines.forEach(GenerationEngine::close);
        if (residency != null) {
            residency.close();
        }
    }

    // ---- what is generated ----

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like", "sharded-bf16", "fp16"})
    void greedy_tokens_are_those_of_transformers(String name) {
        Golden given = Golden.of(name);
        try (LlamaModel other = LlamaModel.open(torch, CpuKernels.best(), given.folder(), ModelOptions.of(DType.FP32));
                GenerationEngine engine = new GenerationEngine(other, residency(other), ROOMY)) {
            Transcript transcript = new Transcript();
            engine.submit(request(given.ints("prompt"), GREEDY, 64), transcript);
            Finished end = transcript.finished();
            int[] expected = upToEnd(other, given.ints("greedy"));
            assertThat(transcript.tokens()).isEqualTo(expected);
            assertThat(end.promptTokens()).isEqualTo(12);
            assertThat(end.completionTokens()).isEqualTo(expected.length);
            assertThat(end.reason()).isEqualTo(expected.length < 64 ? FinishReason.STOP : FinishReason.LENGTH);
        }
    }

    private static int[] upToEnd(LlamaModel of, int[] tokens) {
        for (int i = 0; i < tokens.length; i++) {
            if (of.tokenizer().eos().contains(tokens[i])) {
                return Arrays.copyOf(tokens, i + 1);
            }
        }
        return tokens;
    }

    @Test
    void the_texts_add_up_to_the_tokens_text_without_the_prompt() {
        Transcript transcript = run(engine(ROOMY), request(prompt(), GREEDY, 64));
        assertThat(transcript.text()).isEqualTo(model.tokenizer().decode(transcript.tokens())).isNotEmpty();
    }

    @Test
    void the_same_seed_gives_the_same_answer_and_another_seed_another() {
        GenerationEngine engine = engine(ROOMY);
        int[] first = run(engine, request(prompt(), sampling(5), 40)).tokens();
        assertThat(run(engine, request(prompt(), sampling(5), 40)).tokens()).isEqualTo(first);
        assertThat(run(engine, request(prompt(), sampling(6), 40)).tokens()).isNotEqualTo(first);
    }

    @Test
    void interleaved_requests_with_and_without_deltas_give_the_tokens_that_each_gives_alone() {
        GenerationEngine engine = engine(ROOMY);
        DeltaVersion one = Deltas.publish(store, model, "one", 1);
        DeltaVersion two = Deltas.publish(store, model, "two", 2);
        SplittableRandom random = new SplittableRandom(4);
        List<GenerationRequest> requests = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            int[] prompt = random.ints(1 + i * 4, 5, 500).toArray();
            Sampling sampling = i % 2 == 0 ? GREEDY : sampling(i);
            Optional<DeltaVersion> delta = i % 3 == 0 ? Optional.empty() : Optional.of(i % 3 == 1 ? one : two);
            requests.add(new GenerationRequest(delta, prompt, sampling, 10 + i, List.of()));
        }
        List<int[]> alone = requests.stream().map(each -> run(engine, each).tokens()).toList();
        List<Transcript> together = requests.stream().map(each -> submit(engine, each)).toList();
        for (int i = 0; i < requests.size(); i++) {
            together.get(i).finished();
            assertThat(together.get(i).tokens()).as("request %d", i).isEqualTo(alone.get(i));
        }
    }

    /** Counts what rows ask for; where it is told to, whoever steps beside another meets a failure. */
    private static final class CountingForward implements Forward {
        private final Forward real = Forward.of(model);
        private final boolean failing;
        private final Map<Class<?>, Integer> asked = new ConcurrentHashMap<>();
        private volatile boolean failed;

        private CountingForward(boolean failing) {
            this.failing = failing;
        }

        @Override
        public List<Given> step(List<LlamaInference.Row> rows) {
            if (failing && rows.stream().map(LlamaInference.Row::cache).distinct().count() > 1) {
                failed = true;
                throw new IllegalStateException("together");
            }
            rows.forEach(row -> asked.merge(row.asked().getClass(), 1, Integer::sum));
            return real.step(rows);
        }

        @Override
        public void extend(int[] tokens, int whole, KvCache cache, WeightOverlay overlay) {
            real.extend(tokens, whole, cache, overlay);
        }

        @Override
        public void close() {
            real.close();
        }
    }

    @Test
    void a_seed_gives_the_same_answer_where_logits_come_to_the_host_and_only_who_needs_them_gets_them() {
        CountingForward counting = new CountingForward(false);
        GenerationEngine engine = keep(new GenerationEngine(model, residency(model), ROOMY, counting));
        Transcript drawn = submit(engine, request(prompt(), sampling(5), 40));
        Transcript scored = submit(engine,
                new GenerationRequest(Optional.empty(), prompt(), sampling(5), 40, List.of(), Steering.NONE, 0));
        int tokens = drawn.finished().completionTokens();
        assertThat(scored.finished().completionTokens()).isEqualTo(tokens);
        assertThat(scored.tokens()).isEqualTo(drawn.tokens());
        assertThat(counting.asked).containsEntry(Asked.Token.class, tokens).containsEntry(Asked.Logits.class, tokens);
    }

    @Test
    void a_pass_that_fails_for_several_draws_for_each_alone_what_it_would_have_drawn() {
        int[] alone = run(engine(ROOMY), request(prompt(), sampling(5), 40)).tokens();
        CountingForward failing = new CountingForward(true);
        GenerationEngine engine = keep(new GenerationEngine(model, residency(model), ROOMY, failing));
        List<Transcript> together = IntStream.of(5, 6, 5).mapToObj(seed -> submit(engine, request(prompt(), sampling(seed), 40))).toList();
        together.forEach(Transcript::finished);
        assertThat(failing.failed).isTrue();
        assertThat(together.get(0).tokens()).isEqualTo(alone);
        assertThat(together.get(2).tokens()).isEqualTo(alone);
    }

    // ---- where it ends ----

    @Test
    void an_end_token_ends_the_text_and_is_not_part_of_it() {
        GenerationEngine engine = engine(ROOMY);
        Transcript ended = IntStream.range(0, 50)
                .mapToObj(seed -> run(engine, request(prompt(), new Sampling(20, 1, 0, OptionalLong.of(seed)), 300)))
                .filter(each -> each.finished().reason() == FinishReason.STOP).findFirst().orElseThrow();
        int[] tokens = ended.tokens();
        assertThat(model.tokenizer().eos()).contains(tokens[tokens.length - 1]);
        assertThat(Arrays.stream(tokens).limit(tokens.length - 1)).noneMatch(model.tokenizer().eos()::contains);
        assertThat(ended.finished().completionTokens()).isEqualTo(tokens.length);
        assertThat(ended.text()).isEqualTo(model.tokenizer().decode(Arrays.copyOf(tokens, tokens.length - 1)));
    }

    @Test
    void a_stop_string_ends_the_text_before_it_wherever_it_lies_in_the_tokens() {
        GenerationEngine engine = engine(ROOMY);
        Transcript whole = run(engine, request(prompt(), GREEDY, 64));
        String text = whole.text();
        int across = 0;
        for (int from = 0; from + 4 < text.length(); from += 3) {
            if (Character.isLowSurrogate(text.charAt(from)) || Character.isHighSurrogate(text.charAt(from + 3))) {
                continue;
            }
            String stop = text.substring(from, from + 4);
            Transcript stopped = submit(engine, new GenerationRequest(Optional.empty(), prompt(), GREEDY, 64, List.of("never so", stop)));
            assertThat(stopped.finished().reason()).isEqualTo(FinishReason.STOP);
            assertThat(stopped.text()).isEqualTo(text.substring(0, text.indexOf(stop)));
            int drawn = stopped.tokens().length;
            assertThat(stopped.tokens()).isEqualTo(Arrays.copyOf(whole.tokens(), drawn));
            if (drawn > 1 && !model.tokenizer().decode(new int[] {whole.tokens()[drawn - 1]}).contains(stop)) {
                across++;
            }
        }
        assertThat(across).as("stop strings over a token border").isGreaterThan(10);
    }

    @Test
    void text_held_back_for_a_stop_string_that_never_came_is_in_the_answer() {
        GenerationEngine engine = engine(ROOMY);
        Transcript whole = run(engine, request(prompt(), GREEDY, 20));
        String text = whole.text();
        String stop = text.substring(text.length() - 3) + "\u0001 that does not come";
        Transcript held = run(engine, new GenerationRequest(Optional.empty(), prompt(), GREEDY, 20, List.of(stop)));
        assertThat(held.text()).isEqualTo(text);
        assertThat(held.finished().reason()).isEqualTo(FinishReason.LENGTH);
    }

    @Test
    void the_token_limit_and_the_end_of_the_context_end_the_text() {
        GenerationEngine engine = engine(ROOMY);
        assertThat(run(engine, request(prompt(), GREEDY, 1)).finished()).isEqualTo(new Finished(FinishReason.LENGTH, 12, 1));
        int[] nearlyFull = new SplittableRandom(8).ints(model.maxContext() - 3, 5, 500).toArray();
        assertThat(run(engine, request(nearlyFull, GREEDY, Integer.MAX_VALUE)).finished())
                .isEqualTo(new Finished(FinishReason.LENGTH, model.maxContext() - 3, 3));
    }

    // ---- what is refused ----

    @Test
    void a_prompt_over_the_context_is_refused_with_both_numbers() {
        GenerationEngine engine = engine(ROOMY);
        int[] tooLong = new int[model.maxContext() + 88];
        assertRefused(engine, request(tooLong, GREEDY, 1), Problem.Code.CONTEXT_LENGTH_EXCEEDED,
                "the prompt has 600 tokens; model llama31-like takes 512, the answer's included; shorten the prompt");
        assertRefused(engine, request(new int[model.maxContext()], GREEDY, 1), Problem.Code.CONTEXT_LENGTH_EXCEEDED,
                "the prompt has 512 tokens; model llama31-like takes 512, the answer's included; shorten the prompt");
        assertThat(engine.load()).isZero();
    }

    @Test
    void tokens_that_the_model_does_not_have_are_refused() {
        GenerationEngine engine = engine(ROOMY);
        assertRefused(engine, request(new int[] {7, 512}, GREEDY, 1), Problem.Code.INVALID_REQUEST,
                "the prompt has token 512; model llama31-like has tokens 0 to 511");
        assertRefused(engine, request(new int[] {-1}, GREEDY, 1), Problem.Code.INVALID_REQUEST,
                "the prompt has token -1; model llama31-like has tokens 0 to 511");
    }

    @Test
    void requests_that_make_no_sense_are_refused() {
        assertThatThrownBy(() -> request(new int[0], GREEDY, 1)).isInstanceOf(Problem.class)
                .hasMessage("prompt is empty; give at least one token of text");
        assertThatThrownBy(() -> request(prompt(), GREEDY, 0)).isInstanceOf(Problem.class)
                .hasMessage("max_tokens is 0; it must be at least 1");
        assertThatThrownBy(() -> new GenerationRequest(Optional.empty(), prompt(), GREEDY, 1, List.of("a", ""))).isInstanceOf(Problem.class)
                .hasMessage("stop has an empty string; leave it out, or give the text to stop at");
        assertThatThrownBy(() -> new GenerationRequest(Optional.empty(), prompt(), GREEDY, 1, List.of("\uDE42"))).isInstanceOf(Problem.class)
                .hasMessage("stop has a string with half a character (an unpaired surrogate); give whole characters");
    }

    @Test
    void requests_beyond_the_queue_are_refused_and_those_within_are_answered() throws InterruptedException {
        GenerationEngine engine = engine(new Limits(1, 2));
        CountDownLatch hold = new CountDownLatch(1);
        CountDownLatch held = new CountDownLatch(1);
        Transcript first = new Transcript(holding(held, hold));
        engine.submit(request(prompt(), GREEDY, 3), first);
        held.await();
        Transcript second = submit(engine, request(prompt(), GREEDY, 3));
        Transcript third = submit(engine, request(prompt(), GREEDY, 3));
        assertThat(engine.figures().waiting()).isEqualTo(2);
        assertRefused(engine, request(prompt(), GREEDY, 3), Problem.Code.OVERLOADED, "3 requests to model llama31-like are being answered or "
                + "waiting, which is the most that are accepted; try again later");
        hold.countDown();
        assertThat(List.of(first.finished(), second.finished(), third.finished())).containsOnly(new Finished(FinishReason.LENGTH, 12, 3));
        assertThat(run(engine, request(prompt(), GREEDY, 3)).finished().reason()).isEqualTo(FinishReason.LENGTH);
    }

    private void assertRefused(GenerationEngine engine, GenerationRequest request, Problem.Code code, String message) {
        Transcript silent = new Transcript();
        assertThatThrownBy(() -> engine.submit(request, silent)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(code)).hasMessage(message);
        assertThat(silent.events()).isEmpty();
    }

    // ---- turns ----

    @Test
    void each_turn_takes_in_one_prompt_and_gives_every_generation_under_way_a_token() throws InterruptedException {
        GenerationEngine engine = engine(ROOMY);
        List<String> order = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch allThere = new CountDownLatch(1);
        CountDownLatch held = new CountDownLatch(1);
        List<Transcript> all = new ArrayList<>();
        for (String name : List.of("a", "b", "c")) {
            Consumer<GenerationEvent> hold = name.equals("a") ? holding(held, allThere) : _ -> { };
            Transcript transcript = new Transcript(event -> {
                if (event instanceof Text) {
                    order.add(name);
                }
                hold.accept(event);
            });
            engine.submit(request(prompt(), GREEDY, 4), transcript);
            all.add(transcript);
            held.await();
        }
        allThere.countDown();
        all.forEach(Transcript::finished);
        assertThat(String.join("", order)).isEqualTo("a" + "ab" + "abc" + "abc" + "bc" + "c");
    }

    // ---- cancelling ----

    @Test
    void a_cancelled_generation_draws_no_further_token() {
        GenerationEngine engine = engine(ROOMY);
        AtomicReference<Generation> own = new AtomicReference<>();
        CountDownLatch submitted = new CountDownLatch(1);
        int[] seen = {0};
        Transcript transcript = new Transcript(event -> {
            await(submitted);
            if (event instanceof Text && ++seen[0] == 3) {
                own.get().cancel();
            }
        });
        own.set(engine.submit(request(prompt(), GREEDY, 60), transcript));
        submitted.countDown();
        assertThat(transcript.finished()).isEqualTo(new Finished(FinishReason.CANCELLED, 12, 3));
        own.get().cancel();
        assertThat(engine.load()).isZero();
    }

    @Test
    void a_waiting_request_that_is_cancelled_leaves_the_queue_at_once() throws InterruptedException {
        GenerationEngine engine = engine(new Limits(1, 1));
        CountDownLatch release = new CountDownLatch(1);
        CountDownLatch held = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        AtomicReference<Transcript> waiting = new AtomicReference<>();
        // The first request lets the engine go on only after its third token, when the second must be gone.
        List<Boolean> gone = new ArrayList<>();
        Transcript running = new Transcript(event -> {
            if (event instanceof Text) {
                held.countDown();
                await(release);
                gone.add(waiting.get().ended());
                if (gone.size() == 3) {
                    await(goOn);
                }
            }
        });
        engine.submit(request(prompt(), GREEDY, 5), running);
        held.await();
        waiting.set(new Transcript());
        Generation second = engine.submit(request(prompt(), GREEDY, 5), waiting.get());
        second.cancel();
        release.countDown();
        assertThat(waiting.get().finished()).isEqualTo(new Finished(FinishReason.CANCELLED, 12, 0));
        Transcript third = submit(engine, request(prompt(), GREEDY, 2));
        goOn.countDown();
        assertThat(running.finished().completionTokens()).isEqualTo(5);
        assertThat(third.finished().completionTokens()).isEqualTo(2);
        assertThat(gone).startsWith(false, true);
    }

    @Test
    void cancelling_frees_the_cache() {
        assumeTrue(NativeMemory.measurable(), "malloc's own figures are glibc's");
        GenerationEngine engine = engine(ROOMY);
        int rounds = 600;
        long cache = 3L * 2 * 512 * 2 * 16 * 4;
        long settled = 0;
        for (int i = 0; i < 100 + rounds; i++) {
            if (i == 100) {
                settled = NativeMemory.bytes();
            }
            AtomicReference<Generation> own = new AtomicReference<>();
            CountDownLatch submitted = new CountDownLatch(1);
            Transcript transcript = new Transcript(event -> {
                if (event instanceof Text) {
                    await(submitted);
                    own.get().cancel();
                }
            });
            own.set(engine.submit(request(new int[] {100, 101}, GREEDY, 510), transcript));
            submitted.countDown();
            assertThat(transcript.finished()).isEqualTo(new Finished(FinishReason.CANCELLED, 2, 1));
            assertThat(engine.figures().cacheBytes()).isZero();
        }
        assertThat(NativeMemory.bytes() - settled).isLessThan(rounds * cache / 10);
    }

    @Test
    void caches_are_counted_while_they_live() throws InterruptedException {
        GenerationEngine engine = engine(ROOMY);
        CountDownLatch hold = new CountDownLatch(1);
        CountDownLatch second = new CountDownLatch(2);
        Transcript transcript = new Transcript(event -> {
            if (event instanceof Text) {
                second.countDown();
                if (second.getCount() == 0) {
                    await(hold);
                }
            }
        });
        engine.submit(request(prompt(), GREEDY, 60), transcript);
        second.await();
        // The prompt's 12 positions lie in one page of 16, of 3 layers of 2 heads of 16 fp32 keys and as many values.
        assertThat(engine.figures()).isEqualTo(new GenerationEngine.Figures(1, 0, 16L * 3 * 2 * 16 * 4 * 2, 1));
        hold.countDown();
        transcript.finished();
        assertThat(engine.figures()).isEqualTo(new GenerationEngine.Figures(0, 0, 0, 60));
    }

    // ---- failures stay where they are ----

    @Test
    void a_listener_that_throws_cancels_its_own_generation_only() {
        GenerationEngine engine = engine(ROOMY);
        Transcript broken = new Transcript(event -> {
            if (event instanceof Text) {
                throw new IllegalStateException("the client is gone");
            }
        });
        Transcript worse = new Transcript(_ -> {
            throw new AssertionError("not even the end is heard");
        });
        engine.submit(request(prompt(), GREEDY, 20), broken);
        engine.submit(request(prompt(), GREEDY, 20), worse);
        assertThat(run(engine, request(prompt(), GREEDY, 20)).finished().completionTokens()).isEqualTo(20);
        assertThat(broken.finished()).isEqualTo(new Finished(FinishReason.CANCELLED, 12, 1));
        assertThat(worse.finished()).isEqualTo(new Finished(FinishReason.CANCELLED, 12, 1));
        assertThat(engine.load()).isZero();
    }

    @Test
    void a_delta_that_diverged_fails_its_own_request_by_name() {
        GenerationEngine engine = engine(ROOMY);
        DeltaVersion diverged;
        try (Arena arena = Arena.ofConfined()) {
            diverged = Deltas.publish(store, model, "diverged", Deltas.diverged(model, arena));
        }
        Transcript failing = submit(engine, new GenerationRequest(Optional.of(diverged), prompt(), GREEDY, 20, List.of()));
        Transcript base = submit(engine, request(prompt(), GREEDY, 20));
        assertThat(failing.problem()).hasMessageStartingWith("model llama31-like:diverged@1 gave NaN as the logit of token ")
                .extracting(Problem::code).isEqualTo(Problem.Code.NOT_FINITE);
        assertThat(base.tokens()).hasSizeLessThanOrEqualTo(20);
        assertThat(base.finished().completionTokens()).isEqualTo(20);
        assertThat(engine.load()).isZero();
    }

    @Test
    void a_delta_that_cannot_be_loaded_fails_its_own_request() throws IOException {
        GenerationEngine engine = engine(ROOMY);
        DeltaVersion damaged = Deltas.publish(store, model, "damaged", 5);
        Path file = folder.resolve("acme/llama31-like/damaged/1.safetensors");
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length - 100] ^= 0x55;
        Files.write(file, bytes);
        Transcript failing = submit(engine, new GenerationRequest(Optional.of(damaged), prompt(), GREEDY, 20, List.of()));
        Transcript base = submit(engine, request(prompt(), GREEDY, 20));
        assertThat(failing.problem().code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
        assertThat(failing.problem()).hasMessageContaining("damaged/1.safetensors");
        assertThat(base.finished().completionTokens()).isEqualTo(20);
        DeltaVersion deleted = Deltas.publish(store, model, "deleted", 6);
        store.delete(deleted);
        assertThat(submit(engine, new GenerationRequest(Optional.of(deleted), prompt(), GREEDY, 20, List.of())).problem())
                .hasMessage("llama31-like:deleted@1 is no longer there");
    }

    @Test
    void an_unexpected_failure_of_one_step_leaves_the_others_running() {
        FailingForward failing = new FailingForward();
        GenerationEngine engine = keep(new GenerationEngine(model, residency(model), ROOMY, failing));
        int[] marked = {500, 7};
        Transcript healthy = submit(engine, request(prompt(), GREEDY, 20));
        for (Throwable failure : List.of(new IllegalStateException("a bug"), new OutOfMemoryError("no room"))) {
            failing.failure = failure;
            Problem problem = submit(engine, request(marked, GREEDY, 20)).problem();
            assertThat(problem.code()).isEqualTo(Problem.Code.INTERNAL);
            assertThat(problem).hasMessage("the generation with llama31-like failed: " + failure + "; the server's log has the details")
                    .hasCause(failure);
        }
        assertThat(healthy.finished().completionTokens()).isEqualTo(20);
        assertThat(run(engine, request(prompt(), GREEDY, 5)).finished().completionTokens()).isEqualTo(5);
        assertThat(engine.figures().cacheBytes()).isZero();
    }

    /** The model's own passes, except that a prompt with a marked beginning meets a failure in its third token. */
    private static final class FailingForward implements Forward {
        private final Forward real = Forward.of(model);
        private volatile Throwable failure;
        private KvCache marked;

        @Override
        public List<Given> step(List<LlamaInference.Row> rows) {
            for (LlamaInference.Row row : rows) {
                marked = row.cache().length() == 0 && row.token() == 500 ? row.cache() : marked;
                if (row.cache() == marked && row.cache().length() == 3) {
                    throw FailingForward.<RuntimeException>unchecked(failure);
                }
            }
            return real.step(rows);
        }

        @Override
        public void extend(int[] tokens, int whole, KvCache cache, WeightOverlay overlay) {
            real.extend(tokens, whole, cache, overlay);
        }

        @SuppressWarnings("unchecked")
        private static <T extends Throwable> T unchecked(Throwable failure) throws T {
            throw (T) failure;
        }

        @Override
        public void close() {
            real.close();
        }
    }

    // ---- the end of the engine ----

    @Test
    void closing_cancels_what_runs_and_what_waits() throws InterruptedException {
        GenerationEngine engine = engine(new Limits(2, 10));
        CountDownLatch held = new CountDownLatch(1);
        List<Transcript> all = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            Transcript transcript = new Transcript(_ -> held.countDown());
            engine.submit(request(prompt(), GREEDY, 490), transcript);
            all.add(transcript);
        }
        held.await();
        engine.close();
        assertThat(all).allSatisfy(each -> {
            assertThat(each.ended()).isTrue();
            assertThat(each.finished().reason()).isEqualTo(FinishReason.CANCELLED);
        });
        assertThat(engine.figures().cacheBytes()).isZero();
        assertRefused(engine, request(prompt(), GREEDY, 1), Problem.Code.UNAVAILABLE,
                "the server is stopping; ask another one, or again later");
        engine.close();
    }

    @Test
    void draining_accepts_nothing_more_and_lets_the_rest_end() throws InterruptedException {
        GenerationEngine engine = engine(new Limits(1, 10));
        CountDownLatch held = new CountDownLatch(1);
        CountDownLatch hold = new CountDownLatch(1);
        Transcript first = new Transcript(holding(held, hold));
        engine.submit(request(prompt(), GREEDY, 10), first);
        Transcript second = submit(engine, request(prompt(), GREEDY, 10));
        held.await();
        assertThat(engine.drain(Duration.ofMillis(20))).isFalse();
        assertRefused(engine, request(prompt(), GREEDY, 1), Problem.Code.UNAVAILABLE,
                "the server is stopping; ask another one, or again later");
        hold.countDown();
        assertThat(engine.drain(Duration.ofSeconds(60))).isTrue();
        assertThat(List.of(first.finished(), second.finished())).containsOnly(new Finished(FinishReason.LENGTH, 12, 10));
    }

    @Test
    void a_listener_may_close_the_engine() {
        GenerationEngine engine = engine(ROOMY);
        Transcript transcript = new Transcript(_ -> engine.close());
        engine.submit(request(prompt(), GREEDY, 20), transcript);
        assertThat(transcript.finished()).isEqualTo(new Finished(FinishReason.CANCELLED, 12, 1));
    }

    // ---- hands ----

    private static Consumer<GenerationEvent> holding(CountDownLatch held, CountDownLatch hold) {
        return _ -> {
            held.countDown();
            await(hold);
        };
    }

    private static void await(CountDownLatch latch) {
        try {
            if (!latch.await(60, TimeUnit.SECONDS)) {
                throw new IllegalStateException("waited in vain");
            }
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }

    private DeltaResidency residency(LlamaModel of) {
        store = Stores.folder(folder);
        residency = new DeltaResidency(of, store, 1 << 24);
        return residency;
    }

    private GenerationEngine engine(Limits limits) {
        return keep(new GenerationEngine(model, residency(model), limits));
    }

    private GenerationEngine keep(GenerationEngine engine) {
        engines.add(engine);
        return engine;
    }

    private static int[] prompt() {
        return golden.ints("prompt");
    }

    private static Sampling sampling(long seed) {
        return new Sampling(0.9, 0.95, 50, OptionalLong.of(seed));
    }

    private static GenerationRequest request(int[] prompt, Sampling sampling, int maxTokens) {
        return new GenerationRequest(Optional.empty(), prompt, sampling, maxTokens, List.of());
    }

    private static Transcript submit(GenerationEngine engine, GenerationRequest request) {
        Transcript transcript = new Transcript();
        engine.submit(request, transcript);
        return transcript;
    }

    private static Transcript run(GenerationEngine engine, GenerationRequest request) {
        Transcript transcript = submit(engine, request);
        transcript.finished();
        return transcript;
    }
}
