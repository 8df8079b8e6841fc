package io.inlay.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DurableFiles;
import io.inlay.store.Database;
import io.inlay.store.Stores;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.Pace;
import io.inlay.tuning.TuningControl;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.h2.jdbcx.JdbcDataSource;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Jobs in a real database with a real store: what happens when disks fill and processes die. */
class TuningJobsTest {

    private static final TuningDefaults DEFAULTS = new TuningDefaults(0.1, 1, 1, 1e-3, 1, 1000, 0.5, true);

    private static LlamaModel model;

    @TempDir
    private Path folder;
    private JdbcDataSource source;
    private TrainingFiles files;

    @BeforeAll
    static void open() {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("tests/golden/tuning/model"), ModelOptions.defaults());
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @BeforeEach
    void makeDatabase() throws SQLException, IOException {
        source = new JdbcDataSource();
        source.setURL("jdbc:h2:mem:" + UUID.randomUUID() + ";DB_CLOSE_DELAY=-1");
        try (var connection = source.getConnection(); var statement = connection.createStatement()) {
            for (String migration : List.of("V1__files_and_tuning_jobs.sql", "V2__pausing_jobs.sql", "V21__tenant_erasures.sql")) {
                statement.execute(Files.readString(Path.of("src/main/resources/db/migration", migration)));
            }
        }
        files = new TrainingFiles(source, folder.resolve("files"), 10_000, DurableFiles.local());
    }

    private TuningJobs jobs(DeltaStore store) {
        return new TuningJobs(source, files, store, _ -> model, 1, DEFAULTS,
                new JobCheckpoints(folder.resolve("checkpoints"), Duration.ofSeconds(60)), "test", () -> Pace.FULL_SPEED);
    }

    private JobRequest request(int steps) throws IOException {
        String data = "{\"prompt\": \"sky is\", \"completion\": \" blue\"}\n";
        TrainingFile file = files.add("acme", "sky.jsonl", "fine-tune", new ByteArrayInputStream(data.getBytes(StandardCharsets.UTF_8)));
        JsonNode hyperparameters = new ObjectMapper().readTree("{\"method\": \"smt\", \"block_edge\": 16, \"max_steps\": " + steps + "}");
        return new JobRequest("base", "sky", file.id(), Optional.empty(), hyperparameters);
    }

    private static TuningJob awaitEnd(TuningJobs jobs, TuningJob job) {
        await().atMost(Duration.ofMinutes(1)).until(() -> jobs.find("acme", job.id()).orElseThrow().state().ended());
        return jobs.find("acme", job.id()).orElseThrow();
    }

    /** Writes to /dev/full, whose every write fails with the operating system's own "no space left". */
    private static DurableFiles fullDisk() {
        return new DurableFiles() {
            @Override
            public void write(Path file, List<byte[]> parts) throws IOException {
                try (var full = Files.newOutputStream(Path.of("/dev/full"))) {
                    full.write(parts.getLast());
                }
            }

            @Override
            public void publish(Path file, Path name) throws IOException {
                DurableFiles.local().publish(file, name);
            }
        };
    }

    @Test
    void a_disk_that_is_full_when_publishing_fails_the_job_and_leaves_nothing() throws IOException {
        DeltaStore store = Stores.folder(folder.resolve("store"), fullDisk());
        try (TuningJobs jobs = jobs(store)) {
            jobs.start();
            TuningJob job = awaitEnd(jobs, jobs.create("acme", request(2)));
            String message = "publishing " + model.name() + ":sky failed: the disk is full; free space or delete versions, then try again";
            assertThat(job.state()).isInstanceOfSatisfying(JobState.Failed.class, failed -> {
                assertThat(failed.code()).isEqualTo("storage_full");
                assertThat(failed.message()).isEqualTo(message);
            });
            assertThat(jobs.events(job).getFirst().message()).isEqualTo("The job has failed (storage_full): " + message);
            assertThat(store.list("acme")).isEmpty();
        }
    }

    @Test
    void a_job_whose_process_died_before_its_first_checkpoint_is_run_again_from_its_beginning() throws IOException {
        DeltaStore store = Stores.folder(folder.resolve("store"));
        TuningJob job;
        try (TuningJobs first = jobs(store)) {
            // Never started: the job is accepted, and then begun by a runner that is not heard of again.
            job = first.create("acme", request(2));
        }
        JobStore rows = new JobStore(source);
        JobStore.Run dead = rows.begin(job.id(), 0).orElseThrow();
        try (TuningJobs next = jobs(store)) {
            next.start();
            TuningJob done = awaitEnd(next, job);
            assertThat(done.state()).isInstanceOf(JobState.Succeeded.class);
            assertThat(done.attempt()).isEqualTo(2);
            assertThat(next.events(job)).extracting(JobEvent::message).contains("The server stopped during attempt 1",
                    "There is no checkpoint of the job; it starts again from its beginning");
        }
        assertThat(store.list("acme")).hasSize(1);

        // The dead runner was only slow, and wakes up: nothing of what it does counts.
        assertThat(rows.wish(dead)).isEqualTo(TuningControl.Wish.CANCEL);
        int events = rows.events(job.id()).size();
        rows.event(dead, "metrics", "Step 2/2", null);
        rows.fail(dead, new Problem(Problem.Code.INTERNAL, "late"));
        assertThat(rows.letGo(dead, false)).isFalse();
        assertThat(rows.succeed(dead, () -> {
            throw new IllegalStateException("must not publish");
        })).isFalse();
        assertThat(rows.events(job.id())).hasSize(events);
        assertThat(rows.find(job.id()).orElseThrow().state()).isInstanceOf(JobState.Succeeded.class);
    }

    @Test
    void a_version_published_by_an_attempt_that_died_before_it_could_say_so_is_the_jobs_result() throws IOException {
        DeltaStore store = Stores.folder(folder.resolve("store"));
        TuningJob job;
        try (TuningJobs first = jobs(store)) {
            first.start();
            job = awaitEnd(first, first.create("acme", request(2)));
        }
        // As if the process had died between the file and the row.
        new Database(source).update("update tuning_job set status = 'running', tuned_model = null, report = null where id = ?", job.id());
        try (TuningJobs next = jobs(store)) {
            next.start();
            TuningJob done = awaitEnd(next, job);
            assertThat(done.state()).isInstanceOfSatisfying(JobState.Succeeded.class,
                    state -> assertThat(state.model()).isEqualTo(model.name() + ":sky@1"));
        }
        assertThat(store.list("acme")).hasSize(1);
    }

    @Test
    void stopping_the_server_puts_a_running_job_back_into_the_queue() throws IOException {
        DeltaStore store = Stores.folder(folder.resolve("store"));
        TuningJob job;
        try (TuningJobs first = jobs(store)) {
            first.start();
            job = first.create("acme", request(1000));
            await().until(() -> first.find("acme", job.id()).orElseThrow().state() instanceof JobState.Running);
        }
        assertThat(new JobStore(source).find(job.id()).orElseThrow().state()).isInstanceOf(JobState.Queued.class);
        assertThat(store.list("acme")).isEmpty();
    }

    @Test
    void a_job_over_the_servers_limit_of_steps_is_refused_before_it_exists() {
        try (TuningJobs jobs = jobs(Stores.folder(folder.resolve("store")))) {
            assertThatThrownBy(() -> jobs.create("acme", request(1001))).isInstanceOf(Problem.class)
                    .hasMessageStartingWith("the job would take 1001 steps; this server allows 1000");
            assertThat(jobs.list("acme")).isEmpty();
        }
    }
}
