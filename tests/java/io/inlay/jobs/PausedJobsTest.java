package io.inlay.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.DurableFiles;
import io.inlay.store.Stores;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.Pace;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import javax.sql.DataSource;
import org.h2.jdbcx.JdbcDataSource;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Jobs that are paused, resumed, stopped with their server and cancelled, in a real database with a real store. */
class PausedJobsTest {

    private static final TuningDefaults DEFAULTS = new TuningDefaults(0.1, 1, 1, 1e-3, 1, 100_000, 0.5, true);
    private static final int MANY = 50_000;

    /** Of a machine that many share. */
    private static final Duration PATIENCE = Duration.ofMinutes(5);

    private static LlamaModel model;

    @TempDir
    private Path folder;
    private DataSource source;
    private TrainingFiles files;
    private DeltaStore store;
    private TuningJobs jobs;

    @BeforeAll
    static void open() {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("tests/golden/tuning/model"), ModelOptions.defaults());
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @BeforeEach
    void makeServer() throws SQLException, IOException {
        JdbcDataSource database = new JdbcDataSource();
        database.setURL("jdbc:h2:mem:" + UUID.randomUUID() + ";DB_CLOSE_DELAY=-1");
        source = database;
        try (var connection = source.getConnection(); var statement = connection.createStatement()) {
            for (String migration : List.of("V1__files_and_tuning_jobs.sql", "V2__pausing_jobs.sql", "V21__tenant_erasures.sql")) {
                statement.execute(Files.readString(Path.of("src/main/resources/db/migration", migration)));
            }
        }
        files = new TrainingFiles(source, folder.resolve("files"), 10_000, DurableFiles.local());
        store = Stores.folder(folder.resolve("store"));
        jobs = server();
    }

    private TuningJobs server() {
        TuningJobs started = new TuningJobs(source, files, store, _ -> model, 1, DEFAULTS,
                new JobCheckpoints(folder.resolve("checkpoints"), Duration.ofSeconds(60)), "test", () -> Pace.FULL_SPEED);
        started.start();
        return started;
    }

    @AfterEach
    void stopServer() {
        jobs.close();
    }

    private void restart() {
        jobs.close();
        jobs = server();
    }

    private TuningJob create(int steps, String more) throws IOException {
        return jobs.create("acme", request(steps, more, true));
    }

    private JobRequest request(int steps, String more, boolean validated) throws IOException {
        String training = upload("{\"prompt\": \"sky is\", \"completion\": \" blue\"}\n"
                + "{\"prompt\": \"grass is\", \"completion\": \" green\"}\n");
        Optional<String> validation = validated ? Optional.of(upload("{\"prompt\": \"sea is\", \"completion\": \" blue\"}\n"))
                : Optional.empty();
        return new JobRequest("base", "sky", training, validation,
                new ObjectMapper().readTree("{\"method\": \"smt\", \"block_edge\": 16, \"max_steps\": " + steps + more + "}"));
    }

    private String upload(String lines) {
        return files.add("acme", "data.jsonl", "fine-tune", new ByteArrayInputStream(lines.getBytes(StandardCharsets.UTF_8))).id();
    }

    private JobState state(TuningJob job) {
        return jobs.find("acme", job.id()).orElseThrow().state();
    }

    private TuningJob awaitEnd(TuningJob job) {
        await().atMost(PATIENCE).until(() -> state(job).ended());
        return jobs.find("acme", job.id()).orElseThrow();
    }

    private void awaitStep(TuningJob job) {
        awaitMessage(job, "Step \\d+/.*");
    }

    private void awaitMessage(TuningJob job, String pattern) {
        await().atMost(PATIENCE).pollInterval(Duration.ofMillis(20))
                .until(() -> messages(job).stream().anyMatch(message -> message.matches(pattern)));
    }

    private void awaitPaused(TuningJob job) {
        await().atMost(PATIENCE).pollInterval(Duration.ofMillis(20)).until(() -> state(job) instanceof JobState.Paused);
    }

    private List<String> messages(TuningJob job) {
        return jobs.events(job).stream().map(JobEvent::message).toList();
    }

    private DeltaVersion version(String model) {
        return store.list("acme").stream().filter(version -> version.model().equals(model)).findFirst().orElseThrow();
    }

    private String digest(TuningJob job) {
        String model = awaitEnd(job).state().tuned().orElseThrow().model();
        return version(model).digest();
    }

