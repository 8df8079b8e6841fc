package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

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
import java.util.OptionalLong;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a registry does whatever its files are kept on and whatever its database is. */
abstract class RegistryContract {

    private static final Aliases.Task FAQ = new Aliases.Task("acme", "base", "faq");

    @TempDir
    private Path folder;
    private final Arena arena = Arena.ofShared();
    private final Deltas base = new Deltas(arena, 5).with("w", 64, 64);
    private final List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 5, 1e-3));

    /** A registry that is empty when it is made for the first time in a test, and otherwise the same again. */
    abstract DeltaRegistry registry(Path folder, Quota quota, Duration lease) throws Exception;

    private DeltaRegistry registry() throws Exception {
        return registry(folder, Quota.NONE, Duration.ofMinutes(10));
    }

    private DeltaVersion publish(DeltaStore store, String tenant, String task) {
        return store.publish(tenant, "base", task, Deltas.draft(task, 16), blocks, base);
    }

    private static List<String> models(List<DeltaVersion> versions) {
        return versions.stream().map(DeltaVersion::model).toList();
    }

    @Test
    void versions_are_found_by_number_alias_and_as_the_latest_and_load_bit_for_bit() throws Exception {
        DeltaRegistry registry = registry();
        DeltaVersion first = publish(registry, "acme", "faq");
        DeltaVersion second = publish(registry, "acme", "faq");
        registry.aliases().move(FAQ, "production", 1, OptionalInt.empty());
        DeltaRegistry again = registry();
        assertThat(again.resolve("acme", "base:faq")).isEqualTo(second);
        assertThat(again.resolve("acme", "base:faq@1")).isEqualTo(first);
        assertThat(again.resolve("acme", "base:faq@production")).isEqualTo(first);
        assertThat(again.findByJob("acme", "ftjob-1")).isPresent();
        assertThatThrownBy(() -> again.resolve("other", "base:faq@1")).isInstanceOf(Problem.class)
                .hasMessage("there is no version 'base:faq@1'; GET /v1/deltas lists yours");
        try (Arena loaded = Arena.ofConfined()) {
            assertThat(again.load(first, Deltas.FINGERPRINT, base, loaded).blocks().getFirst().values().mismatch(blocks.getFirst().values()))
                    .isEqualTo(-1);
        }
    }

    @Test
    void pages_follow_one_another_and_filters_leave_out_the_rest() throws Exception {
        DeltaRegistry registry = registry();
        for (String task : List.of("a", "b", "b", "c")) {
            publish(registry, "acme", task);
        }
        publish(registry, "other", "b");
        List<DeltaVersion> page = registry.page("acme", VersionFilter.ALL, Optional.empty(), 2);
        assertThat(models(page)).containsExactly("base:a@1", "base:b@1");
        assertThat(models(registry.page("acme", VersionFilter.ALL, Optional.of(VersionPlace.parse("base:b@1")), 9)))
                .containsExactly("base:b@2", "base:c@1");
        registry.annotations().tag(page.getLast(), List.of("good", "good"));
        registry.annotations().note(page.getLast(), "the one of Monday");
        registry.aliases().move(new Aliases.Task("acme", "base", "c"), "live", 1, OptionalInt.of(0));
        assertThat(models(registry.page("acme", new VersionFilter(Optional.empty(), Optional.empty(), Optional.of("good"), Optional.empty()),
                Optional.empty(), 9))).containsExactly("base:b@1");
        assertThat(models(registry.page("acme", new VersionFilter(Optional.of("base"), Optional.empty(), Optional.empty(), Optional.of("live")),
                Optional.empty(), 9))).containsExactly("base:c@1");
        assertThat(registry.annotations().tags(page.getLast())).containsExactly("good");
        assertThat(registry.annotations().note(page.getLast())).contains("the one of Monday");
        assertThatThrownBy(() -> registry.annotations().tag(page.getLast(), List.of("a b"))).isInstanceOf(Problem.class)
                .hasMessageContaining("tag name 'a b' is not allowed");
    }

    @Test
    void an_alias_moves_only_from_where_it_is_expected_and_remembers_every_move() throws Exception {
        Aliases aliases = threeVersions().aliases();
        assertThat(aliases.move(FAQ, "production", 1, OptionalInt.of(0)).revision()).isEqualTo(1);
        assertThatThrownBy(() -> aliases.move(FAQ, "production", 2, OptionalInt.of(3))).isInstanceOf(Problem.class)
                .hasMessage("base:faq@production names version 1, not 3 as expected; look again before moving it");
        assertThat(aliases.move(FAQ, "production", 2, OptionalInt.of(1)).number()).isEqualTo(2);
        assertThat(aliases.move(FAQ, "production", 3, OptionalInt.empty()).number()).isEqualTo(3);
        assertThat(aliases.rollback(FAQ, "production", OptionalInt.of(3)).number()).isEqualTo(2);
        assertThat(aliases.rollback(FAQ, "production", OptionalInt.empty()).number()).isEqualTo(1);
        assertThatThrownBy(() -> aliases.rollback(FAQ, "production", OptionalInt.empty())).isInstanceOf(Problem.class)
                .hasMessage("base:faq@production has named no other version before; there is nothing to go back to");
        assertThat(aliases.remove(FAQ, "production", OptionalInt.of(1))).isTrue();
        assertThat(aliases.remove(FAQ, "production", OptionalInt.empty())).isFalse();
        assertThat(aliases.find(FAQ, "production")).isEmpty();
        assertThat(aliases.history(FAQ, "production")).extracting(Aliases.Move::kind).containsExactly(Aliases.Kind.MOVE, Aliases.Kind.MOVE,
                Aliases.Kind.MOVE, Aliases.Kind.ROLLBACK, Aliases.Kind.ROLLBACK, Aliases.Kind.REMOVE);
        assertThat(aliases.history(FAQ, "production")).extracting(Aliases.Move::revision).containsExactly(1, 2, 3, 4, 5, 6);
        assertThatThrownBy(() -> aliases.move(FAQ, "7", 1, OptionalInt.empty())).hasMessageContaining("alias name '7' is not allowed");
        assertThatThrownBy(() -> aliases.move(FAQ, "live", 9, OptionalInt.empty())).hasMessageContaining("there is no version base:faq@9");
    }

    private DeltaRegistry threeVersions() throws Exception {
        DeltaRegistry registry = registry();
        for (int i = 0; i < 3; i++) {
            publish(registry, "acme", "faq");
        }
        return registry;
    }

    @Test
    void what_an_alias_names_is_not_deleted_and_what_was_deleted_is_not_named() throws Exception {
        DeltaRegistry registry = threeVersions();
        DeltaVersion second = registry.resolve("acme", "base:faq@2");
        registry.aliases().move(FAQ, "production", 2, OptionalInt.empty());
        assertThatThrownBy(() -> registry.delete(second)).isInstanceOf(Problem.class)
                .hasMessage("base:faq@2 is what [production] names; move or remove the alias first");
        registry.aliases().move(FAQ, "production", 3, OptionalInt.empty());
        assertThat(registry.delete(second)).isTrue();
        assertThatThrownBy(() -> registry.aliases().move(FAQ, "production", 2, OptionalInt.empty()))
                .hasMessageContaining("there is no version base:faq@2");
        assertThatThrownBy(() -> registry.aliases().rollback(FAQ, "production", OptionalInt.empty()))
                .hasMessageContaining("there is no version base:faq@2");
        assertThat(publish(registry, "acme", "faq").number()).isEqualTo(4);
        assertThat(models(registry().list("acme"))).containsExactly("base:faq@1", "base:faq@3", "base:faq@4");
    }

    @Test
    void a_quota_refuses_before_anything_is_written_and_counts_what_was_deleted_no_longer() throws Exception {
        DeltaRegistry two = registry(folder, new Quota(0, 2), Duration.ofMinutes(10));
        publish(two, "acme", "faq");
        DeltaVersion second = publish(two, "acme", "other");
        assertThatThrownBy(() -> publish(two, "acme", "faq")).isInstanceOf(Problem.class).hasMessage("the tenant has 2 versions; its quota is "
                + "2 versions: delete versions (DELETE /v1/deltas/{version}), or ask the server's operator for more");
        publish(two, "someone-else", "faq");
        two.delete(second);
        publish(two, "acme", "faq");
        assertThat(two.usage("acme")).isEqualTo(new Usage(2, 2 * second.fileBytes()));
        DeltaRegistry small = registry(folder, new Quota(3 * second.fileBytes() - 1, 0), Duration.ofMinutes(10));
        assertThatThrownBy(() -> publish(small, "acme", "faq")).isInstanceOf(Problem.class)
                .extracting(problem -> ((Problem) problem).code()).isEqualTo(Problem.Code.STORAGE_FULL);
        assertThat(small.list("acme")).hasSize(2);
    }

    @Test
    void a_tenants_own_quota_goes_before_the_servers_in_every_server_and_only_for_what_it_sets() throws Exception {
        DeltaRegistry registry = registry(folder, new Quota(0, 2), Duration.ofMinutes(10));
        long bytes = publish(registry, "acme", "faq").fileBytes();
        registry.setQuota("acme", new OwnQuota(OptionalLong.empty(), OptionalLong.of(1)));
        DeltaRegistry other = registry(folder, new Quota(0, 2), Duration.ofMinutes(10));
        assertThat(other.quota("acme")).isEqualTo(new Quota(0, 1));
        assertThatThrownBy(() -> publish(other, "acme", "faq")).isInstanceOf(Problem.class).hasMessageContaining("its quota is 1 versions");
        publish(other, "someone-else", "faq");
        publish(other, "someone-else", "faq");
        other.setQuota("acme", new OwnQuota(OptionalLong.of(2 * bytes), OptionalLong.of(0)));
        publish(registry, "acme", "faq");
        assertThatThrownBy(() -> publish(registry, "acme", "faq")).hasMessageContaining("its quota is " + 2 * bytes + " bytes");
        registry.collector(Duration.ZERO).erase("acme");
        assertThat(registry.quota("acme")).isEqualTo(new Quota(2 * bytes, 0));
        registry.setQuota("acme", OwnQuota.NONE);
        assertThat(other.quota("acme")).isEqualTo(new Quota(0, 2));
        registry.collector(Duration.ZERO).eraseForGood("acme");
        assertThatThrownBy(() -> registry.setQuota("acme", OwnQuota.NONE)).isInstanceOf(Problem.class)
                .hasMessage("all of tenant acme was erased for good; it stores nothing more");
        assertThatThrownBy(() -> new OwnQuota(OptionalLong.of(-1), OptionalLong.empty())).hasMessageContaining("is negative");
    }

    @Test
    void a_quota_holds_against_publishers_at_the_same_time() throws Exception {
        DeltaRegistry registry = registry(folder, new Quota(0, 5), Duration.ofMinutes(10));
        try (ExecutorService threads = Executors.newFixedThreadPool(6)) {
            List<Callable<Boolean>> publishers = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                publishers.add(() -> {
                    try {
                        publish(registry, "acme", "faq");
                        return true;
                    } catch (Problem full) {
                        assertThat(full.code()).isEqualTo(Problem.Code.STORAGE_FULL);
                        return false;
                    }
                });
            }
            int published = 0;
            for (Future<Boolean> each : threads.invokeAll(publishers)) {
                published += each.get() ? 1 : 0;
            }
            assertThat(published).isEqualTo(5);
        }
        assertThat(registry.list("acme")).extracting(DeltaVersion::number).containsExactly(1, 2, 3, 4, 5);
    }

    @Test
    void retention_keeps_the_newest_what_is_named_and_what_is_in_use() throws Exception {
        DeltaRegistry registry = threeVersions();
        publish(registry, "acme", "faq");
        publish(registry, "acme", "faq");
        registry.aliases().move(FAQ, "production", 1, OptionalInt.empty());
        registry.lease(registry.resolve("acme", "base:faq@2"));
        assertThat(models(registry.collector(Duration.ZERO).retain(FAQ, 1))).containsExactly("base:faq@3", "base:faq@4");
        assertThat(models(registry.list("acme"))).containsExactly("base:faq@1", "base:faq@2", "base:faq@5");
        assertThatThrownBy(() -> registry.collector(Duration.ZERO).retain(FAQ, 0)).hasMessageContaining("keep_last is 0");
    }

    @Test
    void the_file_of_a_deleted_version_in_use_stays_until_its_lease_has_ended() throws Exception {
        DeltaRegistry registry = registry(folder, Quota.NONE, Duration.ofMillis(300));
        DeltaVersion version = publish(registry, "acme", "faq");
        registry.lease(version);
        assertThat(registry.delete(version)).isTrue();
        assertThat(registry.find("acme", "base", "faq", OptionalInt.of(1))).isEmpty();
        assertThat(registry.collector(Duration.ZERO).collect().files()).isZero();
        Thread.sleep(350);
        assertThat(registry.collector(Duration.ZERO).collect().files()).isEqualTo(1);
        assertThat(registry.collector(Duration.ZERO).collect().files()).isZero();
    }

    @Test
    void an_erasure_leaves_nothing_of_the_tenant_says_what_it_took_and_touches_nobody_else() throws Exception {
        DeltaRegistry registry = threeVersions();
        DeltaVersion kept = publish(registry, "other", "faq");
        registry.aliases().move(FAQ, "production", 2, OptionalInt.empty());
        List<String> digests = registry.list("acme").stream().map(DeltaVersion::fileDigest).toList();
        DeltaCollector.Receipt receipt = registry.collector(Duration.ofHours(1)).erase("acme");
        assertThat(receipt.versions()).isEqualTo(3);
        assertThat(receipt.fileDigests()).isEqualTo(digests);
        assertThat(receipt.bytes()).isEqualTo(3 * kept.fileBytes());
        DeltaRegistry again = registry();
        assertThat(again.list("acme")).isEmpty();
        assertThat(again.aliases().history(FAQ, "production")).isEmpty();
        assertThat(again.usage("acme")).isEqualTo(new Usage(0, 0));
        assertThat(again.list("other")).containsExactly(kept);
        assertThat(publish(again, "acme", "faq").number()).isEqualTo(1);
    }
}
