package io.inlay.store;

import static org.assertj.core.api.Assertions.fail;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.junit.jupiter.api.Assumptions;
import org.postgresql.ds.PGSimpleDataSource;

/** A PostgreSQL of one's own, made with initdb, on a free port of loopback; Debian's package has what it needs. */
public final class PostgresServer implements AutoCloseable {

    private final Path binaries;
    private final Path folder;
    private final int port;

    private PostgresServer(Path binaries) throws Exception {
        this.binaries = binaries;
        this.folder = Files.createTempDirectory("inlay-postgres-test");
        run("chown", "postgres", folder.toString());
        as("initdb", "-D", folder.resolve("data").toString(), "-U", "inlay", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C");
        try (ServerSocket free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        as("pg_ctl", "-D", folder.resolve("data").toString(), "-w", "-l", folder.resolve("log").toString(), "-o", "-p " + port
                + " -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off", "start");
    }

    /** Starts one; without the binaries the test is skipped, and fails where it must not be skipped. */
    public static PostgresServer start() throws Exception {
        Optional<Path> binaries = binaries();
        if (binaries.isEmpty()) {
            String message = "PostgreSQL's initdb is not installed; apt-get install postgresql";
            if ("true".equals(System.getenv("CI"))) {
                fail(message);
            }
            Assumptions.abort(message);
        }
        return new PostgresServer(binaries.get());
    }

    private static Optional<Path> binaries() throws IOException {
        Path versions = Path.of("/usr/lib/postgresql");
        if (!Files.isDirectory(versions)) {
            return Optional.empty();
        }
        try (Stream<Path> all = Files.list(versions)) {
            return all.map(version -> version.resolve("bin")).filter(bin -> Files.isExecutable(bin.resolve("initdb")))
                    .max(Comparator.naturalOrder());
        }
    }

    /** PostgreSQL refuses to run as root. */
    private void as(String program, String... arguments) throws Exception {
        List<String> command = new ArrayList<>();
        if (System.getProperty("user.name").equals("root")) {
            command.addAll(List.of("runuser", "-u", "postgres", "--"));
        }
        command.add(binaries.resolve(program).toString());
        command.addAll(List.of(arguments));
        run(command.toArray(String[]::new));
    }

    private void run(String... command) throws Exception {
        if (command[0].equals("chown") && !System.getProperty("user.name").equals("root")) {
            return;
        }
        Path output = Files.createTempFile("inlay-postgres", ".txt");
        Process process = new ProcessBuilder(command).directory(Path.of("/tmp").toFile()).redirectErrorStream(true)
                .redirectOutput(output.toFile()).start();
        boolean ended = process.waitFor(2, TimeUnit.MINUTES);
        String said = Files.readString(output);
        Files.delete(output);
        if (!ended || process.exitValue() != 0) {
            throw new IOException(String.join(" ", command) + " failed: " + said);
        }
    }

    /** A database of its own, with every table. */
    public DataSource database(String name) throws Exception {
        create(name);
        return Stores.migrated(source(name));
    }

    /** An empty database; returns its URL. */
    public String create(String name) throws SQLException {
        try (var connection = source("postgres").getConnection(); var statement = connection.createStatement()) {
            statement.execute("create database " + name);
        }
        return url(name);
    }

    private String url(String name) {
        return "jdbc:postgresql://127.0.0.1:" + port + "/" + name;
    }

    private DataSource source(String name) {
        PGSimpleDataSource source = new PGSimpleDataSource();
        source.setUrl(url(name));
        source.setUser("inlay");
        return source;
    }

    @Override
    public void close() throws Exception {
        as("pg_ctl", "-D", folder.resolve("data").toString(), "-m", "immediate", "-w", "stop");
        try (Stream<Path> all = Files.walk(folder)) {
            all.sorted(Comparator.reverseOrder()).forEach(each -> each.toFile().delete());
        }
    }
}
