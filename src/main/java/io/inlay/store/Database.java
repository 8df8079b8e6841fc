package io.inlay.store;

import io.inlay.Problem;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import javax.sql.DataSource;

/** Plain JDBC with positional arguments, on H2 and PostgreSQL alike. */
public final class Database {

    /** Of the SQL standard, as H2 and PostgreSQL have it. */
    private static final String DUPLICATE_KEY = "23505";

    private final DataSource source;

    public Database(DataSource source) {
        this.source = source;
    }

    /** Makes a value of a row. */
    public interface RowReader<T> {
        T read(ResultSet row) throws SQLException;
    }

    /** Statements that belong together. */
    public interface Work<T> {
        T in(Transaction transaction) throws SQLException;
    }

    /** Runs one statement as a transaction of its own; returns the rows that it changed. */
    public int update(String sql, Object... arguments) {
        return transaction(each -> each.update(sql, arguments));
    }

    /** Inserts a row as a transaction of its own; returns whether it was not there yet. */
    public boolean insert(String sql, Object... arguments) {
        try {
            update(sql, arguments);
            return true;
        } catch (Problem there) {
            if (isDuplicate(there)) {
                return false;
            }
            throw there;
        }
    }

    public <T> List<T> query(RowReader<T> reader, String sql, Object... arguments) {
        return transaction(each -> each.query(reader, sql, arguments));
    }

    /** Runs statements of which all take effect, durably, when this returns, and none when it throws. */
    public <T> T transaction(Work<T> work) {
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
            throw problem(failure);
        }
    }

    /** A transaction under way. */
    public static final class Transaction {

        private final Connection connection;

        private Transaction(Connection connection) {
            this.connection = connection;
        }

        public int update(String sql, Object... arguments) throws SQLException {
            try (PreparedStatement statement = prepare(sql, arguments)) {
                return statement.executeUpdate();
            }
        }

        public <T> List<T> query(RowReader<T> reader, String sql, Object... arguments) throws SQLException {
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

    /** Whether a statement was refused because its row is there already. */
    static boolean isDuplicate(Problem problem) {
        return problem.getCause() instanceof SQLException refused && DUPLICATE_KEY.equals(refused.getSQLState());
    }

    private static Problem problem(SQLException failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (String.valueOf(cause.getMessage()).contains("No space left on device")) {
                return new Problem(Problem.Code.STORAGE_FULL, "the database cannot write: the disk is full; free space, then try again",
                        failure);
            }
        }
        return new Problem(Problem.Code.STORAGE_FAILED, "the database refused: " + failure.getMessage() + "; check its disk and its URL",
                failure);
    }
}
