package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.inlay.Problem;
import io.inlay.generation.GenerationEngine.Limits;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.KvPool;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * What requests share: passes, memory, beginnings of prompts. None of it may show in an answer. Drawn answers at a high temperature are
 * compared, where a difference in one bit of a logit shows soon.
 */
@Timeout(300)
class SharedTurnsTest {

    private static final int LONGEST_PROMPT = 90;

    @TempDir
    private Path folder;
    private LlamaModel model;
    private DeltaStore store;
    private DeltaResidency residency;
    private final List<GenerationEngine> engines = new ArrayList<>();

    @BeforeEach
    void open() throws IOException {
        Files.createDirectories(folder.resolve("swap"));
        store = Stores.folder(folder.resolve("store"));
    }

    private void open(DType type) {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Golden.of("llama31-like").folder(), ModelOptions.of(type));
        residency = new DeltaResidency(model, store, Long.MAX_VALUE);
    }

    @AfterEach
    void close() {
        engines.forEach(GenerationEngine::close);
        residency.close();
        model.close();
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void an_answer_is_the_same_alone_and_among_hundreds_of_others(DType type) {
        open(type);
        List<Optional<DeltaVersion>> deltas = new ArrayList<>(List.of(Optional.empty()));
        for (int i = 0; i < 4; i++) {
            deltas.add(Optional.of(Deltas.publish(store, model, "task-" + i, i)));
        }
        SplittableRandom random = new SplittableRandom(7);
        List<GenerationRequest> watched = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            watched.add(request(random, deltas.get(i % deltas.size()), 40));
        }
        List<int[]> alone = watched.stream().map(each -> run(engine(new Limits(1, 1)), each)).toList();
        GenerationEngine engine = engine(new Limits(23, 1000));
        List<Transcript> answers = new ArrayList<>();
        List<Transcript> companions = new ArrayList<>();
        for (GenerationRequest each : watched) {
            for (int i = 0; i < 30; i++) {
                companions.add(submit(engine, request(random, deltas.get(random.nextInt(deltas.size())), 1 + random.nextInt(30))));
            }
            answers.add(submit(engine, each));
        }
        companions.forEach(Transcript::finished);
        for (int i = 0; i < alone.size(); i++) {
            answers.get(i).finished();
            assertThat(answers.get(i).tokens()).as("answer %d", i).isEqualTo(alone.get(i));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void a_prompt_whose_beginning_was_there_before_gives_the_same_answer(DType type) {
        open(type);
        DeltaVersion tuned = Deltas.publish(store, model, "task", 3);
        SplittableRandom random = new SplittableRandom(8);
        int[] beginning = random.ints(70, 5, 500).toArray();
        List<GenerationRequest> requests = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            int[] prompt = Stream.of(beginning, random.ints(1 + random.nextInt(40), 5, 500).toArray()).flatMapToInt(Arrays::stream)
                    .toArray();
            requests.add(new GenerationRequest(i % 2 == 0 ? Optional.empty() : Optional.of(tuned), prompt, sampling(i), 30, List.of()));
        }
        List<int[]> fresh = requests.stream().map(each -> run(engine(new Limits(1, 1)), each)).toList();
        GenerationEngine engine = engine(new Limits(1, 100));
        for (int i = 0; i < requests.size(); i++) {
            assertThat(run(engine, requests.get(i))).as("answer %d", i).isEqualTo(fresh.get(i));
        }
        // 70 tokens fill 4 pages: after the first request to each of base and delta they are there.
        await().untilAsserted(() -> assertThat(engine.memory().hits()).isGreaterThanOrEqualTo(4 * 10));
    }

    @ParameterizedTest
    @EnumSource(names = "BF16")
    void a_prompts_beginning_is_found_by_its_own_tenant_and_weights_only(DType type) {
        open(type);
        DeltaVersion one = Deltas.publish(store, model, "one", 3);
        DeltaVersion two = Deltas.publish(store, model, "two", 4);
        int[] prompt = new SplittableRandom(9).ints(65, 5, 500).toArray();
        GenerationEngine engine = engine(new Limits(1, 100));
        record Asker(String tenant, Optional<DeltaVersion> delta) {
        }
        List<Asker> askers = List.of(new Asker("a", Optional.empty()), new Asker("b", Optional.empty()), new Asker("acme", Optional.of(one)),
                new Asker("acme", Optional.of(two)), new Asker("acme", Optional.empty()));
        for (Asker each : askers) {
            ask(engine, each.tenant, each.delta, prompt);
        }
        assertThat(engine.memory().hits()).isZero();
        for (Asker each : askers) {
            ask(engine, each.tenant, each.delta, prompt);
        }
        await().until(() -> engine.memory().asked() == 8L * askers.size());
        assertThat(engine.memory().hits()).isEqualTo(4L * askers.size());
    }

    private void ask(GenerationEngine engine, String tenant, Optional<DeltaVersion> delta, int[] prompt) {
        Transcript transcript = new Transcript();
        engine.submit(tenant, new GenerationRequest(delta, prompt, Sampling.GREEDY, 2, List.of()), transcript);
        transcript.finished();
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void requests_that_do_not_fit_together_are_put_aside_and_give_the_same_answers(DType type) throws IOException {
        open(type);
        DeltaVersion tuned = Deltas.publish(store, model, "task", 3);
        SplittableRandom random = new SplittableRandom(10);
        List<GenerationRequest> requests = new ArrayList<>();
        for (int i = 0; i < 24; i++) {
            requests.add(request(random, i % 2 == 0 ? Optional.empty() : Optional.of(tuned), 120));
        }
        List<int[]> alone = requests.stream().map(each -> run(engine(new Limits(1, 1)), each)).toList();
        int pages = KvPool.pagesFor(LONGEST_PROMPT + 120) + 3;
        GenerationEngine engine = engine(new Limits(8, 100, pages * KvPool.pageBytes(model), folder.resolve("swap")));
        List<Transcript> together = requests.stream().map(each -> submit(engine, each)).toList();
        for (int i = 0; i < alone.size(); i++) {
            together.get(i).finished();
            assertThat(together.get(i).tokens()).as("answer %d", i).isEqualTo(alone.get(i));
        }
        assertThat(engine.memory().putAside()).as("requests put aside").isGreaterThan(5);
        assertThat(engine.memory().pages()).isEqualTo(pages);
        assertThat(engine.figures().cacheBytes()).isZero();
        try (Stream<Path> left = Files.list(folder.resolve("swap"))) {
            assertThat(left).isEmpty();
        }
    }

    @ParameterizedTest
    @EnumSource(names = "BF16")
    void a_request_that_no_memory_would_do_for_is_refused_or_ends_where_memory_does(DType type) {
        open(type);
        GenerationEngine engine = engine(new Limits(4, 4, 3 * KvPool.pageBytes(model), folder));
        int[] prompt = new SplittableRandom(11).ints(48, 5, 500).toArray();
        assertThatThrownBy(() -> submit(engine, new GenerationRequest(Optional.empty(), prompt, Sampling.GREEDY, 5, List.of())))
                .isInstanceOf(Problem.class).hasMessage("the prompt has 48 tokens; the server has memory for 48 in one request, the answer's "
                        + "included; shorten the prompt, or give inlay.generation.cache-bytes more");
        int[] shorter = Arrays.copyOf(prompt, 40);
        Transcript answer = submit(engine, new GenerationRequest(Optional.empty(), shorter, Sampling.GREEDY, 100, List.of()));
        assertThat(answer.finished()).isEqualTo(new GenerationEvent.Finished(FinishReason.LENGTH, 40, 8));
    }

    private static GenerationRequest request(SplittableRandom random, Optional<DeltaVersion> delta, int tokens) {
        int[] prompt = random.ints(1 + random.nextInt(LONGEST_PROMPT), 5, 500).toArray();
        return new GenerationRequest(delta, prompt, sampling(random.nextInt()), tokens, List.of());
    }

    private static Sampling sampling(long seed) {
        return new Sampling(1.5, 1, 0, OptionalLong.of(seed));
    }

    private GenerationEngine engine(Limits limits) {
        GenerationEngine engine = new GenerationEngine(model, residency, limits);
        engines.add(engine);
        return engine;
    }

    private static int[] run(GenerationEngine engine, GenerationRequest request) {
        Transcript transcript = submit(engine, request);
        transcript.finished();
        return transcript.tokens();
    }

    private static Transcript submit(GenerationEngine engine, GenerationRequest request) {
        Transcript transcript = new Transcript();
        engine.submit("someone", request, transcript);
        return transcript;
    }
}
