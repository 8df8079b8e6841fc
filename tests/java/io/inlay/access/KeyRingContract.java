package io.inlay.access;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.inlay.Problem;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import javax.sql.DataSource;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Tenants and keys in a real database that two servers share, whatever it is. */
abstract class KeyRingContract {

    private static final ServerSecret SECRET = ServerSecret.of(Optional.of("a secret of at least thirty-two characters"),
            Path.of("unused"));
    private static final ConfiguredKeys NONE = new ConfiguredKeys(List.of(), Map.of());
    private static final Duration SECONDS = Duration.ofSeconds(10);

    private DataSource source;

    /** A clock that a test moves. */
    private static final class MovedClock extends Clock {
        private volatile Instant now = Instant.parse("2026-01-01T00:00:30Z");

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }

        @Override
        public Instant instant() {
            return now;
        }
    }

    private final MovedClock clock = new MovedClock();

    /** A database without tenants and keys, and with a secret of none. */
    abstract DataSource database() throws Exception;

    @BeforeEach
    void makeDatabase() throws Exception {
        source = database();
    }

    private KeyRing ring() {
        return new KeyRing(source, SECRET, NONE, clock);
    }

    @Test
    void another_server_of_the_database_sees_what_was_made_revoked_and_suspended_within_seconds() {
        try (KeyRing here = ring(); KeyRing there = ring()) {
            new Tenants(here).create("acme");
            Keys keys = new Keys(here);
            IssuedKey key = keys.create(Optional.of("acme"), Role.READER, "", Optional.empty());
            assertThat(here.find(key.text())).contains(new Principal(key.facts().id(), Role.READER, Optional.of("acme")));
            await().atMost(SECONDS).until(() -> there.find(key.text()).isPresent());
            new Tenants(there).suspend("acme");
            await().atMost(SECONDS).untilAsserted(() -> assertThatThrownBy(() -> here.find(key.text())).isInstanceOf(Problem.class)
                    .hasMessage("tenant acme is suspended; ask the server's operator"));
            new Tenants(there).activate("acme");
            new Keys(there).revoke(key.facts().id());
            assertThat(there.find(key.text())).isEmpty();
            await().atMost(SECONDS).ignoreExceptionsInstanceOf(Problem.class).until(() -> here.find(key.text()).isEmpty());
        }
    }

    @Test
    void a_server_that_starts_anew_knows_every_key() {
        IssuedKey key;
        try (KeyRing first = ring()) {
            new Tenants(first).create("acme");
            key = new Keys(first).create(Optional.of("acme"), Role.OWNER, "", Optional.empty());
        }
        try (KeyRing second = ring()) {
            assertThat(second.find(key.text())).isPresent();
            assertThat(second.find(key.text() + "0")).isEmpty();
            assertThat(second.find("")).isEmpty();
        }
    }

    @Test
    void a_key_ends_when_it_was_to_and_a_rotated_one_after_its_grace() {
        try (KeyRing ring = ring()) {
            new Tenants(ring).create("acme");
            Keys keys = new Keys(ring);
            IssuedKey key = keys.create(Optional.of("acme"), Role.OWNER, "", Optional.of(Duration.ofHours(10)));
            IssuedKey next = keys.rotate(key.facts().id(), Duration.ofHours(1));
            assertThat(next.facts().expiresAt()).contains(clock.instant().plus(Duration.ofHours(10)));
            clock.now = clock.now.plus(Duration.ofMinutes(59));
            assertThat(ring.find(key.text())).isPresent();
            clock.now = clock.now.plus(Duration.ofMinutes(2));
            assertThat(ring.find(key.text())).isEmpty();
            assertThat(ring.find(next.text())).isPresent();
            clock.now = clock.now.plus(Duration.ofHours(10));
            assertThat(ring.find(next.text())).isEmpty();
        }
    }

    @Test
    void grace_does_not_make_a_key_live_longer() {
        try (KeyRing ring = ring()) {
            new Tenants(ring).create("acme");
            IssuedKey key = new Keys(ring).create(Optional.of("acme"), Role.OWNER, "", Optional.of(Duration.ofMinutes(1)));
            new Keys(ring).rotate(key.facts().id(), Duration.ofHours(1));
            clock.now = clock.now.plus(Duration.ofMinutes(2));
            assertThat(ring.find(key.text())).isEmpty();
        }
    }

    @Test
    void the_last_use_is_known_to_the_minute() {
        try (KeyRing ring = ring()) {
            new Tenants(ring).create("acme");
            Keys keys = new Keys(ring);
            IssuedKey key = keys.create(Optional.of("acme"), Role.OWNER, "", Optional.empty());
            assertThat(keys.get(key.facts().id()).lastUsedAt()).isEmpty();
            ring.find(key.text());
            assertThat(keys.get(key.facts().id()).lastUsedAt()).contains(Instant.parse("2026-01-01T00:00:00Z"));
            clock.now = clock.now.plus(Duration.ofSeconds(29));
            ring.find(key.text());
            assertThat(keys.get(key.facts().id()).lastUsedAt()).contains(Instant.parse("2026-01-01T00:00:00Z"));
            clock.now = clock.now.plus(Duration.ofSeconds(1));
            ring.find(key.text());
            assertThat(keys.list(Optional.of("acme")).getFirst().lastUsedAt()).contains(Instant.parse("2026-01-01T00:01:00Z"));
        }
    }

    @Test
    void configured_keys_work_and_their_tenants_can_be_suspended_and_deleted_for_good() {
        ConfiguredKeys configured = new ConfiguredKeys(List.of("o".repeat(32)), Map.of("acme", List.of("one", "two")));
        try (KeyRing ring = new KeyRing(source, SECRET, configured, clock)) {
            assertThat(ring.find("o".repeat(32))).contains(new Principal("configured:admin:1", Role.ADMIN, Optional.empty()));
            assertThat(ring.find("two")).contains(new Principal("configured:acme:2", Role.OWNER, Optional.of("acme")));
            assertThat(ring.find("three")).isEmpty();
            new Tenants(ring).suspend("acme");
            assertThatThrownBy(() -> ring.find("one")).hasMessageContaining("acme is suspended");
            new Tenants(ring).requestDeletion("acme");
            assertThat(ring.find("one")).isEmpty();
        }
        try (KeyRing again = new KeyRing(source, SECRET, configured, clock)) {
            assertThat(again.find("one")).isEmpty();
        }
    }

    @Test
    void a_configured_tenant_whose_name_differs_from_anothers_in_case_alone_is_refused() {
        try (KeyRing ring = ring()) {
            new Tenants(ring).create("acme");
        }
        assertThatThrownBy(() -> new KeyRing(source, SECRET, new ConfiguredKeys(List.of(), Map.of("Acme", List.of("one"))), clock))
                .isInstanceOf(Problem.class).hasMessage("there is a tenant 'acme' already, active; choose another name than 'Acme'");
    }

    @Test
    void settings_that_give_two_owners_one_key_or_the_operator_a_short_one_are_refused_without_showing_it() {
        assertThatThrownBy(() -> new KeyRing(source, SECRET, new ConfiguredKeys(List.of(), Map.of("a", List.of("same"), "b",
                List.of("same"))), clock))
                .isInstanceOf(Problem.class).hasMessageMatching("the keys configured:[ab]:1 and configured:[ab]:1 of the settings are "
                        + "the same; give each owner keys of its own");
        assertThatThrownBy(() -> new ConfiguredKeys(List.of("short"),
                Map.of())).isInstanceOf(Problem.class).hasMessage("inlay.access.admin-keys has a "
                + "key of fewer than 32 characters, which somebody might guess; make one with: openssl rand -hex 32");
        assertThat(new ConfiguredKeys(List.of("o".repeat(32)), Map.of("acme",
                List.of("one")))).hasToString("ConfiguredKeys[1 of operators, tenants [acme]]");
    }

    @Test
    void a_server_with_another_secret_is_told_so_at_its_start() {
        ring().close();
        ServerSecret other = ServerSecret.of(Optional.of("another secret of thirty-two characters"), Path.of("unused"));
        assertThatThrownBy(() -> new KeyRing(source, other, NONE, clock)).isInstanceOf(Problem.class).hasMessageStartingWith(
                "the keys in the database were stored under another secret; set inlay.access.secret to the same for every server");
    }

    @Test
    void the_database_has_the_digest_under_the_secret_and_an_issued_key_does_not_print_itself() {
        try (KeyRing ring = ring()) {
            IssuedKey key = new Keys(ring).create(Optional.empty(), Role.ADMIN, "", Optional.empty());
            assertThat(key.text()).matches("inlay_[0-9a-f]{64}");
            assertThat(key).hasToString("IssuedKey[" + key.facts().id() + "]");
            String stored = new AccessTables(source).transaction(in -> in.query(row -> row.getString("digest"),
                    "select digest from access_key"))
                    .getFirst();
            assertThat(stored).isEqualTo(SECRET.hex(key.text())).doesNotContain(key.text().substring(6));
        }
    }

    @Test
    void tenants_are_listed_by_name_and_a_name_is_given_once_in_whatever_case() {
        try (KeyRing ring = ring()) {
            Tenants tenants = new Tenants(ring);
            tenants.create("zebra");
            tenants.create("Acme");
            assertThat(tenants.list()).extracting(Tenant::name).containsExactly("Acme", "zebra");
            assertThatThrownBy(() -> tenants.create("acme")).isInstanceOf(Problem.class)
                    .hasMessage("there is a tenant 'Acme' already, active; choose another name than 'acme'");
            assertThat(tenants.requestDeletion("Acme").status()).isEqualTo(Tenant.Status.DELETION_REQUESTED);
            assertThatThrownBy(() -> tenants.activate("Acme")).hasMessage("tenant Acme is being deleted and stays so; make another one");
            assertThatThrownBy(() -> new Keys(ring).create(Optional.of("Acme"), Role.OWNER, "", Optional.empty()))
                    .hasMessage("tenant Acme is being deleted; it gets no more keys");
            assertThatThrownBy(() -> tenants.get("acme")).hasMessage("there is no tenant 'acme'; GET /v1/admin/tenants lists them");
        }
    }

    @Test
    void servers_that_make_keys_at_the_same_time_miss_none() throws InterruptedException {
        try (KeyRing here = ring(); KeyRing there = ring()) {
            new Tenants(here).create("acme");
            List<IssuedKey> made = java.util.Collections.synchronizedList(new java.util.ArrayList<>());
            List<Thread> makers = java.util.stream.Stream.of(here, there, here, there).map(ring -> Thread.ofVirtual().start(() -> {
                for (int i = 0; i < 25; i++) {
                    made.add(new Keys(ring).create(Optional.of("acme"), Role.OWNER, "", Optional.empty()));
                }
            })).toList();
            for (Thread maker : makers) {
                maker.join();
            }
            assertThat(made).hasSize(100);
            await().atMost(SECONDS).untilAsserted(() -> {
                assertThat(made).allMatch(key -> here.find(key.text()).isPresent());
                assertThat(made).allMatch(key -> there.find(key.text()).isPresent());
            });
        }
    }
}
