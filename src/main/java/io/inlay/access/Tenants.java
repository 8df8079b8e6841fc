package io.inlay.access;

import io.inlay.Problem;
import io.inlay.store.Database;
import java.time.Clock;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** Tenants as the operator has them: made, suspended, activated, and given up for deletion. */
public final class Tenants {

    private final AccessTables tables;
    private final Clock clock;
    private final Runnable changed;

    /** With every change at once in force in this server. */
    public Tenants(KeyRing ring) {
        this(ring.tables(), ring.clock(), ring::refresh);
    }

    Tenants(AccessTables tables, Clock clock) {
        this(tables, clock, () -> { });
    }

    private Tenants(AccessTables tables, Clock clock, Runnable changed) {
        this.tables = tables;
        this.clock = clock;
        this.changed = changed;
    }

    /**
     * Makes a tenant.
     *
     * @throws Problem {@code INVALID_REQUEST} for a bad name, {@code CONFLICT} for one that is or was another's, in any case of letters
     */
    public Tenant create(String name) {
        Names.require("tenant", name);
        Tenant made = tables.change((in, revision) -> {
            Optional<Tenant> other = folded(in, name);
            if (other.isPresent()) {
                throw taken(name, other.get());
            }
            return insert(in, name, revision);
        });
        changed.run();
        return made;
    }

    /** Takes in a tenant that settings name; one that is there stays what it is. */
    void adopt(String name) {
        tables.change((in, revision) -> {
            Optional<Tenant> other = folded(in, name);
            if (other.isPresent() && !other.get().name().equals(name)) {
                throw taken(name, other.get());
            }
            return other.isPresent() ? other.get() : insert(in, name, revision);
        });
    }

    private static Optional<Tenant> folded(Database.Transaction in, String name) throws java.sql.SQLException {
        return in.query(AccessTables::tenant, "select * from access_tenant where folded = ?", name.toLowerCase(Locale.ROOT)).stream()
                .findFirst();
    }

    private static Problem taken(String name, Tenant other) {
        return new Problem(Problem.Code.CONFLICT, "there is a tenant '" + other.name() + "' already, " + other.status().wire() + "; choose "
                + "another name than '" + name + "'");
    }

    private Tenant insert(Database.Transaction in, String name, long revision) throws java.sql.SQLException {
        long now = clock.millis();
        in.update("insert into access_tenant (name, folded, status, created_at, changed_at, revision) values (?, ?, ?, ?, ?, ?)", name,
                name.toLowerCase(Locale.ROOT), Tenant.Status.ACTIVE.wire(), now, now, revision);
        return find(in, name).orElseThrow();
    }

    /** By name. */
    public List<Tenant> list() {
        return tables.transaction(in -> in.query(AccessTables::tenant, "select * from access_tenant order by name"));
    }

    /**
     * One tenant.
     *
     * @throws Problem {@code NOT_FOUND}
     */
    public Tenant get(String name) {
        return tables.transaction(in -> find(in, name)).orElseThrow(() -> missing(name));
    }

    private static Optional<Tenant> find(Database.Transaction in, String name) throws java.sql.SQLException {
        return in.query(AccessTables::tenant, "select * from access_tenant where name = ?", name).stream().findFirst();
    }

    static Problem missing(String name) {
        return new Problem(Problem.Code.NOT_FOUND, "there is no tenant '" + Names.shown(name) + "'; GET /v1/admin/tenants lists them");
    }

    /** Refuses a tenant's keys until it is activated. */
    public Tenant suspend(String name) {
        return become(name, Tenant.Status.SUSPENDED);
    }

    /** Accepts a suspended tenant's keys again. */
    public Tenant activate(String name) {
        return become(name, Tenant.Status.ACTIVE);
    }

    /** Revokes a tenant's keys and marks it for deletion, for good. */
    public Tenant requestDeletion(String name) {
        return become(name, Tenant.Status.DELETION_REQUESTED);
    }

    private Tenant become(String name, Tenant.Status status) {
        Tenant now = tables.change((in, revision) -> {
            Tenant before = find(in, name).orElseThrow(() -> missing(name));
            if (before.status() == Tenant.Status.DELETION_REQUESTED && status != Tenant.Status.DELETION_REQUESTED) {
                throw new Problem(Problem.Code.CONFLICT, "tenant " + name + " is being deleted and stays so; make another one");
            }
            in.update("update access_tenant set status = ?, changed_at = ?, revision = ? where name = ? and status <> ?", status.wire(),
                    clock.millis(), revision, name, status.wire());
            if (status == Tenant.Status.DELETION_REQUESTED) {
                in.update("update access_key set revoked_at = ?, revision = ? where tenant = ? and revoked_at is null", clock.millis(),
                        revision, name);
            }
            return find(in, name).orElseThrow();
        });
        changed.run();
        return now;
    }
}
