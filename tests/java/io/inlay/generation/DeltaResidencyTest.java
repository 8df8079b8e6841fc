package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;
import static org.hamcrest.Matchers.equalTo;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.inlay.Problem;
import io.inlay.delta.BaseMatrices;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.generation.DeltaResidency.Lease;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.store.LoadedDelta;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class DeltaResidencyTest {

    private static final long PLENTY = 1 << 24;

    private static Libtorch torch;
    private static LlamaModel model;

    @TempDir
    private Path folder;
    private WatchedStore store;
    private DeltaVersion a;
    private DeltaVersion b;
    private DeltaVersion c;
    private DeltaResidency residency;

    @BeforeAll
    static void open() {
        torch = Libtorch.load();
        model = LlamaModel.open(torch, CpuKernels.best(), Golden.of("sharded-bf16").folder(), ModelOptions.of(DType.BF16));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @BeforeEach
    void publish() {
        store = new WatchedStore(Stores.folder(folder));
        a = Deltas.publish(store, model, "a", 1);
        b = Deltas.publish(store, model, "b", 2);
        c = Deltas.publish(store, model, "c", 3);
    }

    @AfterEach
    void stop() {
        if (residency != null) {
            residency.close();
        }
    }

    @Test
    void a_delta_is_loaded_once_however_many_ask_at_the_same_time() {
        residency = new DeltaResidency(model, store, PLENTY);
        store.hold = new CountDownLatch(1);
        List<CompletableFuture<Lease>> all = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            all.add(residency.acquire(a));
        }
        assertThat(all).noneMatch(CompletableFuture::isDone);
        store.hold.countDown();
        List<Lease> leases = all.stream().map(DeltaResidencyTest::get).toList();
        assertThat(leases.stream().map(Lease::overlay).distinct()).hasSize(1);
        assertThat(store.loads).hasValue(1);
        assertThat(residency.figures()).isEqualTo(new DeltaResidency.Figures(1, bytes(a), 19, 1));
        leases.forEach(Lease::close);
        get(residency.acquire(a)).close();
        assertThat(residency.figures()).isEqualTo(new DeltaResidency.Figures(1, bytes(a), 20, 1));
    }

    @Test
    void loading_does_not_happen_on_the_callers_thread() {
        residency = new DeltaResidency(model, store, PLENTY);
        get(residency.acquire(a)).close();
        assertThat(store.loader.get()).isNotNull().isNotSameAs(Thread.currentThread());
    }

    @Test
    void the_least_recently_used_is_freed_for_the_next() {
        residency = new DeltaResidency(model, store, bytes(a) + Math.max(bytes(b), bytes(c)));
        get(residency.acquire(a)).close();
        get(residency.acquire(b)).close();
        get(residency.acquire(a)).close();
        get(residency.acquire(c)).close();
        assertThat(residency.figures()).isEqualTo(new DeltaResidency.Figures(2, bytes(a) + bytes(c), 1, 3));
        get(residency.acquire(a)).close();
        assertThat(residency.figures().loads()).isEqualTo(3);
        get(residency.acquire(b)).close();
        assertThat(residency.figures().loads()).isEqualTo(4);
    }

    @Test
    void a_delta_in_use_is_never_freed_and_the_next_waits_for_it() {
        residency = new DeltaResidency(model, store, largest());
        Lease first = get(residency.acquire(a));
        Lease again = get(residency.acquire(a));
        CompletableFuture<Lease> waiting = residency.acquire(b);
        first.close();
        first.close();
        assertThatThrownBy(() -> waiting.get(200, TimeUnit.MILLISECONDS)).isInstanceOf(TimeoutException.class);
        assertThat(residency.figures()).isEqualTo(new DeltaResidency.Figures(1, bytes(a), 1, 2));
        again.close();
        get(waiting).close();
        assertThat(residency.figures()).isEqualTo(new DeltaResidency.Figures(1, bytes(b), 1, 2));
    }

    @Test
    void a_cancelled_claim_frees_its_place_in_the_line() {
        residency = new DeltaResidency(model, store, largest());
        Lease held = get(residency.acquire(a));
        CompletableFuture<Lease> given = residency.acquire(b);
        CompletableFuture<Lease> waiting = residency.acquire(c);
        given.cancel(false);
        held.close();
        get(waiting).close();
        assertThat(store.loads).hasValue(2);
        get(residency.acquire(b)).close();
    }

    @Test
    void a_claim_cancelled_while_loading_leaves_the_delta_unused() {
        residency = new DeltaResidency(model, store, largest());
        store.hold = new CountDownLatch(1);
        CompletableFuture<Lease> given = residency.acquire(a);
        CompletableFuture<Lease> kept = residency.acquire(a);
        given.cancel(false);
        store.hold.countDown();
        get(kept).close();
        get(residency.acquire(b)).close();
        assertThat(residency.figures().resident()).isEqualTo(1);
    }

    @Test
    void a_delta_larger_than_the_budget_is_refused_with_both_numbers() {
        residency = new DeltaResidency(model, store, 1000);
        assertThat(problem(residency.acquire(a))).hasMessage("sharded-bf16:a@1 takes " + bytes(a) + " bytes in memory, more than the 1000 for "
                + "all deltas together; raise the budget for deltas").extracting(Problem::code).isEqualTo(Problem.Code.UNAVAILABLE);
        assertThat(store.loads).hasValue(0);
    }

    @Test
    void a_failed_load_fails_those_who_asked_and_is_tried_again_for_the_next() throws IOException {
        residency = new DeltaResidency(model, store, PLENTY);
        Path file = folder.resolve("acme/sharded-bf16/a/1.safetensors");
        byte[] whole = Files.readAllBytes(file);
        byte[] damaged = whole.clone();
        damaged[damaged.length - 200] ^= 0x11;
        Files.write(file, damaged);
        store.hold = new CountDownLatch(1);
        CompletableFuture<Lease> first = residency.acquire(a);
        CompletableFuture<Lease> second = residency.acquire(a);
        store.hold.countDown();
        assertThat(problem(first).code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
        assertThat(problem(second)).isSameAs(problem(first));
        get(residency.acquire(b)).close();
        Files.write(file, whole);
        get(residency.acquire(a)).close();
        assertThat(residency.figures()).isEqualTo(new DeltaResidency.Figures(2, bytes(a) + bytes(b), 1, 3));
    }

    @Test
    void a_delta_of_another_base_is_refused() {
        try (LlamaModel other = LlamaModel.open(torch, CpuKernels.best(), Golden.of("llama2-like").folder(), ModelOptions.of(DType.BF16));
                DeltaResidency ofOther = new DeltaResidency(other, store, PLENTY)) {
            assertThat(problem(ofOther.acquire(a)).code()).isEqualTo(Problem.Code.BASE_MISMATCH);
        }
    }

    @Test
    void an_unexpected_failure_to_load_becomes_a_problem() {
        residency = new DeltaResidency(model, store, PLENTY);
        store.failure = new IllegalStateException("a bug");
        assertThat(problem(residency.acquire(a))).hasMessage("sharded-bf16:a@1 could not be loaded: java.lang.IllegalStateException: a bug")
                .extracting(Problem::code).isEqualTo(Problem.Code.INTERNAL);
        store.failure = null;
        get(residency.acquire(a)).close();
    }

    @Test
    void blocks_of_a_model_in_fp32_take_twice_the_bytes() {
        try (LlamaModel wide = LlamaModel.open(torch, CpuKernels.best(), Golden.of("sharded-bf16").folder(), ModelOptions.of(DType.FP32));
                DeltaResidency ofWide = new DeltaResidency(wide, store, PLENTY)) {
            get(ofWide.acquire(a)).close();
            assertThat(ofWide.figures().bytes()).isEqualTo(2 * bytes(a));
        }
    }

    @Test
    void memory_stays_flat_while_deltas_come_and_go() {
        assumeTrue(NativeMemory.measurable(), "malloc's own figures are glibc's");
        residency = new DeltaResidency(model, store, largest());
        SplittableRandom random = new SplittableRandom(5);
        long settled = 0;
        int rounds = 1500;
        for (int i = 0; i < 50 + rounds; i++) {
            if (i == 50) {
                settled = NativeMemory.bytes();
            }
            get(residency.acquire(List.of(a, b, c).get((i + random.nextInt(2)) % 3))).close();
        }
        assertThat(residency.figures().loads()).isGreaterThan(1000);
        // The compiler's and the collector's own memory is in there too: the bound is a part of what a leak would come to, and what a method's
        // compilation takes is waited for until it is over.
        long grown = NativeMemory.bytes() - settled;
        for (int i = 0; i < 100 && grown >= 1000 * bytes(a) / 3; i++) {
            LockSupport.parkNanos(100_000_000);
            grown = NativeMemory.bytes() - settled;
        }
        assertThat(grown).isLessThan(1000 * bytes(a) / 3);
    }

    @Test
    void threads_that_come_and_go_never_see_a_freed_delta() throws InterruptedException {
        residency = new DeltaResidency(model, store, 2 * largest());
        AtomicReference<Throwable> failure = new AtomicReference<>();
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 6; t++) {
            SplittableRandom random = new SplittableRandom(t);
            threads.add(Thread.ofPlatform().start(() -> {
                try {
                    for (int i = 0; i < 60; i++) {
                        CompletableFuture<Lease> asked = residency.acquire(List.of(a, b, c).get(random.nextInt(3)));
                        if (random.nextInt(4) != 0 || !asked.cancel(false)) {
                            try (Lease lease = get(asked)) {
                                assertThat(lease.overlay().bytes()).isPositive();
                                assertThat(residency.figures().bytes()).isLessThanOrEqualTo(2 * largest());
                            }
                        }
                    }
                } catch (Throwable thrown) {
                    failure.set(thrown);
                }
            }));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertThat(failure).hasNullValue();
        residency.close();
        assertThat(residency.figures().bytes()).isZero();
    }

    @Test
    void closing_waits_for_loads_and_leaves_what_is_in_use_until_it_is_given_back() {
        residency = new DeltaResidency(model, store, PLENTY);
        Lease held = get(residency.acquire(a));
        get(residency.acquire(b)).close();
        store.hold = new CountDownLatch(1);
        CompletableFuture<Lease> loading = residency.acquire(c);
        await().untilAtomic(store.loads, equalTo(3));
        Thread closing = Thread.ofPlatform().start(residency::close);
        await().until(() -> closing.getState() == Thread.State.WAITING);
        assertThat(loading).isNotDone();
        store.hold.countDown();
        await().until(() -> !closing.isAlive());
        assertThat(loading).isDone();
        get(loading).close();
        assertThat(residency.figures()).isEqualTo(new DeltaResidency.Figures(1, bytes(a), 0, 3));
        assertThat(held.overlay().bytes()).isEqualTo(bytes(a));
        held.close();
        assertThat(residency.figures().bytes()).isZero();
        assertThatThrownBy(() -> residency.acquire(a)).isInstanceOf(Problem.class)
                .hasMessage("the server is stopping; ask another one, or again later");
    }

    private static long bytes(DeltaVersion version) {
        return 2 * version.manifest().values();
    }

    private long largest() {
        return Math.max(bytes(a), Math.max(bytes(b), bytes(c)));
    }

    private static Lease get(CompletableFuture<Lease> future) {
        try {
            return future.get(60, TimeUnit.SECONDS);
        } catch (InterruptedException | ExecutionException | TimeoutException failure) {
            throw new IllegalStateException(failure);
        }
    }

    private static Problem problem(CompletableFuture<Lease> future) {
        try {
            future.get(60, TimeUnit.SECONDS).close();
            return null;
        } catch (ExecutionException failure) {
            return (Problem) failure.getCause();
        } catch (InterruptedException | TimeoutException failure) {
            throw new IllegalStateException(failure);
        }
    }

    /** A real store whose loads are counted, and can be held up or made to fail. */
    private static final class WatchedStore implements DeltaStore {
        private final DeltaStore store;
        private final AtomicInteger loads = new AtomicInteger();
        private final AtomicReference<Thread> loader = new AtomicReference<>();
        private volatile CountDownLatch hold = new CountDownLatch(0);
        private volatile RuntimeException failure;

        private WatchedStore(DeltaStore store) {
            this.store = store;
        }

        @Override
        public DeltaVersion publish(String tenant, String base, String task, DeltaManifest draft, List<TensorBlocks> blocks,
                List<WholeTensor> tensors, BaseMatrices matrices) {
            return store.publish(tenant, base, task, draft, blocks, tensors, matrices);
        }

        @Override
        public List<DeltaVersion> list(String tenant) {
            return store.list(tenant);
        }

        @Override
        public Optional<DeltaVersion> find(String tenant, String base, String task, OptionalInt number) {
            return store.find(tenant, base, task, number);
        }

        @Override
        public Optional<DeltaVersion> findByAlias(String tenant, String base, String task, String alias) {
            return store.findByAlias(tenant, base, task, alias);
        }

        @Override
        public Optional<DeltaVersion> findByJob(String tenant, String job) {
            return store.findByJob(tenant, job);
        }

        @Override
        public void lease(DeltaVersion version) {
            store.lease(version);
        }

        @Override
        public LoadedDelta load(DeltaVersion version, String baseFingerprint, BaseMatrices matrices, Arena arena) {
            loads.incrementAndGet();
            loader.set(Thread.currentThread());
            try {
                hold.await();
            } catch (InterruptedException interrupted) {
                throw new IllegalStateException(interrupted);
            }
            if (failure != null) {
                throw failure;
            }
            return store.load(version, baseFingerprint, matrices, arena);
        }

        @Override
        public boolean delete(DeltaVersion version) {
            return store.delete(version);
        }
    }
}
