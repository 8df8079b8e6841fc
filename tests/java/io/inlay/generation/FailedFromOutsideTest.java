package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.inlay.Problem;
import io.inlay.generation.GenerationEngine.Limits;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A generation that is ended with a problem, wherever it is: it says so, holds nothing, and the others go on. */
@Timeout(120)
class FailedFromOutsideTest {

    private static final Problem LATE = new Problem(Problem.Code.DEADLINE_EXCEEDED, "too late");

    @TempDir
    private Path folder;
    private final CountDownLatch mayLoad = new CountDownLatch(1);
    private LlamaModel model;
    private DeltaStore store;
    private DeltaResidency residency;
    private GenerationEngine engine;

    @BeforeEach
    void open() {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Golden.of("llama31-like").folder(), ModelOptions.of(DType.BF16));
        DeltaStore real = Stores.folder(folder);
        store = (DeltaStore) Proxy.newProxyInstance(getClass().getClassLoader(), new Class<?>[] {DeltaStore.class},
                (_, method, arguments) -> {
            if (method.getName().equals("load")) {
                mayLoad.await();
            }
            try {
                return method.invoke(real, arguments);
            } catch (InvocationTargetException failure) {
                throw failure.getCause();
            }
        });
        residency = new DeltaResidency(model, store, 1 << 24);
        engine = new GenerationEngine(model, residency, new Limits(1, 10));
    }

    @AfterEach
    void close() {
        mayLoad.countDown();
        engine.close();
        residency.close();
        model.close();
    }

    /** Hot, so that it does not end by itself soon. */
    private static GenerationRequest endless(Optional<DeltaVersion> delta) {
        return new GenerationRequest(delta, new int[] {5, 6, 7}, new Sampling(5, 1, 0, OptionalLong.of(1)), 100_000, List.of());
    }

    private void assertNothingHeld() {
        await().until(() -> engine.load() == 0);
        assertThat(engine.figures().cacheBytes()).isZero();
    }

    @Test
    void while_it_waits_and_while_it_draws() {
        CountDownLatch drawing = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        Transcript first = new Transcript(event -> {
            drawing.countDown();
            try {
                goOn.await();
            } catch (InterruptedException stopped) {
                throw new IllegalStateException(stopped);
            }
        });
        Generation running = engine.submit(endless(Optional.empty()), first);
        try {
            drawing.await();
        } catch (InterruptedException stopped) {
            throw new IllegalStateException(stopped);
        }
        Transcript second = new Transcript();
        Generation waiting = engine.submit(endless(Optional.empty()), second);
        assertThat(waiting.phases().begun()).isZero();
        waiting.fail(LATE);
        running.fail(LATE);
        goOn.countDown();
        assertThat(second.problem()).isSameAs(LATE);
        assertThat(second.tokens()).isEmpty();
        assertThat(first.problem()).isSameAs(LATE);
        assertThat(first.tokens()).isNotEmpty();
        assertThat(running.phases().drawn()).isGreaterThanOrEqualTo(running.phases().opened());
        assertNothingHeld();
    }

    @Test
    void while_its_delta_is_loaded_which_then_stays_for_others() {
        DeltaVersion version = Deltas.publish(store, model, "slow", 1);
        Transcript transcript = new Transcript();
        Generation loading = engine.submit(endless(Optional.of(version)), transcript);
        await().until(() -> loading.phases().begun() != 0 && residency.standing(version).loading());
        loading.fail(LATE);
        assertThat(transcript.problem()).isSameAs(LATE);
        assertNothingHeld();
        assertThat(residency.standing(version).users()).isZero();
        mayLoad.countDown();
        Transcript next = new Transcript();
        engine.submit(new GenerationRequest(Optional.of(version), new int[] {5}, Sampling.GREEDY, 2, List.of()), next);
        next.finished();
        assertThat(residency.figures().loads()).isEqualTo(1);
    }
}
