package io.inlay.access;

import io.inlay.Problem;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import javax.sql.DataSource;

/** The tables of tenants and keys. Every change of them gets a revision, under a lock that makes revisions visible in their order. */
final class AccessTables {

    private final DataSource source;

    AccessTables(DataSource source) {
        this.source = source;
    }

    /** Makes a value of a row. */
    interface RowReader<T> {
        T read(ResultSet row) throws SQLException;
    }

    /** Statements that belong together. */
    interface Work<T> {
        T in(Transaction transaction) throws SQLException;
    }

    /** Statements that change tenants or keys, and write the revision into the rows that they change. */
    interface Change<T> {
        T in(Transaction transaction, long revision) throws SQLException;
    }

    <T> T change(Change<T> change) {
        return transaction(each -> {
            each.update("update access_state set revision = revision + 1 where id = 1");
            return change.in(each, each.query(row -> row.getLong("revision"), "select revision from access_state where id = 1").getFirst());
        });
    }

    <T> T transaction(Work<T> work) {
        try (Connection connection = source.getConnection()) {
            connection.setAutoCommit(false);
            try {
                T result = work.in(new Transaction(connection));
                connection.commit();
                return result;
            } catch (SQLException | RuntimeException | Error failure) {
                connection.rollback();
                throw failure;
            } finally {
                connection.setAutoCommit(true);
            }
        } catch (SQLException failure) {
            throw new Problem(Problem.Code.STORAGE_FAILED, "the database of tenants and keys refused: " + failure.getMessage()
                    + "; check its disk and its URL", failure);
        }
    }

    /** A transaction under way. */
    static final class Transaction {

        private final Connection connection;

        private Transaction(Connection connection) {
            this.connection = connection;
        }

        int update(String sql, Object... arguments) throws SQLException {
            try (PreparedStatement statement = prepare(sql, arguments)) {
                return statement.executeUpdate();
            }
        }

        <T> List<T> query(RowReader<T> reader, String sql, Object... arguments) throws SQLException {
            try (PreparedStatement statement = prepare(sql, arguments); ResultSet rows = statement.executeQuery()) {
                List<T> found = new ArrayList<>();
                while (rows.next()) {
                    found.add(reader.read(rows));
                }
                return found;
            }
        }

        private PreparedStatement prepare(String sql, Object... arguments) throws SQLException {
            PreparedStatement statement = connection.prepareStatement(sql);
            try {
                for (int i = 0; i < arguments.length; i++) {
                    statement.setObject(i + 1, arguments[i]);
                }
                return statement;
            } catch (SQLException failure) {
                statement.close();
                throw failure;
            }
        }
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
