package io.inlay.store;

import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * The rows of erasures. One begins by hiding all that the tenant has and writing down what that is, and ends by removing the rows; the
 * files are removed in between, by whoever gets to it.
 */
final class Erasures {

    private final Database database;
    private final TenantTable tenants;

    Erasures(Database database) {
        this.database = database;
        this.tenants = new TenantTable(database);
    }

    /** @param erasedAt empty until nothing is left */
    record Erasure(String tenant, int versions, long bytes, List<String> fileDigests, Optional<Instant> erasedAt) {

        Optional<DeltaCollector.Receipt> receipt() {
            return erasedAt.map(at -> new DeltaCollector.Receipt(tenant, versions, bytes, fileDigests, at));
        }
    }

    /**
     * Begins an erasure, or finds one that was begun.
     *
     * @param forGood whether the tenant is to publish nothing afterwards
     */
    Erasure begin(String tenant, boolean forGood) {
        tenants.ensure(tenant);
        return database.transaction(in -> {
            TenantTable.State state = tenants.lock(in, tenant).state();
            if (state == TenantTable.State.OPEN) {
                write(in, tenant);
            }
            if (forGood || state == TenantTable.State.OPEN) {
                TenantTable.empty(in, tenant, forGood ? TenantTable.State.ERASED : TenantTable.State.ERASING);
            }
            return find(in, tenant).orElseThrow();
        });
    }

    private record Hidden(String fileDigest, long bytes) {
    }

    /** Makes all of a tenant invisible. The rows stay until the end, or files would be taken in again. */
    private static void write(Database.Transaction in, String tenant) throws SQLException {
        List<Hidden> all = in.query(row -> new Hidden(row.getString("file_digest"), row.getLong("bytes")), "select file_digest, bytes from "
                + "delta_version where tenant = ? and state <> 'gone' order by base, task, number for update", tenant);
        in.update("update delta_version set state = 'deleted', manifest = null, note = null where tenant = ? and state <> 'gone'", tenant);
        for (String table : List.of("delta_alias_move", "delta_alias", "delta_tag", "delta_lease", "delta_erasure")) {
            in.update("delete from " + table + " where tenant = ?", tenant);
        }
        in.update("insert into delta_erasure (tenant, versions, bytes, file_digests, begun_at) values (?, ?, ?, ?, ?)", tenant, all.size(),
                all.stream().mapToLong(Hidden::bytes).sum(), String.join("\n", all.stream().map(Hidden::fileDigest).toList()),
                System.currentTimeMillis());
    }

    /** Runs something while nobody can end the erasure, and so nobody publishes; nothing once it has ended. */
    void during(String tenant, Runnable removal) {
        database.transaction(in -> {
            tenants.lock(in, tenant);
            if (find(in, tenant).orElseThrow().erasedAt().isEmpty()) {
                removal.run();
            }
            return null;
        });
    }

    /** Removes the rows: the end of an erasure whose files are gone. */
    Erasure end(String tenant) {
        return database.transaction(in -> {
            TenantTable.State state = tenants.lock(in, tenant).state();
            if (find(in, tenant).orElseThrow().erasedAt().isEmpty()) {
                in.update("delete from delta_version where tenant = ?", tenant);
                in.update("update delta_erasure set erased_at = ? where tenant = ?", System.currentTimeMillis(), tenant);
                if (state == TenantTable.State.ERASING) {
                    TenantTable.become(in, tenant, TenantTable.State.OPEN);
                }
            }
            return find(in, tenant).orElseThrow();
        });
    }

    /** Tenants whose erasure has begun and not ended. */
    List<String> unfinished() {
        return database.query(row -> row.getString("tenant"), "select tenant from delta_erasure where erased_at is null order by begun_at");
    }

    Optional<Erasure> find(String tenant) {
        return database.transaction(in -> find(in, tenant));
    }

    private static Optional<Erasure> find(Database.Transaction in, String tenant) throws SQLException {
        return in.query(Erasures::read, "select * from delta_erasure where tenant = ?", tenant).stream().findFirst();
    }

    private static Erasure read(ResultSet row) throws SQLException {
        long erasedAt = row.getLong("erased_at");
        Optional<Instant> end = row.wasNull() ? Optional.empty() : Optional.of(Instant.ofEpochMilli(erasedAt));
        return new Erasure(row.getString("tenant"), row.getInt("versions"), row.getLong("bytes"),
                row.getString("file_digests").lines().toList(), end);
    }
}
