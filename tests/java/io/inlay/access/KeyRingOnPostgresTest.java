package io.inlay.access;

import io.inlay.store.PostgresServer;
import javax.sql.DataSource;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

class KeyRingOnPostgresTest extends KeyRingContract {

    private static PostgresServer server;
    private static DataSource database;

    @BeforeAll
    static void start() throws Exception {
        server = PostgresServer.start();
        database = server.database("access");
    }

    @AfterAll
    static void stop() throws Exception {
        if (server != null) {
            server.close();
        }
    }

    @Override
    DataSource database() throws Exception {
        try (var connection = database.getConnection(); var statement = connection.createStatement()) {
            statement.execute("truncate access_tenant, access_key; update access_state set revision = 0, secret_check = null");
        }
        return database;
    }
}
