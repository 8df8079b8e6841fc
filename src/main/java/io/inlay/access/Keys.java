package io.inlay.access;

import io.inlay.Problem;
import io.inlay.store.Database;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.regex.Pattern;

/** Keys as the operator has them: made, rotated, revoked. A revoked key stays listed. */
public final class Keys {

    private static final Pattern LABEL = Pattern.compile("[\\P{Cntrl}&&\\P{Cf}]{0,128}");

    private final KeyRing ring;
    private final AccessTables tables;

    public Keys(KeyRing ring) {
        this.ring = ring;
        this.tables = ring.tables();
    }

    /**
     * Makes a key.
     *
     * @param tenant empty for an operator's, and only for that
     * @param life how long it works; for good when empty
     * @throws Problem {@code INVALID_REQUEST}; {@code NOT_FOUND} for a tenant that is not there; {@code CONFLICT} for one that is being
     * deleted
     */
    public IssuedKey create(Optional<String> tenant, Role role, String label, Optional<Duration> life) {
        if (tenant.isPresent() == (role == Role.ADMIN)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, role == Role.ADMIN
                    ? "a key with the role admin belongs to no tenant; leave 'tenant' out"
                    : "a key with the role " + role.wire() + " needs a 'tenant'");
        }
        tenant.ifPresent(name -> Names.require("tenant", name));
        if (!LABEL.matcher(label).matches()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "label '" + Names.shown(label)
                    + "' is not allowed; use 128 characters at most, and no control characters");
        }
        if (life.isPresent() && !life.get().isPositive()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "expires_in_seconds is " + life.get().toSeconds() + "; it must be at least 1");
        }
        IssuedKey issued = tables.change((in, revision) -> {
            if (tenant.isPresent()) {
                requireKept(in, tenant.get());
            }
            return insert(in, revision, tenant, role, label, life.map(ring.clock().instant()::plus));
        });
        ring.refresh();
        return issued;
    }

    private static void requireKept(Database.Transaction in, String name) throws SQLException {
        Tenant tenant = in.query(AccessTables::tenant, "select * from access_tenant where name = ?", name).stream().findFirst()
                .orElseThrow(() -> Tenants.missing(name));
        if (tenant.status() == Tenant.Status.DELETION_REQUESTED) {
            throw new Problem(Problem.Code.CONFLICT, "tenant " + name + " is being deleted; it gets no more keys");
        }
    }

    private IssuedKey insert(Database.Transaction in, long revision, Optional<String> tenant, Role role, String label,
            Optional<Instant> expires) throws SQLException {
        String text = KeyText.make();
        String id = "key-" + UUID.randomUUID().toString().replace("-", "");
        in.update("insert into access_key (id, tenant, role, label, digest, created_at, expires_at, revision) values (?, ?, ?, ?, ?, "
                + "?, ?, ?)", id,
                tenant.orElse(null), role.wire(), label, ring.secret().hex(text), ring.clock().millis(),
                expires.map(Instant::toEpochMilli).orElse(null), revision);
        return new IssuedKey(find(in, id).orElseThrow(), text);
    }

    /** Newest first: a tenant's, or all. */
    public List<ApiKey> list(Optional<String> tenant) {
        ring.writeUsage();
        return tables.transaction(in -> tenant.isPresent()
                ? in.query(AccessTables::key, "select * from access_key where tenant = ? order by created_at desc, id", tenant.get())
                : in.query(AccessTables::key, "select * from access_key order by created_at desc, id"));
    }

    /**
     * One key's facts.
     *
     * @throws Problem {@code NOT_FOUND}
     */
    public ApiKey get(String id) {
        ring.writeUsage();
        return tables.transaction(in -> find(in, id)).orElseThrow(() -> missing(id));
    }

    private static Optional<ApiKey> find(Database.Transaction in, String id) throws SQLException {
        return in.query(AccessTables::key, "select * from access_key where id = ?", id).stream().findFirst();
    }

    /** Whoever gives a key where an id belongs does not get it back in a message. */
    private static Problem missing(String id) {
        return new Problem(Problem.Code.NOT_FOUND, "there is no key with the id '" + KeyText.redacted(Names.shown(id))
                + "'; GET /v1/admin/keys lists them");
    }

    /**
     * Makes a key of the same tenant, role and label, for the same length of life; the old one works for {@code grace} more.
     *
     * @throws Problem {@code NOT_FOUND}; {@code CONFLICT} for a key that no longer works
     */
    public IssuedKey rotate(String id, Duration grace) {
        if (grace.isNegative()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "grace_seconds is " + grace.toSeconds() + "; it must be 0 or more");
        }
        IssuedKey issued = tables.change((in, revision) -> {
            ApiKey old = find(in, id).orElseThrow(() -> missing(id));
            Instant now = ring.clock().instant();
            if (!old.worksAt(now)) {
                throw new Problem(Problem.Code.CONFLICT, "key " + id + " is revoked or expired; make a new one with POST /v1/admin/keys");
            }
            if (grace.isZero()) {
                in.update("update access_key set revoked_at = ?, revision = ? where id = ?", now.toEpochMilli(), revision, id);
            } else {
                Instant end = now.plus(grace);
                Instant sooner = old.expiresAt().filter(end::isAfter).orElse(end);
                in.update("update access_key set expires_at = ?, revision = ? where id = ?", sooner.toEpochMilli(), revision, id);
            }
            Optional<Instant> expires = old.expiresAt().map(end -> now.plus(Duration.between(old.createdAt(), end)));
            return insert(in, revision, old.tenant(), old.role(), old.label(), expires);
        });
        ring.refresh();
        return issued;
    }

    /** Ends a key: here at once, in other servers of the database within seconds. A second time changes nothing. */
    public ApiKey revoke(String id) {
        ApiKey revoked = tables.change((in, revision) -> {
            find(in, id).orElseThrow(() -> missing(id));
            in.update("update access_key set revoked_at = ?, revision = ? where id = ? and revoked_at is null", ring.clock().millis(),
                    revision, id);
            return find(in, id).orElseThrow();
        });
        ring.refresh();
        return revoked;
    }
}
