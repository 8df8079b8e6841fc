package io.inlay.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.management.ThreadMXBean;
import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.TensorBlocks;
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
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Inlay's side of {@code bench serving}, the engine without HTTP: {@code ServingContender CHECKPOINT STORE}. Commands: {@code streams N
 * TENANTS} (tokens a second of N streams, of so many tenants with a delta each; 0 asks the base), {@code answers N TOKENS} (tokens a second
 * of N answers of that length, from the first request to the last answer's end), {@code first TENANTS} (seconds to the
 * first token of a 512-token prompt), {@code bandwidth} (bytes a second that all cores read), {@code gemm} (seconds of libtorch's products
 * of a prefill of 512 tokens), {@code switch} (seconds and bytes on the heap of a switch of a resident delta).
 */
final class ServingContender {

    static final int TENANTS = 16;
    private static final int PROMPT = 512;
    private static final int DECODED = 48;
    private static final int EDGE = 256;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final LlamaModel model;
    private final GenerationEngine engine;
    private final DeltaResidency residency;
    private final List<DeltaVersion> versions;
    private final SplittableRandom random = new SplittableRandom(1);
    private final PrefillFloor floor;

    private ServingContender(LlamaModel model, DeltaStore store) {
        this.model = model;
        this.residency = new DeltaResidency(model, store, Long.MAX_VALUE);
        this.engine = new GenerationEngine(model, residency, new GenerationEngine.Limits(TENANTS, TENANTS));
        this.versions = publish(store, model, TENANTS, Contender.BUDGET);
        this.floor = new PrefillFloor(model, PROMPT);
    }

