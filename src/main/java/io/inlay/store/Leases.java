package io.inlay.store;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Which versions servers are using, until when. A leased version's file is not removed, and retention leaves it. */
final class Leases {

    private final Database database;
    private final String holder;
    private final Duration term;
    /** Until when this holder needs to write nothing, by key. */
    private final Map<String, Long> renewals = new ConcurrentHashMap<>();

    /**
     * @param holder this process's own name
     * @param term how long a lease holds; it is renewed after a third of it
     */
    Leases(Database database, String holder, Duration term) {
        this.database = database;
        this.holder = holder;
        this.term = term;
    }

    void take(DeltaVersion version) {
        long now = System.currentTimeMillis();
        if (renewals.getOrDefault(version.key(), 0L) > now) {
            return;
        }
        Object[] key = {version.tenant(), version.base(), version.task(), version.number(), holder};
        long until = now + term.toMillis();
        if (renew(until, key) == 0 && !database.insert("insert into delta_lease (tenant, base, task, number, holder, expires_at) "
                + "values (?, ?, ?, ?, ?, ?)", version.tenant(), version.base(), version.task(), version.number(), holder, until)) {
            renew(until, key);
        }
        renewals.put(version.key(), now + term.toMillis() / 3);
    }

    private int renew(long until, Object[] key) {
        return database.update("update delta_lease set expires_at = ? where tenant = ? and base = ? and task = ? and number = ? and holder = ?",
                until, key[0], key[1], key[2], key[3], key[4]);
    }

    boolean isLeased(String tenant, String base, String task, int number) {
        return !database.query(row -> 1, "select 1 from delta_lease where tenant = ? and base = ? and task = ? and number = ? and "
                + "expires_at > ?", tenant, base, task, number, System.currentTimeMillis()).isEmpty();
    }

    /** Forgets what was leased of a tenant whose rows are gone. */
    void forget(String tenant) {
        renewals.keySet().removeIf(key -> key.startsWith(tenant + "/"));
    }

    void removeExpired() {
        long now = System.currentTimeMillis();
        renewals.values().removeIf(until -> until <= now);
        database.update("delete from delta_lease where expires_at <= ?", now);
    }
}
