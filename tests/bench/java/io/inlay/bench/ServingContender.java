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
import io.inlay.model.LlamaModel;
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
import java.util.stream.IntStream;

/**
 * Inlay's side of {@code bench serving}, the engine without HTTP: {@code ServingContender CHECKPOINT STORE [DEVICE TENANTS BLOCKS]}, for
 * {@value #TENANTS} tenants with a delta of the paper's share each unless their number and their blocks are given. Commands: {@code streams N
 * TENANTS} (tokens a second of N streams, of so many tenants with a delta each; 0 asks the base), {@code answers N TOKENS} (tokens a second
 * of N answers of that length, from the first request to the last answer's end), {@code first TENANTS [LENGTH]} (seconds to the
 * first token of a prompt of 512 tokens or as many as are given), {@code bandwidth} (bytes a second that all cores read, over as many as the model has), {@code gemm} (seconds of libtorch's products
 * of a prefill of 512 tokens), {@code switch} (seconds and bytes on the heap of a switch of a resident delta), {@code load} (seconds of a delta
 * from its file, which was read lately, to blocks that requests can use), {@code switches N} (whether the base's digest is the same after so many
 * switches among all tenants' deltas, and their seconds).
 */
final class ServingContender {

    static final int TENANTS = 16;
    private static final int PROMPT = 512;
    private static final int DECODED = 48;
    private static final int EDGE = 256;
    private static final int LOADS = 8;
    /** What a stream of {@code streams} may fill, with room for as many streams as a GPU serves at once. */
    private static final int POSITIONS = 512;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final LlamaModel model;
    private final DeltaStore store;
    private final GenerationEngine engine;
    private final DeltaResidency residency;
    private final List<DeltaVersion> versions;
    private final SplittableRandom random = new SplittableRandom(1);
    private final PrefillFloor floor;

    private ServingContender(LlamaModel model, DeltaStore store, int tenants, double budget) {
        this.model = model;
        this.store = store;
        this.residency = new DeltaResidency(model, store, Long.MAX_VALUE);
        GenerationEngine.Limits usual = new GenerationEngine.Limits(tenants, tenants);
        this.engine = new GenerationEngine(model, residency, new GenerationEngine.Limits(tenants, tenants,
                Math.max(usual.cacheBytes(), tenants * positionBytes(model) * POSITIONS), usual.swapFolder()));
        this.versions = publish(store, model, tenants, budget);
        this.floor = new PrefillFloor(model, PROMPT);
    }

    private static long positionBytes(LlamaModel model) {
        return 2L * model.config().layers() * model.config().keyValueHeads() * model.config().headDim() * model.dtype().bytes();
    }

    public static void main(String[] arguments) throws IOException {
        BenchDevice device = BenchDevice.argument(arguments, 2);
        Libtorch torch = Libtorch.load();
        try (LlamaModel model = device.open(torch, device.kernels(torch), Path.of(arguments[0]))) {
            int tenants = arguments.length > 3 ? Integer.parseInt(arguments[3]) : TENANTS;
            double budget = arguments.length > 4 ? budget(model, Integer.parseInt(arguments[4])) : Contender.BUDGET;
            ServingContender contender = new ServingContender(model, Stores.folder(Path.of(arguments[1])), tenants, budget);
            System.out.println("{\"ready\": \"serving\"}");
            BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
            for (String command = commands.readLine(); command != null && !command.equals("quit"); command = commands.readLine()) {
                System.out.println(contender.answer(command.split(" ")));
            }
            contender.engine.close();
            contender.residency.close();
        }
    }

    /** The share of all parameters that is so many blocks, and half of one for rounding. */
    static double budget(LlamaModel model, int blocks) {
        return (blocks + 0.5) * EDGE * EDGE / model.parameterCount();
    }

    /** One delta a tenant: the paper's share of all parameters, spread over q, k and v, other places for each. */
    static List<DeltaVersion> publish(DeltaStore store, LlamaModel model, int tenants, double budget) {
        return IntStream.range(0, tenants).parallel().mapToObj(tenant -> {
            String name = "tenant-" + tenant;
            Optional<DeltaVersion> there = store.find(name, model.name(), "bench", OptionalInt.empty());
            return there.orElseGet(() -> publish(store, model, name, budget));
        }).toList();
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
            case "first" -> answer.put("seconds",
                    first(Integer.parseInt(command[1]), command.length > 2 ? Integer.parseInt(command[2]) : PROMPT));
            case "bandwidth" -> answer.put("rate", ReadBandwidth.measure(model.bytes()));
            case "gemm" -> answer.put("seconds", floor.seconds());
            case "switch" -> switching(answer);
            case "load" -> answer.put("seconds", load());
            case "switches" -> switches(answer, Integer.parseInt(command[1]));
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

    private double first(int tenants, int length) {
        CountDownLatch ended = new CountDownLatch(1);
        AtomicLong at = new AtomicLong();
        long start = System.nanoTime();
        engine.submit("bench", new GenerationRequest(delta(random.nextInt(versions.size()), tenants), prompt(length), Sampling.GREEDY, 1, List.of()),
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
            residency.acquire(versions.get(i % versions.size())).join().close();
            seconds.add((System.nanoTime() - start) / 1e9);
        }
        answer.put("bytes", (threads.getCurrentThreadAllocatedBytes() - before) / times);
        answer.put("seconds", Figures.median(seconds));
    }

    /** In a residency of its own with room for one, so that each comes from its file. */
    private double load() {
        List<Double> seconds = new ArrayList<>();
        try (DeltaResidency one = new DeltaResidency(model, store, 2 * versions.getFirst().manifest().values())) {
            for (int i = 0; i < LOADS; i++) {
                long start = System.nanoTime();
                one.acquire(versions.get(i % versions.size())).join().close();
                seconds.add((System.nanoTime() - start) / 1e9);
            }
            if (one.figures().loads() != LOADS) {
                throw new IllegalStateException("of " + LOADS + " deltas only " + one.figures().loads() + " were loaded");
            }
        }
        return Figures.median(seconds.subList(1, LOADS));
    }

    private void switches(ObjectNode answer, int times) {
        String before = model.digest();
        long start = System.nanoTime();
        for (int i = 0; i < times; i++) {
            residency.acquire(versions.get(random.nextInt(versions.size()))).join().close();
        }
        answer.put("seconds", (System.nanoTime() - start) / 1e9).put("untouched", model.digest().equals(before));
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }
}