    public static void main(String[] arguments) throws IOException {
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of(arguments[0]), ModelOptions.defaults())) {
            ServingContender contender = new ServingContender(model, Stores.folder(Path.of(arguments[1])));
            System.out.println("{\"ready\": \"serving\"}");
            BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
            for (String command = commands.readLine(); command != null && !command.equals("quit"); command = commands.readLine()) {
                System.out.println(contender.answer(command.split(" ")));
            }
            contender.engine.close();
            contender.residency.close();
        }
    }

    /** One delta a tenant: the paper's share of all parameters, spread over q, k and v, other places for each. */
    static List<DeltaVersion> publish(DeltaStore store, LlamaModel model, int tenants, double budget) {
        List<DeltaVersion> versions = new ArrayList<>();
        for (int tenant = 0; tenant < tenants; tenant++) {
            String name = "tenant-" + tenant;
            Optional<DeltaVersion> there = store.find(name, model.name(), "bench", OptionalInt.empty());
            versions.add(there.orElseGet(() -> publish(store, model, name, budget)));
        }
        return versions;
    }

    private static DeltaVersion publish(DeltaStore store, LlamaModel model, String tenant, double budget) {
        SplittableRandom random = new SplittableRandom(tenant.hashCode());
        try (Arena arena = Arena.ofConfined()) {
            List<TensorBlocks> blocks = new ArrayList<>();
            SortedMap<String, List<BlockCoordinate>> selection = Contender.selection(model, budget);
            selection.forEach((tensor, places) -> {
                var matrix = model.matrix(tensor);
                int down = matrix.rows() / EDGE;
                int across = matrix.columns() / EDGE;
                List<BlockCoordinate> chosen = random.ints(0, down * across).distinct().limit(places.size()).sorted()
                        .mapToObj(k -> new BlockCoordinate(k / across, k % across)).toList();
                MemorySegment values = arena.allocate(2L * EDGE * EDGE * chosen.size(), 64);
                for (int b = 0; b < chosen.size(); b++) {
                    for (int i = 0; i < EDGE * EDGE; i++) {
                        long at = (long) (chosen.get(b).row() * EDGE + i / EDGE) * matrix.columns() + chosen.get(b).column() * EDGE + i % EDGE;
                        short under = matrix.bits().get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at);
                        values.setAtIndex(ValueLayout.JAVA_SHORT, (long) b * EDGE * EDGE + i, (short) (under ^ random.nextInt(8)));
                    }
                }
                blocks.add(new TensorBlocks(tensor, matrix.rows(), matrix.columns(), EDGE, chosen, values));
            });
            DeltaManifest draft = DeltaManifest.draft(model.name(), model.fingerprint(), "bench", EDGE, Instant.now().toString(), "bench", Map.of(),
                    "", Map.of(), "bench");
            return store.publish(tenant, model.name(), "bench", draft, blocks, model);
        }
    }

    private ObjectNode answer(String[] command) {
        ObjectNode answer = JSON.createObjectNode();
        switch (command[0]) {
            case "streams" -> answer.put("rate", streams(Integer.parseInt(command[1]), Integer.parseInt(command[2])));
            case "answers" -> answer.put("rate", answers(Integer.parseInt(command[1]), Integer.parseInt(command[2])));
            case "first" -> answer.put("seconds", first(Integer.parseInt(command[1])));
            case "bandwidth" -> answer.put("rate", ReadBandwidth.measure());
            case "gemm" -> answer.put("seconds", floor.seconds());
            case "switch" -> switching(answer);
            case "bytes" -> answer.put("bytes", model.parameterCount() * model.dtype().bytes());
            default -> throw new IllegalArgumentException("command " + command[0]);
        }
        return answer;
    }

    private Optional<DeltaVersion> delta(int stream, int tenants) {
        return tenants == 0 ? Optional.empty() : Optional.of(versions.get(stream % tenants));
    }

    /** Tokens a second from when all streams are under way until the first ends. */
    private double streams(int count, int tenants) {
        AtomicInteger underWay = new AtomicInteger();
        AtomicInteger tokens = new AtomicInteger();
        AtomicLong start = new AtomicLong();
        AtomicLong end = new AtomicLong();
        CountDownLatch all = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            int[] seen = {0};
            engine.submit("bench", new GenerationRequest(delta(i, tenants), prompt(32), Sampling.GREEDY, DECODED + count, List.of()), event -> {
                if (event instanceof GenerationEvent.Text) {
                    if (++seen[0] == 2 && underWay.incrementAndGet() == count) {
                        start.set(System.nanoTime());
                    } else if (start.get() != 0 && end.get() == 0) {
                        tokens.incrementAndGet();
                    }
                } else {
                    end.compareAndSet(0, System.nanoTime());
                    all.countDown();
                }
            });
        }
        await(all);
        return tokens.get() / ((end.get() - start.get()) / 1e9);
    }

    private double answers(int count, int tokens) {
        CountDownLatch all = new CountDownLatch(count);
        long start = System.nanoTime();
        for (int i = 0; i < count; i++) {
            engine.submit("bench", new GenerationRequest(Optional.empty(), prompt(32), Sampling.GREEDY, tokens, List.of()), event -> {
                if (!(event instanceof GenerationEvent.Text)) {
                    all.countDown();
                }
            });
        }
        await(all);
        return count * tokens / ((System.nanoTime() - start) / 1e9);
    }

    private double first(int tenants) {
        CountDownLatch ended = new CountDownLatch(1);
        AtomicLong at = new AtomicLong();
        long start = System.nanoTime();
        engine.submit("bench", new GenerationRequest(delta(random.nextInt(TENANTS), tenants), prompt(PROMPT), Sampling.GREEDY, 1, List.of()),
                event -> {
                    at.compareAndSet(0, System.nanoTime());
                    if (!(event instanceof GenerationEvent.Text)) {
                        ended.countDown();
                    }
                });
        await(ended);
        return (at.get() - start) / 1e9;
    }

    private int[] prompt(int length) {
        return random.ints(length, 5, model.config().vocabularySize()).toArray();
    }

    private void switching(ObjectNode answer) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        versions.forEach(each -> residency.acquire(each).join().close());
        List<Double> seconds = new ArrayList<>();
        int times = 10_000;
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < times; i++) {
            long start = System.nanoTime();
            residency.acquire(versions.get(i % TENANTS)).join().close();
            seconds.add((System.nanoTime() - start) / 1e9);
        }
        answer.put("bytes", (threads.getCurrentThreadAllocatedBytes() - before) / times);
        answer.put("seconds", Figures.median(seconds));
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }
}
