package io.inlay.jobs;

import io.inlay.Problem;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import javax.sql.DataSource;

/** Plain JDBC with positional arguments; each call is a transaction of its own. */
final class Database {

    private final DataSource source;

    Database(DataSource source) {
        this.source = source;
    }

    /** Makes a value of a row. */
    interface RowReader<T> {
        T read(ResultSet row) throws SQLException;
    }

    /** Runs one statement; returns the rows that it changed. */
    int update(String sql, Object... arguments) {
        try (Connection connection = source.getConnection(); PreparedStatement statement = prepare(connection, sql, arguments)) {
            return statement.executeUpdate();
        } catch (SQLException failure) {
            throw problem(failure);
        }
    }

    <T> List<T> query(RowReader<T> reader, String sql, Object... arguments) {
        try (Connection connection = source.getConnection(); PreparedStatement statement = prepare(connection, sql, arguments);
                ResultSet rows = statement.executeQuery()) {
            List<T> found = new ArrayList<>();
            while (rows.next()) {
                found.add(reader.read(rows));
            }
            return found;
        } catch (SQLException failure) {
            throw problem(failure);
        }
    }

    private static PreparedStatement prepare(Connection connection, String sql, Object... arguments) throws SQLException {
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

    private static Problem problem(SQLException failure) {
        return new Problem(Problem.Code.STORAGE_FAILED, "the database refused: " + failure.getMessage() + "; check its disk and its URL",
                failure);
    }
}
