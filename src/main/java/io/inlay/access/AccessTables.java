package io.inlay.access;

import io.inlay.store.Database;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.util.Optional;
import javax.sql.DataSource;

/** The tables of tenants and keys. Every change of them gets a revision, under a lock that makes revisions visible in their order. */
final class AccessTables {

    private final Database database;

    AccessTables(DataSource source) {
        this.database = new Database(source);
    }

    /** Statements that change tenants or keys, and write the revision into the rows that they change. */
    interface Change<T> {
        T in(Database.Transaction transaction, long revision) throws SQLException;
    }

    <T> T change(Change<T> change) {
        return transaction(each -> {
            each.update("update access_state set revision = revision + 1 where id = 1");
            return change.in(each, each.query(row -> row.getLong("revision"), "select revision from access_state where id = 1").getFirst());
        });
    }

    <T> T transaction(Database.Work<T> work) {
        return database.transaction(work);
    }

    static Tenant tenant(ResultSet row) throws SQLException {
        return new Tenant(row.getString("name"), Tenant.Status.of(row.getString("status")), Instant.ofEpochMilli(row.getLong("created_at")),
                Instant.ofEpochMilli(row.getLong("changed_at")));
    }

    static ApiKey key(ResultSet row) throws SQLException {
        return new ApiKey(row.getString("id"), Optional.ofNullable(row.getString("tenant")), Role.of(row.getString("role")),
                row.getString("label"), Instant.ofEpochMilli(row.getLong("created_at")), time(row, "expires_at"), time(row, "revoked_at"),
                time(row, "last_used_at"));
    }

    private static Optional<Instant> time(ResultSet row, String column) throws SQLException {
        long millis = row.getLong(column);
        return row.wasNull() ? Optional.empty() : Optional.of(Instant.ofEpochMilli(millis));
    }
}
