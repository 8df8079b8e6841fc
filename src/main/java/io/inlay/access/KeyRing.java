package io.inlay.access;

import io.inlay.Problem;
import java.security.MessageDigest;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.sql.DataSource;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Every key that works, in memory: a request is let in without asking the database, in the same time whether its key is known or not. What
 * this or another server changes is read every second, by revision. Holds digests alone; they are found by hash, which tells nothing of a
 * key to one without the server's secret, and compared in constant time.
 */
public final class KeyRing implements AutoCloseable {

    private static final Logger LOG = LoggerFactory.getLogger(KeyRing.class);
    private static final Duration REFRESH = Duration.ofSeconds(1);
    private static final Duration USAGE = Duration.ofSeconds(20);
    private static final long MINUTE = 60_000;

    private record Held(byte[] digest, ApiKey facts, Principal principal) {
    }

    private record Configured(byte[] digest, Principal principal) {
    }

    private final AccessTables tables;
    private final ServerSecret secret;
    private final Clock clock;
    private final List<Configured> configured = new ArrayList<>();
    private final Map<String, Held> keys = new ConcurrentHashMap<>();
    private final Map<String, Tenant.Status> tenants = new ConcurrentHashMap<>();
    private final Map<String, Long> used = new ConcurrentHashMap<>();
    private final Map<String, Long> usedOnDisk = new ConcurrentHashMap<>();
    private final ScheduledExecutorService refresher = Executors.newScheduledThreadPool(2,
            Thread.ofPlatform().daemon().name("read tenants and keys").factory());
    private long seen = -1;
    private final Object usageLock = new Object();

    /**
     * Reads what there is, and takes configured tenants in.
     *
     * @throws Problem where the database's keys were stored under another secret
     */
    public KeyRing(DataSource source, ServerSecret secret, ConfiguredKeys configuredKeys, Clock clock) {
        this.tables = new AccessTables(source);
        this.secret = secret;
        this.clock = clock;
        configuredKeys.all().forEach(key -> configured.add(new Configured(secret.digest(key.text()), key.principal())));
        requireSameSecret();
        configuredKeys.tenants().keySet().stream().sorted().forEach(name -> new Tenants(tables, clock).adopt(name));
        refresh();
        every(REFRESH, this::refresh, "tenants and keys cannot be read, and those last read stay in force");
        every(USAGE, this::writeUsage, "it cannot be written when keys were last used");
    }

    private void requireSameSecret() {
        String check = secret.hex("the secret of Inlay's keys");
        String stored = tables.change((in, _) -> {
            in.update("update access_state set secret_check = ? where id = 1 and secret_check is null", check);
            return in.query(row -> row.getString("secret_check"), "select secret_check from access_state where id = 1").getFirst();
        });
        if (!stored.equals(check)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the keys in the database were stored under another secret; set "
                    + "inlay.access.secret to the same for every server of this database, or put the access.secret of its data folder "
                    + "back");
        }
    }

    /** The tables, for those who change them. */
    AccessTables tables() {
        return tables;
    }

    ServerSecret secret() {
        return secret;
    }

    Clock clock() {
        return clock;
    }

    /**
     * Whose a key is; empty for one that is unknown, expired or revoked.
     *
     * @throws Problem {@code PERMISSION_DENIED} for a suspended tenant's
     */
    public Optional<Principal> find(String text) {
        byte[] digest = secret.digest(text);
        Principal principal = null;
        for (Configured each : configured) {
            if (MessageDigest.isEqual(each.digest(), digest)) {
                principal = each.principal();
            }
        }
        Held held = keys.get(HexFormat.of().formatHex(digest));
        if (held != null && MessageDigest.isEqual(held.digest(), digest) && held.facts().worksAt(clock.instant())) {
            principal = held.principal();
            used.put(held.facts().id(), clock.millis() / MINUTE * MINUTE);
        }
        return Optional.ofNullable(principal).filter(this::admitted);
    }

    private boolean admitted(Principal principal) {
        if (principal.tenant().isEmpty()) {
            return true;
        }
        String tenant = principal.tenant().get();
        return switch (tenants.getOrDefault(tenant, Tenant.Status.DELETION_REQUESTED)) {
            case ACTIVE -> true;
            case SUSPENDED -> throw new Problem(Problem.Code.PERMISSION_DENIED, "tenant " + tenant
                    + " is suspended; ask the server's operator");
            case DELETION_REQUESTED -> false;
        };
    }

    /** Whether no key was ever made; a server that has some needs no demonstration. */
    public boolean isEmpty() {
        return keys.isEmpty();
    }

    /** Runs something again and again, whether or not it fails; warns of the first failure of several in a row. */
    private void every(Duration pause, Runnable work, String otherwise) {
        AtomicBoolean failing = new AtomicBoolean();
        refresher.scheduleWithFixedDelay(() -> {
            try {
                work.run();
                failing.set(false);
            } catch (RuntimeException failure) {
                if (!failing.getAndSet(true)) {
                    LOG.warn("{}: {}", otherwise, failure.getMessage());
                }
            }
        }, pause.toMillis(), pause.toMillis(), TimeUnit.MILLISECONDS);
    }

    /** Reads what has changed since the last time. Whoever changes something calls this before saying that it is done. */
    synchronized void refresh() {
        seen = tables.transaction(in -> {
            long now = in.query(row -> row.getLong("revision"), "select revision from access_state where id = 1").getFirst();
            if (now == seen) {
                return now;
            }
            for (Tenant tenant : in.query(AccessTables::tenant, "select * from access_tenant where revision > ?", seen)) {
                tenants.put(tenant.name(), tenant.status());
            }
            for (Held held : in.query(row -> {
                ApiKey facts = AccessTables.key(row);
                return new Held(HexFormat.of().parseHex(row.getString("digest")), facts, new Principal(facts.id(), facts.role(),
                        facts.tenant()));
            }, "select * from access_key where revision > ?", seen)) {
                keys.put(HexFormat.of().formatHex(held.digest()), held);
            }
            return now;
        });
    }

    /** Writes when keys were last used: once a minute each at most. Apart from reading, which must not wait for it. */
    void writeUsage() {
        synchronized (usageLock) {
            Map<String, Long> news = new HashMap<>(used);
            news.entrySet().removeAll(usedOnDisk.entrySet());
            if (news.isEmpty()) {
                return;
            }
            tables.transaction(in -> {
                // The lock that changes take, too: in whatever order both touch rows, neither waits for the other half way.
                in.query(row -> row.getLong("revision"), "select revision from access_state where id = 1 for update");
                for (Map.Entry<String, Long> use : news.entrySet()) {
                    in.update("update access_key set last_used_at = ? where id = ? and (last_used_at is null or last_used_at < ?)",
                            use.getValue(), use.getKey(), use.getValue());
                }
                return news.size();
            });
            usedOnDisk.putAll(news);
        }
    }

    @Override
    public void close() {
        refresher.shutdown();
        try {
            refresher.awaitTermination(5, TimeUnit.SECONDS);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
        try {
            writeUsage();
        } catch (Problem lost) {
            LOG.warn("it cannot be written when keys were last used: {}", lost.getMessage());
        }
    }
}
