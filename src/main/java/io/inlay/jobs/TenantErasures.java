package io.inlay.jobs;

import io.inlay.Problem;
import io.inlay.store.Database;
import io.inlay.store.DeltaCollector;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import javax.sql.DataSource;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Erases all that a tenant has, for good: its jobs, which end before their next step, its files, then its versions and aliases. Each step
 * can be repeated, so that an erasure that was cut short is finished by beginning it again, with the receipt that it would have had.
 */
public final class TenantErasures implements AutoCloseable {

    private static final Logger LOG = LoggerFactory.getLogger(TenantErasures.class);
    private static final Duration RETRY = Duration.ofSeconds(10);

    private final Database database;
    private final TuningJobs jobs;
    private final TrainingFiles files;
    private final DeltaCollector deltas;
    private final Set<String> underWay = ConcurrentHashMap.newKeySet();
    private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
    private final CountDownLatch stopping = new CountDownLatch(1);

    public TenantErasures(DataSource source, TuningJobs jobs, TrainingFiles files, DeltaCollector deltas) {
        this.database = new Database(source);
        this.jobs = jobs;
        this.files = files;
        this.deltas = deltas;
    }

    /** An erasure, with the receipt once nothing is left. */
    public record Erasure(Instant begunAt, Optional<Receipt> receipt) {
    }

    /**
     * The proof of an erasure.
     *
     * @param jobs tuning jobs, and {@code files} uploaded files, that were removed
     */
    public record Receipt(long jobs, long files, DeltaCollector.Receipt deltas, Instant erasedAt) {
    }

    /** Begins to erase, or goes on, and returns; whatever fails is tried again until it is done or the server stops. */
    public void begin(String tenant) {
        database.insert("insert into tenant_erasure (tenant, jobs, files, begun_at) values (?, 0, 0, ?)", tenant,
                System.currentTimeMillis());
        if (find(tenant).orElseThrow().receipt().isEmpty() && underWay.add(tenant)) {
            threads.execute(() -> untilDone(tenant));
        }
    }

    private void untilDone(String tenant) {
        try {
            while (!erased(tenant) && !stopping.await(RETRY.toSeconds(), TimeUnit.SECONDS)) {
                LOG.info("erasing tenant {} again", tenant);
            }
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        } finally {
            underWay.remove(tenant);
        }
    }

    private boolean erased(String tenant) throws InterruptedException {
        try {
            jobs.erase(tenant);
            files.erase(tenant);
            deltas.eraseForGood(tenant);
            database.update("update tenant_erasure set erased_at = ? where tenant = ? and erased_at is null",
                    System.currentTimeMillis(), tenant);
            LOG.info("all of tenant {} is erased", tenant);
            return true;
        } catch (RuntimeException failure) {
            LOG.error("tenant {} could not be erased; it is tried again every {} s, and at the next start", tenant,
                    RETRY.toSeconds(), failure);
            return false;
        }
    }

    /** Where a tenant's erasure stands; empty where none was begun. */
    public Optional<Erasure> find(String tenant) {
        return database.query(row -> new Row(row.getLong("jobs"), row.getLong("files"), row.getLong("begun_at"), row.getLong("erased_at"),
                !row.wasNull()), "select * from tenant_erasure where tenant = ?", tenant).stream().findFirst()
                .map(row -> erasure(tenant, row));
    }

    private record Row(long jobs, long files, long begunAt, long erasedAt, boolean done) {
    }

    private Erasure erasure(String tenant, Row row) {
        return new Erasure(Instant.ofEpochMilli(row.begunAt()), deltas.receipt(tenant).filter(_ -> row.done())
                .map(versions -> new Receipt(row.jobs(), row.files(), versions, Instant.ofEpochMilli(row.erasedAt()))));
    }

    /**
     * Refuses what would be added to a tenant that is being erased.
     *
     * @throws Problem {@code CONFLICT}
     */
    static void requireKept(Database.Transaction transaction, String tenant) throws SQLException {
        if (!transaction.query(row -> 1, "select 1 from tenant_erasure where tenant = ?", tenant).isEmpty()) {
            throw new Problem(Problem.Code.CONFLICT, "all of tenant " + tenant + " is being erased for good; nothing more is kept for it");
        }
    }

    /** Leaves what is not done to the next start. */
    @Override
    public void close() {
        stopping.countDown();
        threads.shutdown();
        try {
            if (!threads.awaitTermination(RETRY.toSeconds(), TimeUnit.SECONDS)) {
                LOG.warn("erasures of {} are under way; the next start finishes them", underWay);
            }
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }
}
