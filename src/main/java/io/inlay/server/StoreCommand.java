package io.inlay.server;

import io.inlay.store.Blobs;
import io.inlay.store.StoreVerification;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.sql.DataSource;
import org.h2.jdbcx.JdbcDataSource;

/** {@code ./inlay store verify}: reads every file of the folder again, while no server runs, and holds it to the database. */
public final class StoreCommand {

    private StoreCommand() {
    }

    public static void main(String[] arguments) {
        if (arguments.length == 0 || !arguments[0].equals("verify")) {
            System.err.println("store takes: verify [--store FOLDER] [--data FOLDER]");
            System.exit(2);
        }
        Path store = Path.of("model-store/tenants");
        Path data = Path.of(".inlay");
        for (int i = 1; i + 1 < arguments.length; i += 2) {
            switch (arguments[i]) {
                case "--store" -> store = Path.of(arguments[i + 1]);
                case "--data" -> data = Path.of(arguments[i + 1]);
                default -> {
                    System.err.println("store verify does not know '" + arguments[i] + "'; it takes --store FOLDER and --data FOLDER");
                    System.exit(2);
                }
            }
        }
        System.exit(verify(store, data));
    }

    /** Prints what was found; returns 0 for a whole store, 1 for damage, 2 where there is nothing to verify. */
    static int verify(Path store, Path data) {
        if (!Files.isRegularFile(data.resolve("inlay.mv.db"))) {
            System.err.println(data.toAbsolutePath() + " has no inlay.mv.db; name the server's folder by --data");
            return 2;
        }
        StoreVerification.Report report = new StoreVerification(Blobs.folder(store), database(data)).run();
        report.damaged().forEach(fault -> System.out.println("DAMAGED " + fault));
        report.unknown().forEach(key -> System.out.println("UNKNOWN " + key + ": not in the database; the next start takes it in if it is whole"));
        System.out.println(report.versions() + " versions, " + report.bytes() + " bytes, " + report.damaged().size() + " damaged, "
                + report.unknown().size() + " unknown");
        return report.isWhole() ? 0 : 1;
    }

    /** Read-only in spirit: opened as the server opens it, and only if no server has it open. */
    private static DataSource database(Path data) {
        JdbcDataSource source = new JdbcDataSource();
        source.setURL("jdbc:h2:file:" + data.toAbsolutePath().resolve("inlay") + ";IFEXISTS=TRUE");
        source.setUser("inlay");
        source.setPassword("inlay");
        return source;
    }
}
