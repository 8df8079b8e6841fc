package io.inlay.store;

import io.inlay.Problem;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Locale;
import java.util.OptionalLong;

/** One row a tenant: what it stores, whether it may store more, and the lock under which its numbers and quota are given out. */
final class TenantTable {

    private final Database database;

    TenantTable(Database database) {
        this.database = database;
    }

    /** Whether a tenant may publish. */
    enum State {
        OPEN,
        /** Until all that it has is removed. */
        ERASING,
        /** For good. */
        ERASED;

        String stored() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    record Row(Usage usage, State state, OwnQuota quota) {
    }

    /** Makes a tenant's row where there is none. */
    void ensure(String tenant) {
        if (database.query(row -> 1, "select 1 from delta_tenant where tenant = ?", tenant).isEmpty()) {
            database.insert("insert into delta_tenant (tenant, versions, bytes) values (?, 0, 0)", tenant);
        }
    }

    Row lock(Database.Transaction transaction, String tenant) throws SQLException {
        return transaction.query(TenantTable::read, "select * from delta_tenant where tenant = ? for update", tenant).stream().findFirst()
                .orElseThrow(() -> new SQLException("there is no row of tenant " + tenant + ", though it has versions"));
    }

    /**
     * Locks the row of a tenant that is to store more.
     *
     * @throws Problem {@code CONFLICT} for one that is being erased, or was for good
     */
    Row lockOpen(Database.Transaction transaction, String tenant) throws SQLException {
        Row row = lock(transaction, tenant);
        return switch (row.state()) {
            case OPEN -> row;
            case ERASING -> throw new Problem(Problem.Code.CONFLICT, "all of tenant " + tenant + " is being erased; try again in a moment");
            case ERASED -> throw new Problem(Problem.Code.CONFLICT, "all of tenant " + tenant
                    + " was erased for good; it stores nothing more");
        };
    }

    static void count(Database.Transaction transaction, String tenant, int versions, long bytes) throws SQLException {
        transaction.update("update delta_tenant set versions = versions + ?, bytes = bytes + ? where tenant = ?", versions, bytes, tenant);
    }

    static void empty(Database.Transaction transaction, String tenant, State state) throws SQLException {
        transaction.update("update delta_tenant set versions = 0, bytes = 0, state = ? where tenant = ?", state.stored(), tenant);
    }

    static void become(Database.Transaction transaction, String tenant, State state) throws SQLException {
        transaction.update("update delta_tenant set state = ? where tenant = ?", state.stored(), tenant);
    }

    Usage usage(String tenant) {
        return database.query(TenantTable::read, "select * from delta_tenant where tenant = ?", tenant).stream().findFirst().map(Row::usage)
                .orElse(new Usage(0, 0));
    }

    OwnQuota quota(String tenant) {
        return database.query(TenantTable::read, "select * from delta_tenant where tenant = ?", tenant).stream().findFirst().map(Row::quota)
                .orElse(OwnQuota.NONE);
    }

    void setQuota(String tenant, OwnQuota quota) {
        ensure(tenant);
        database.transaction(in -> {
            lockOpen(in, tenant);
            return in.update("update delta_tenant set quota_bytes = ?, quota_versions = ? where tenant = ?", stored(quota.bytes()),
                    stored(quota.versions()), tenant);
        });
    }

    private static Long stored(OptionalLong bound) {
        return bound.isPresent() ? bound.getAsLong() : null;
    }

    private static Row read(ResultSet row) throws SQLException {
        return new Row(new Usage(row.getLong("versions"), row.getLong("bytes")),
                State.valueOf(row.getString("state").toUpperCase(Locale.ROOT)), new OwnQuota(bound(row, "quota_bytes"),
                        bound(row, "quota_versions")));
    }

    private static OptionalLong bound(ResultSet row, String column) throws SQLException {
        long bound = row.getLong(column);
        return row.wasNull() ? OptionalLong.empty() : OptionalLong.of(bound);
    }
}
