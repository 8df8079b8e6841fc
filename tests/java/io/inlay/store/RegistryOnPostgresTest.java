package io.inlay.store;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import javax.sql.DataSource;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

class RegistryOnPostgresTest extends RegistryContract {

    private static final Map<Path, DataSource> DATABASES = new ConcurrentHashMap<>();
    private static PostgresServer server;

    @BeforeAll
    static void start() throws Exception {
        server = PostgresServer.start();
    }

    @AfterAll
    static void stop() throws Exception {
        if (server != null) {
            server.close();
        }
    }

    @Override
    DeltaRegistry registry(Path folder, Quota quota, Duration lease) throws Exception {
        if (!DATABASES.containsKey(folder)) {
            DATABASES.put(folder, server.database("test" + DATABASES.size()));
        }
        return new DeltaRegistry(Blobs.folder(folder), DATABASES.get(folder), quota, lease);
    }
}
