package io.inlay.bench;

import io.inlay.generation.DeltaResidency;
import io.inlay.generation.GenerationEngine;
import io.inlay.generation.GenerationEvent;
import io.inlay.generation.GenerationRequest;
import io.inlay.generation.Sampling;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.DoubleConsumer;
import java.util.stream.IntStream;

/**
 * A thousand tenants with a delta each, asked in a Zipf distribution at Llama-3.2-1B's shape, with room for 64 of them:
 * how long the first token takes, who had to wait for a load, and whether those who did not were slowed down by it. The same requests with
 * room for all are the comparison.
 */
final class ZipfBench {

    private static final int TENANTS = 1000;
    private static final int RESIDENT = 64;
    private static final int REQUESTS = 200;
    private static final int PROMPT = 24;
    private static final int TOKENS = 4;
    /** Seconds, about twice what a request alone takes on two cores. */
    private static final double MEAN_PAUSE = 1.2;
    private static final double EXPONENT = 1.0;
    /** A tenth of the paper's share, or a thousand deltas would fill the disk with 10 GB. */
    private static final double BUDGET = 0.00084;

    private final LlamaModel model;
    private final List<DeltaVersion> versions;

    /** First-token times of all, and of those whose delta was there. */
    private record Times(List<Double> all, List<Double> resident, long loads) {
    }

    private ZipfBench(LlamaModel model, List<DeltaVersion> versions) {
        this.model = model;
        this.versions = versions;
    }

    public static void main(String[] arguments) throws IOException {
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), BenchModels.llama1b(), ModelOptions.defaults())) {
            DeltaStore store = Stores.folder(BenchModels.cache().resolve("zipf-store"));
            System.err.println("publishing a thousand deltas where they are not there yet ...");
            List<DeltaVersion> versions = ServingContender.publish(store, model, TENANTS, BUDGET);
            ZipfBench bench = new ZipfBench(model, versions);
            long bytes = versions.getFirst().manifest().values() * model.dtype().bytes();
            Times roomy = bench.ask(store, Long.MAX_VALUE);
            Times tight = bench.ask(store, RESIDENT * bytes);
            System.out.printf(Locale.ROOT, "%n%d requests for %d tokens of %d tenants (Zipf, exponent %s), one every %s s, deltas of %.1f MB%n%n",
                    REQUESTS, TOKENS, TENANTS, EXPONENT, MEAN_PAUSE, bytes / 1e6);
            Figures.table(List.of(new String[] {"seconds to the first token", "p50", "p99", "waited for a load"},
                    row("room for all, loaded before", roomy.all(), roomy.loads()), row("room for " + RESIDENT, tight.all(), tight.loads()),
                    row("of these, deltas that were there", tight.resident(), 0)));
            System.out.println();
            Figures.atMost("serving.resident-p99-vs-no-misses", percentile(tight.resident(), 0.99) / percentile(roomy.all(), 0.99), 1.3);
        }
    }

    private static String[] row(String name, List<Double> times, long loads) {
        return new String[] {name, String.format(Locale.ROOT, "%.4f", percentile(times, 0.5)), String.format(Locale.ROOT, "%.4f",
                percentile(times, 0.99)), String.format(Locale.ROOT, "%.0f %%", 100.0 * loads / REQUESTS)};
    }

    private static double percentile(List<Double> times, double share) {
        double[] sorted = times.stream().mapToDouble(Double::doubleValue).sorted().toArray();
        return sorted[(int) Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
    }

    /** Arrivals do not wait for answers: exponential pauses, half of what the server could do alone. */
    private Times ask(DeltaStore store, long budget) {
        double[] cumulative = cumulative();
        int[] tenants = new SplittableRandom(12).doubles(REQUESTS).mapToInt(at -> tenant(cumulative, at)).toArray();
        double[] seconds = new double[REQUESTS];
        boolean[] waited = new boolean[REQUESTS];
        try (DeltaResidency residency = new DeltaResidency(model, store, budget);
                GenerationEngine engine = new GenerationEngine(model, residency, new GenerationEngine.Limits(16, REQUESTS))) {
            Arrays.stream(tenants).distinct().limit(budget == Long.MAX_VALUE ? TENANTS : RESIDENT)
                    .forEach(each -> residency.acquire(versions.get(each)).join().close());
            CountDownLatch ended = new CountDownLatch(REQUESTS);
            SplittableRandom pauses = new SplittableRandom(13);
            long at = System.nanoTime();
            for (int i = 0; i < REQUESTS; i++) {
                at += (long) (-Math.log(1 - pauses.nextDouble()) * MEAN_PAUSE * 1e9);
                LockSupport.parkNanos(at - System.nanoTime());
                int number = i;
                long loads = residency.figures().loads();
                submit(engine, versions.get(tenants[i]), i, taken -> {
                    seconds[number] = taken;
                    ended.countDown();
                });
                // The engine asks for a delta when the request's turn comes, at once unless all places are taken.
                LockSupport.parkNanos(2_000_000);
                waited[i] = residency.figures().loads() != loads;
            }
            ended.await();
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
        List<Double> all = Arrays.stream(seconds).boxed().toList();
        return new Times(all, IntStream.range(0, REQUESTS).filter(i -> !waited[i]).mapToObj(all::get).toList(),
                IntStream.range(0, REQUESTS).filter(i -> waited[i]).count());
    }

    private static double[] cumulative() {
        double[] sums = new double[TENANTS];
        double sum = 0;
        for (int i = 0; i < TENANTS; i++) {
            sum += 1 / Math.pow(i + 1, EXPONENT);
            sums[i] = sum;
        }
        for (int i = 0; i < TENANTS; i++) {
            sums[i] /= sum;
        }
        return sums;
    }

    private static int tenant(double[] cumulative, double at) {
        int found = Arrays.binarySearch(cumulative, at);
        return Math.min(TENANTS - 1, found < 0 ? -found - 1 : found);
    }

    private void submit(GenerationEngine engine, DeltaVersion version, int number, DoubleConsumer taken) {
        int[] prompt = new SplittableRandom(number).ints(PROMPT, 5, model.config().vocabularySize()).toArray();
        AtomicLong first = new AtomicLong();
        long start = System.nanoTime();
        engine.submit(version.tenant(), new GenerationRequest(Optional.of(version), prompt, Sampling.GREEDY, TOKENS, List.of()), event -> {
            first.compareAndSet(0, System.nanoTime());
            if (!(event instanceof GenerationEvent.Text)) {
                taken.accept((first.get() - start) / 1e9);
            }
        });
    }
}
