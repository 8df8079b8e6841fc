package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.Problem;
import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Movers and readers of one alias, beside publishers, deleters and a collector; what they saw is held to one order of all changes. */
class LinearizableAliasesTest {

    private static final Aliases.Task FAQ = new Aliases.Task("acme", "base", "faq");
    private static final int THREADS = 5;
    private static final int OPERATIONS = 60;

    @TempDir
    private Path root;
    private final Arena arena = Arena.ofShared();
    private final Deltas base = new Deltas(arena, 5).with("w", 64, 64);
    private final List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 5, 1e-3));

    /** One operation that took effect between two moments: it made the alias's revision, or saw it. */
    private record Seen(long begun, long ended, boolean move, int revision, int number, int expected) {
    }

    private void publish(DeltaRegistry store) {
        store.publish("acme", "base", "faq", Deltas.draft("faq", 16), blocks, base);
    }

    @Test
    void all_moves_and_reads_have_one_order_that_agrees_with_the_clock() throws Exception {
        DeltaRegistry store = Stores.folder(root);
        for (int i = 0; i < 4; i++) {
            publish(store);
        }
        store.aliases().move(FAQ, "production", 1, OptionalInt.of(0));
        List<Callable<List<Seen>>> users = new ArrayList<>();
        for (int thread = 0; thread < THREADS; thread++) {
            SplittableRandom random = new SplittableRandom(thread);
            users.add(() -> use(store.aliases(), random));
        }
        users.add(() -> disturb(store));
        List<Seen> history = new ArrayList<>();
        try (ExecutorService threads = Executors.newFixedThreadPool(users.size())) {
            for (Future<List<Seen>> each : threads.invokeAll(users)) {
                history.addAll(each.get());
            }
        }
        List<Aliases.Move> moves = store.aliases().history(FAQ, "production");
        assertThat(history.stream().filter(Seen::move).count()).isEqualTo(moves.size() - 1L).isGreaterThan(10);
        check(history, moves);
    }

    private static List<Seen> use(Aliases aliases, SplittableRandom random) {
        List<Seen> seen = new ArrayList<>();
        int expected = 1;
        for (int i = 0; i < OPERATIONS; i++) {
            long begun = System.nanoTime();
            if (random.nextBoolean()) {
                Aliases.Alias now = aliases.find(FAQ, "production").orElseThrow();
                seen.add(new Seen(begun, System.nanoTime(), false, now.revision(), now.number(), 0));
                expected = now.number();
            } else {
                int number = 1 + random.nextInt(3);
                try {
                    Aliases.Alias now = aliases.move(FAQ, "production", number, OptionalInt.of(expected));
                    seen.add(new Seen(begun, System.nanoTime(), true, now.revision(), number, expected));
                    expected = number;
                } catch (Problem overtaken) {
                    assertThat(overtaken.code()).isEqualTo(Problem.Code.CONFLICT);
                }
            }
        }
        return seen;
    }

    /** Publishes, deletes and collects; a version that is read meanwhile is whole or not there. */
    private List<Seen> disturb(DeltaRegistry store) {
        for (int i = 0; i < 15; i++) {
            publish(store);
            DeltaVersion latest = store.find("acme", "base", "faq", OptionalInt.empty()).orElseThrow();
            try (Arena loaded = Arena.ofConfined()) {
                assertThat(store.load(latest, Deltas.FINGERPRINT, base, loaded).blocks().getFirst().values()
                        .mismatch(blocks.getFirst().values())).isEqualTo(-1);
            }
            assertThat(store.delete(latest)).isTrue();
            store.collector(Duration.ofMinutes(1)).collect();
            assertThat(store.page("acme", VersionFilter.ALL, Optional.empty(), 9)).hasSize(4);
        }
        return List.of();
    }

    /** Revisions are the order: each move found what the one before had left, and no operation stands before one that ended before it began. */
    private static void check(List<Seen> history, List<Aliases.Move> moves) {
        for (Seen each : history) {
            assertThat(moves.get(each.revision() - 1).to()).as("%s", each).hasValue(each.number());
            if (each.move()) {
                assertThat(moves.get(each.revision() - 2).to()).as("%s", each).hasValue(each.expected());
            }
            for (Seen other : history) {
                if (other.ended() < each.begun()) {
                    assertThat(other.revision()).as("%s ended before %s began", other, each).isLessThanOrEqualTo(each.revision());
                    assertThat(each.move() && other.revision() == each.revision()).isFalse();
                }
            }
        }
    }
}