    @Test
    void a_job_that_was_paused_and_stopped_ends_with_the_bits_of_one_that_was_not() throws IOException {
        int steps = 1200;
        TuningJob job = create(steps, "");
        awaitStep(job);
        jobs.pause(job);
        awaitPaused(job);
        assertThat(jobs.pause(job).state()).as("pausing again does nothing").isInstanceOf(JobState.Paused.class);
        assertThat(folder.resolve("checkpoints").resolve(job.id()).resolve("current.safetensors")).exists();
        assertThatThrownBy(() -> files.delete("acme", job.request().trainingFile())).isInstanceOf(Problem.class)
                .hasMessageContaining("is needed by job " + job.id());

        Path foreign = Files.createDirectories(folder.resolve("checkpoints/ftjob-that-has-ended"));
        restart();
        assertThat(foreign).doesNotExist();
        await().during(Duration.ofMillis(1500)).atMost(Duration.ofSeconds(10)).until(() -> state(job) instanceof JobState.Paused);
        assertThat(jobs.resume(job).state()).isNotInstanceOf(JobState.Paused.class);
        await().atMost(PATIENCE).until(() -> state(job) instanceof JobState.Running);
        awaitMessage(job, "The job goes on.*");
        restart();
        TuningJob done = awaitEnd(job);
        assertThat(done.state()).as("%s", messages(job)).isInstanceOf(JobState.Succeeded.class);
        assertThat(done.attempt()).isEqualTo(3);
        assertThat(messages(job)).contains("A pause was asked for", "The job is paused", "The job was resumed",
                "The server is stopping; the job will go on with it")
                .filteredOn(message -> message.matches("The job goes on from its checkpoint after training step \\d+")).hasSize(2);
        // They go once the end is in the database.
        await().atMost(PATIENCE).untilAsserted(() -> assertThat(folder.resolve("checkpoints")).isEmptyDirectory());
        assertThat(digest(job)).isEqualTo(digest(create(steps, "")));
    }

    @Test
    void a_queued_job_is_paused_at_once_and_runs_when_it_is_resumed() throws IOException {
        TuningJob first = create(MANY, "");
        TuningJob second = create(2, "");
        assertThat(jobs.pause(second).state()).isInstanceOf(JobState.Paused.class);
        jobs.cancel(first);
        awaitEnd(first);
        await().during(Duration.ofMillis(500)).atMost(Duration.ofSeconds(10)).until(() -> state(second) instanceof JobState.Paused);
        jobs.resume(second);
        assertThat(awaitEnd(second).state()).isInstanceOf(JobState.Succeeded.class);
        assertThat(awaitEnd(second).attempt()).isEqualTo(1);
    }

    @Test
    void a_pause_that_is_taken_back_at_once_leaves_the_job_running_or_running_again() throws IOException {
        TuningJob job = create(MANY, "");
        for (int i = 0; i < 6; i++) {
            await().atMost(PATIENCE).pollInterval(Duration.ofMillis(10)).until(() -> state(job) instanceof JobState.Running);
            jobs.pause(job);
            await().pollDelay(Duration.ofMillis(45L * i)).until(() -> true);
            jobs.resume(job);
        }
        await().atMost(PATIENCE).until(() -> state(job) instanceof JobState.Running);
        jobs.cancel(job);
        assertThat(awaitEnd(job).state().wire()).isEqualTo("cancelled");
        assertThat(awaitEnd(job).state().tuned()).isEmpty();
    }

    @Test
    void cancelling_publishes_the_best_so_far_where_it_was_kept() throws IOException {
        TuningJob running = create(MANY, ", \"keep_best\": true, \"evaluate_every\": 1");
        awaitMessage(running, "Step 3: validation.*");
        jobs.cancel(running);
        assertLeftItsBest(awaitEnd(running));

        TuningJob paused = create(MANY, ", \"keep_best\": true, \"evaluate_every\": 1");
        awaitMessage(paused, "Step 3: validation.*");
        jobs.pause(paused);
        awaitPaused(paused);
        restart();
        jobs.cancel(paused);
        assertLeftItsBest(awaitEnd(paused));
        assertThat(store.list("acme")).hasSize(2);
        await().atMost(PATIENCE).untilAsserted(() -> assertThat(folder.resolve("checkpoints")).isEmptyDirectory());
    }

    private void assertLeftItsBest(TuningJob job) {
        assertThat(job.state()).isInstanceOfSatisfying(JobState.Cancelled.class, cancelled -> {
            String left = cancelled.best().orElseThrow().model();
            assertThat(messages(job).getFirst()).isEqualTo("The job was cancelled; the best of its evaluations was published: " + left
                    + " answers now");
            DeltaVersion version = version(left);
            assertThat(version.manifest().job()).isEqualTo(job.id());
            assertThat(version.manifest().metrics().get("validation_loss"))
                    .isEqualTo(job.report().orElseThrow().path("best_validation_loss").asDouble());
            assertThat(job.report().orElseThrow().path("steps").asInt()).isBetween(1, MANY - 1);
        });
    }

