package io.inlay.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.delta.Deltas;
import io.inlay.store.Blobs;
import io.inlay.store.Database;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DurableFiles;
import io.inlay.tuning.Pace;
import java.io.ByteArrayInputStream;
import java.lang.foreign.Arena;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import org.awaitility.core.ConditionFactory;
import org.flywaydb.core.Flyway;
import org.h2.jdbcx.JdbcDataSource;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** All of a tenant in a real database and on a real disk, erased by processes that die in the middle. */
class TenantErasuresTest {

    @TempDir
    private Path folder;
    private JdbcDataSource source;

    @BeforeEach
    void makeDatabase() {
        source = new JdbcDataSource();
        source.setURL("jdbc:h2:mem:" + UUID.randomUUID() + ";DB_CLOSE_DELAY=-1");
        Flyway.configure().dataSource(source).locations("filesystem:src/main/resources/db/migration").load().migrate();
    }

    /** The process's end in the middle of something: no code of ours catches it. */
    private static final class Died extends Error {
    }

    /** Blobs of which none can be deleted: whoever tries dies. */
    private static Blobs deadly(Blobs blobs, AtomicBoolean died) {
        return (Blobs) Proxy.newProxyInstance(Blobs.class.getClassLoader(), new Class<?>[] {Blobs.class}, (_, method, arguments) -> {
            if (method.getName().equals("delete")) {
                died.set(true);
                throw new Died();
            }
            try {
                return method.invoke(blobs, arguments);
            } catch (InvocationTargetException thrown) {
                throw thrown.getCause();
            }
        });
    }

    private Blobs blobs() {
        return Blobs.folder(folder.resolve("store"));
    }

    private TrainingFiles files() {
        return new TrainingFiles(source, folder.resolve("files"), 10_000, DurableFiles.local());
    }

    private TuningJobs jobs(DeltaRegistry store) {
        return new TuningJobs(source, files(), store, _ -> null, 1, new TuningDefaults(0.1, 1, 1, 1e-3, 1, 1000, 0.5, true),
                new JobCheckpoints(folder.resolve("checkpoints"), Duration.ofSeconds(60)), "test", () -> Pace.FULL_SPEED);
    }

    private TenantErasures erasures(TuningJobs jobs, DeltaRegistry store) {
        return new TenantErasures(source, jobs, files(), store.collector(Duration.ZERO));
    }

    private TrainingFile upload(String tenant) {
        return files().add(tenant, "a.jsonl", "fine-tune", new ByteArrayInputStream(new byte[] {'a'}));
    }

    private void fill(String tenant) throws Exception {
        new JobStore(source).insert("ftjob-" + tenant, tenant, new JobRequest("base", "faq", upload(tenant).id(), Optional.empty(),
                new ObjectMapper().createObjectNode()), "made");
        Files.createDirectories(folder.resolve("checkpoints/ftjob-" + tenant));
        Files.write(folder.resolve("checkpoints/ftjob-" + tenant + "/current"), new byte[1]);
        try (Arena arena = Arena.ofShared()) {
            Deltas base = new Deltas(arena, 5).with("w", 64, 64);
            new DeltaRegistry(blobs(), source).publish(tenant, "base", "faq", Deltas.draft("faq", 16),
                    List.of(base.tuned("w", 16, 5, 1e-3)), base);
        }
    }

    /** Deaths in other threads are what this is about, and no failures. */
    private static ConditionFactory patient() {
        return await().dontCatchUncaughtExceptions();
    }

    private long rows(String table, String tenant) {
        return new Database(source).query(row -> row.getLong(1), "select count(*) from " + table + " where tenant = ?", tenant).getFirst();
    }

    @Test
    void what_a_process_left_half_erased_is_finished_by_the_next_one_with_one_receipt_and_nobody_else_loses_anything() throws Exception {
        fill("acme");
        fill("other");
        AtomicBoolean died = new AtomicBoolean();
        DeltaRegistry doomed = new DeltaRegistry(deadly(blobs(), died), source);
        try (TuningJobs jobs = jobs(doomed); TenantErasures first = erasures(jobs, doomed)) {
            first.begin("acme");
            patient().untilTrue(died);
            assertThat(first.find("acme").orElseThrow().receipt()).isEmpty();
        }
        assertThat(folder.resolve("store/acme/base/faq/1.safetensors")).exists();

        DeltaRegistry store = new DeltaRegistry(blobs(), source);
        assertThat(store.list("acme")).isEmpty();
        try (TuningJobs jobs = jobs(store); TenantErasures next = erasures(jobs, store)) {
            next.begin("acme");
            patient().until(() -> next.find("acme").orElseThrow().receipt().isPresent());
            TenantErasures.Receipt receipt = next.find("acme").orElseThrow().receipt().orElseThrow();
            assertThat(receipt.jobs()).isOne();
            assertThat(receipt.files()).isOne();
            assertThat(receipt.deltas().versions()).isOne();
            assertThat(receipt.deltas().fileDigests()).containsExactly(store.list("other").getFirst().fileDigest());
            next.begin("acme");
            assertThat(next.find("acme").orElseThrow().receipt()).contains(receipt);
            assertThat(next.find("other")).isEmpty();
        }
        for (String table : List.of("tuning_job", "training_file", "delta_version")) {
            assertThat(rows(table, "acme")).as(table).isZero();
            assertThat(rows(table, "other")).as(table).isOne();
        }
        assertThat(folder.resolve("checkpoints/ftjob-acme")).doesNotExist();
        assertThat(folder.resolve("checkpoints/ftjob-other")).exists();
        assertThat(folder.resolve("files/acme")).isEmptyDirectory();
        assertThat(folder.resolve("store/acme/base/faq")).isEmptyDirectory();
    }

    @Test
    void a_request_that_was_under_way_adds_nothing_to_what_is_erased() throws Exception {
        DeltaRegistry store = new DeltaRegistry(blobs(), source);
        try (TuningJobs jobs = jobs(store); TenantErasures erasures = erasures(jobs, store)) {
            erasures.begin("acme");
            await().until(() -> erasures.find("acme").orElseThrow().receipt().isPresent());
        }
        assertThatThrownBy(() -> upload("acme")).isInstanceOf(Problem.class)
                .hasMessage("all of tenant acme is being erased for good; nothing more is kept for it");
        assertThat(folder.resolve("files/acme")).isEmptyDirectory();
        assertThatThrownBy(() -> fill("acme")).isInstanceOf(Problem.class);
        assertThat(rows("tuning_job", "acme")).isZero();
    }
}
