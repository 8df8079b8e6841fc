package io.inlay.store;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import javax.sql.DataSource;
import org.flywaydb.core.Flyway;
import org.h2.jdbcx.JdbcDataSource;

/** Stores of tests: real folders, real databases. */
public final class Stores {

    private Stores() {
    }

    /** A store of a folder; those of one folder share one database. */
    public static DeltaRegistry folder(Path root) {
        return folder(root, DurableFiles.local());
    }

    public static DeltaRegistry folder(Path root, DurableFiles files) {
        return new DeltaRegistry(new FolderBlobs(root, files), database(root.toAbsolutePath().toString()));
    }

    static DeltaRegistry folder(Path root, DataSource source, Quota quota) {
        return new DeltaRegistry(Blobs.folder(root), source, quota, Duration.ofMinutes(10));
    }

    /** A database in memory, by name. */
    static DataSource database(String name) {
        return migrated(h2("jdbc:h2:mem:" + UUID.nameUUIDFromBytes(name.getBytes()) + ";DB_CLOSE_DELAY=-1;LOCK_TIMEOUT=60000"));
    }

    /** A database in memory that has the store's own tables alone; it is made in no time. */
    static DataSource tables(String name) throws Exception {
        JdbcDataSource source = h2("jdbc:h2:mem:" + UUID.nameUUIDFromBytes(name.getBytes()) + ";DB_CLOSE_DELAY=-1");
        try (var connection = source.getConnection(); var statement = connection.createStatement()) {
            for (String migration : List.of("V10__delta_registry.sql", "V22__delta_erasures.sql", "V23__tenant_quotas.sql")) {
                statement.execute(Files.readString(Path.of("src/main/resources/db/migration", migration)));
            }
        }
        return source;
    }

    static JdbcDataSource h2(String url) {
        JdbcDataSource source = new JdbcDataSource();
        source.setURL(url);
        return source;
    }

    static DataSource migrated(DataSource source) {
        Flyway.configure().dataSource(source).locations("filesystem:src/main/resources/db/migration").load().migrate();
        return source;
    }
}