    @Test
    void cancelling_publishes_nothing_where_nothing_was_evaluated_or_kept() throws IOException {
        TuningJob early = create(MANY, ", \"keep_best\": true, \"evaluate_every\": 49000");
        TuningJob waiting = create(MANY, ", \"keep_best\": true, \"evaluate_every\": 1");
        awaitStep(early);
        jobs.cancel(waiting);
        jobs.cancel(early);
        for (TuningJob each : List.of(early, waiting)) {
            assertThat(awaitEnd(each).state().tuned()).isEmpty();
            assertThat(messages(each).getFirst()).isEqualTo("The job was cancelled; nothing was published");
        }
        assertThat(store.list("acme")).isEmpty();
        await().atMost(Duration.ofSeconds(10)).until(() -> !Files.exists(folder.resolve("checkpoints").resolve(early.id())));
    }

    @Test
    void a_job_that_stops_early_says_so_in_its_report() throws IOException {
        TuningJob job = awaitEnd(create(MANY, ", \"keep_best\": true, \"evaluate_every\": 5, \"early_stop_patience\": 2, "
                + "\"early_stop_min_delta\": 1000"));
        assertThat(job.state()).isInstanceOf(JobState.Succeeded.class);
        assertThat(job.report().orElseThrow().path("stopped_early").asBoolean()).isTrue();
        // The first evaluation is better than none before it; the next two are not by a thousand nats.
        assertThat(job.report().orElseThrow().path("steps").asInt()).isEqualTo(15);
        assertThat(job.report().orElseThrow().path("best_step").asInt()).isIn(5, 10, 15);
        assertThat(job.report().orElseThrow().path("validation_loss").asDouble())
                .isEqualTo(job.report().orElseThrow().path("best_validation_loss").asDouble());
    }

    @Test
    void a_runner_whom_the_database_has_refused_tries_again_within_seconds() throws IOException {
        jobs.close();
        AtomicInteger refusals = new AtomicInteger(1);
        DataSource real = source;
        source = instead(DataSource.class, (method, arguments) -> {
            Object answer = method.invoke(real, arguments);
            return answer instanceof Connection connection ? refusing(connection, refusals) : answer;
        });
        jobs = server();
        TuningJob job = create(2, "");
        assertThat(awaitEnd(job).state()).isInstanceOf(JobState.Succeeded.class);
        assertThat(refusals).hasValue(0);
    }

    /** The database, but for so many beginnings of a run, which it refuses as H2 does when a lock is not to be had. */
    private static Connection refusing(Connection connection, AtomicInteger refusals) {
        return instead(Connection.class, (method, arguments) -> {
            boolean begins = method.getName().equals("prepareStatement")
                    && arguments[0].toString().startsWith("update tuning_job set status = 'running'");
            if (begins && refusals.getAndUpdate(left -> Math.max(0, left - 1)) > 0) {
                throw new SQLException("Timeout trying to lock table");
            }
            return method.invoke(connection, arguments);
        });
    }

    /** Answers a call of an interface's method. */
    private interface Call {
        Object answer(Method method, Object[] arguments) throws ReflectiveOperationException, SQLException;
    }

    private static <T> T instead(Class<T> type, Call call) {
        return type.cast(Proxy.newProxyInstance(PausedJobsTest.class.getClassLoader(), new Class<?>[] {type}, (_, method, arguments) -> {
            try {
                return call.answer(method, arguments);
            } catch (InvocationTargetException failed) {
                throw failed.getCause();
            }
        }));
    }

    @Test
    void what_cannot_be_paused_resumed_or_watched_is_refused() throws IOException {
        TuningJob job = create(MANY, "");
        awaitStep(job);
        assertThatThrownBy(() -> jobs.resume(job)).isInstanceOf(Problem.class)
                .hasMessage("job " + job.id() + " is running, not paused; only a paused job can be resumed");
        jobs.cancel(job);
        awaitEnd(job);
        assertThatThrownBy(() -> jobs.pause(job)).isInstanceOf(Problem.class)
                .hasMessage("job " + job.id() + " has ended already (cancelled); there is nothing to pause");
        assertThatThrownBy(() -> jobs.resume(job)).isInstanceOf(Problem.class)
                .hasMessage("job " + job.id() + " has ended already (cancelled); there is nothing to resume");
        refused("keep_best is true, but there is nothing to validate with; give a validation_file",
                request(1, ", \"keep_best\": true, \"evaluate_every\": 1", false));
        refused("keep_best is \"yes\"; it must be true or false, or \"auto\"", request(1, ", \"keep_best\": \"yes\"", true));
        refused("early_stop_min_delta is 0.1, but early_stop_patience is not given; say after how many evaluations without improvement to "
                + "stop", request(1, ", \"early_stop_min_delta\": 0.1", true));
    }

    private void refused(String message, JobRequest request) {
        assertThatThrownBy(() -> jobs.create("acme", request)).isInstanceOf(Problem.class).hasMessage(message);
    }
}
