package io.inlay.jobs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.store.Database;
import io.inlay.tuning.TuningControl;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Supplier;
import javax.sql.DataSource;

/**
 * Jobs and their events in the database. Every change of state is one transaction with the event that tells of it. A run's changes carry
 * the number of its attempt and do nothing once a newer attempt has begun: of a runner, a canceller and a second runner after a crash only
 * one wins.
 */
final class JobStore {

    private static final ObjectMapper JSON = new ObjectMapper();

    private final Database database;

    JobStore(DataSource source) {
        this.database = new Database(source);
    }

    /** One run of a job. */
    record Run(TuningJob job, int attempt) {

        String id() {
            return job.id();
        }
    }

    /** What a run leaves in the store. */
    record Publication(String model, long trainedTokens, JsonNode report) {
    }

    void insert(String id, String tenant, JobRequest request, String message) {
        ObjectNode json = JSON.createObjectNode().put("base", request.base()).put("task", request.task())
                .put("training_file", request.trainingFile());
        request.validationFile().ifPresent(file -> json.put("validation_file", file));
        json.set("hyperparameters", request.hyperparameters());
        database.transaction(each -> {
            TenantErasures.requireKept(each, tenant);
            each.update("insert into tuning_job (id, tenant, request, status, created_at, attempt, cancel_requested) "
                    + "values (?, ?, ?, 'queued', ?, 0, false)", id, tenant, json.toString(), now());
            return event(each, id, "info", "message", message, null);
        });
    }

    Optional<TuningJob> find(String id) {
        return database.transaction(each -> find(each, id, ""));
    }

    private static Optional<TuningJob> find(Database.Transaction transaction, String id, String lock) throws SQLException {
        return transaction.query(JobStore::read, "select * from tuning_job where id = ?" + lock, id).stream().findFirst();
    }

    /** How many jobs of all tenants are in each state, by {@link JobState#wire}. */
    Map<String, Long> states() {
        Map<String, Long> states = new TreeMap<>();
        database.query(row -> states.put(row.getString(1), row.getLong(2)), "select status, count(*) from tuning_job group by status");
        return states;
    }

    /** A tenant's, newest first. */
    List<TuningJob> list(String tenant) {
        return database.query(JobStore::read, "select * from tuning_job where tenant = ? order by created_at desc, id", tenant);
    }

    /** Jobs that have not ended, paused ones included, oldest first. */
    List<TuningJob> unfinished() {
        return database.query(JobStore::read, "select * from tuning_job where status in ('queued', 'running', 'paused') "
                + "order by created_at");
    }

    /**
     * Begins a run; empty when the job has ended, is paused or was queued anew since, or was to be cancelled or paused, which happens
     * then. A job that may have a best to publish is run to be cancelled.
     *
     * @param resumes how often the job had been queued anew when this run was scheduled
     */
    Optional<Run> begin(String id, int resumes) {
        return database.transaction(each -> {
            TuningJob job = find(each, id, " for update").filter(found -> runnable(found, resumes)).orElse(null);
            if (job == null) {
                return Optional.empty();
            }
            if (job.cancelRequested() && !job.mayHaveBest()) {
                cancelled(each, id);
                return Optional.empty();
            }
            if (job.pauseRequested() && !job.cancelRequested()) {
                paused(each, id);
                return Optional.empty();
            }
            int attempt = job.attempt() + 1;
            each.update("update tuning_job set status = 'running', attempt = ?, started_at = ? where id = ?", attempt, now(), id);
            if (attempt == 1) {
                event(each, id, "info", "message", "The job has started", null);
            } else if (job.state() instanceof JobState.Running) {
                event(each, id, "warn", "message", "The server stopped during attempt " + job.attempt(), null);
            }
            return Optional.of(new Run(job, attempt));
        });
    }

    private static boolean runnable(TuningJob job, int resumes) {
        return !job.state().ended() && !(job.state() instanceof JobState.Paused) && job.resumes() == resumes;
    }

    /** What is wanted of a run; its end when it is no longer the job's. */
    TuningControl.Wish wish(Run run) {
        return database.query(row -> row.getBoolean("cancel_requested") ? TuningControl.Wish.CANCEL
                : row.getBoolean("pause_requested") ? TuningControl.Wish.SUSPEND : TuningControl.Wish.GO_ON,
                "select cancel_requested, pause_requested from tuning_job where id = ? and attempt = ? and status = 'running'", run.id(),
                run.attempt()).stream().findFirst().orElse(TuningControl.Wish.CANCEL);
    }

    private static boolean owns(Database.Transaction transaction, Run run, String more) throws SQLException {
        return !transaction.query(row -> row.getString("id"), "select id from tuning_job where id = ? and attempt = ? and status = 'running'"
                + more, run.id(), run.attempt()).isEmpty();
    }

    /**
     * Publishes and ends the job as succeeded while holding its row: no other attempt begins and no cancellation comes between. Returns
     * false, and does not publish, when the run is no longer the job's or is to be cancelled.
     */
    boolean succeed(Run run, Supplier<Publication> publish) {
        return database.transaction(each -> {
            if (!owns(each, run, " and cancel_requested = false for update")) {
                return false;
            }
            Publication published = publish.get();
            each.update("update tuning_job set status = 'succeeded', finished_at = ?, tuned_model = ?, trained_tokens = ?, report = ? "
                    + "where id = ?", now(), published.model(), published.trainedTokens(), published.report().toString(), run.id());
            return event(each, run.id(), "info", "message", "The job has succeeded: " + published.model() + " answers now",
                    published.report());
        });
    }

    /**
     * Publishes the best of a job that is to be cancelled, and ends it so, as {@link #succeed} does. Returns false, and does not publish,
     * when the run is no longer the job's or nobody wants it cancelled.
     */
    boolean cancelWithBest(Run run, Supplier<Publication> publish) {
        return database.transaction(each -> {
            if (!owns(each, run, " and cancel_requested = true for update")) {
                return false;
            }
            Publication published = publish.get();
            each.update("update tuning_job set status = 'cancelled', finished_at = ?, tuned_model = ?, trained_tokens = ?, report = ? "
                    + "where id = ?", now(), published.model(), published.trainedTokens(), published.report().toString(), run.id());
            return event(each, run.id(), "info", "message", "The job was cancelled; the best of its evaluations was published: "
                    + published.model() + " answers now", published.report());
        });
    }

    void fail(Run run, Problem problem) {
        database.transaction(each -> owns(each, run, " for update")
                && each.update("update tuning_job set status = 'failed', finished_at = ?, error_code = ?, error_message = ? where id = ?", now(),
                        problem.code().wire(), problem.getMessage(), run.id()) == 1
                && event(each, run.id(), "error", "message", "The job has failed (" + problem.code().wire() + "): " + problem.getMessage(), null));
    }

    /**
     * Ends a run that was told to: the job is cancelled or paused if that was asked, and else goes back into the queue. Returns whether
     * it is in the queue.
     *
     * @param stopping whether the server's end is the reason; if not, somebody has taken a pause back
     */
    boolean letGo(Run run, boolean stopping) {
        return database.transaction(each -> {
            if (!owns(each, run, " for update")) {
                return false;
            }
            TuningJob job = find(each, run.id(), "").orElseThrow();
            if (job.cancelRequested()) {
                cancelled(each, run.id());
                return false;
            }
            if (job.pauseRequested()) {
                paused(each, run.id());
                return false;
            }
            each.update("update tuning_job set status = 'queued' where id = ?", run.id());
            return !stopping || event(each, run.id(), "warn", "message", "The server is stopping; the job will go on with it", null);
        });
    }

    private static boolean paused(Database.Transaction transaction, String id) throws SQLException {
        transaction.update("update tuning_job set status = 'paused', pause_requested = false where id = ?", id);
        return event(transaction, id, "info", "message", "The job is paused", null);
    }

    private static boolean cancelled(Database.Transaction transaction, String id) throws SQLException {
        transaction.update("update tuning_job set status = 'cancelled', finished_at = ?, cancel_requested = true where id = ?", now(), id);
        return event(transaction, id, "info", "message", "The job was cancelled; nothing was published", null);
    }

    /**
     * Asks for the end: a running job is cancelled by its runner before its next step, any other at once, unless it may have a best to
     * publish: then a runner does it. False when the job has ended.
     */
    boolean requestCancel(String id) {
        return database.transaction(each -> {
            TuningJob job = find(each, id, " for update").orElseThrow();
            return switch (job.state()) {
                case JobState.Queued _ -> job.mayHaveBest() ? cancelling(each, job) : cancelled(each, id);
                case JobState.Paused _ -> job.mayHaveBest() ? cancelling(each, job) && queueAnew(each, id) : cancelled(each, id);
                case JobState.Running _ -> cancelling(each, job);
                case JobState.Succeeded _, JobState.Failed _, JobState.Cancelled _ -> false;
            };
        });
    }

    private static boolean cancelling(Database.Transaction transaction, TuningJob job) throws SQLException {
        return job.cancelRequested() || transaction.update("update tuning_job set cancel_requested = true where id = ?", job.id()) == 1
                && event(transaction, job.id(), "info", "message", "Cancellation was asked for", null);
    }

    private static boolean queueAnew(Database.Transaction transaction, String id) throws SQLException {
        return transaction.update("update tuning_job set status = 'queued', resumes = resumes + 1 where id = ?", id) == 1;
    }

    /** Asks for a pause: a queued job is paused at once, a running one by its runner before its next step; false when it has ended. */
    boolean requestPause(String id) {
        return database.transaction(each -> {
            TuningJob job = find(each, id, " for update").orElseThrow();
            return switch (job.state()) {
                case JobState.Paused _ -> true;
                case JobState.Queued _ -> job.cancelRequested() || paused(each, id);
                case JobState.Running _ -> job.cancelRequested() || job.pauseRequested()
                        || each.update("update tuning_job set pause_requested = true where id = ?", id) == 1
                                && event(each, id, "info", "message", "A pause was asked for", null);
                case JobState.Succeeded _, JobState.Failed _, JobState.Cancelled _ -> false;
            };
        });
    }

    /** Queues a paused job anew, or takes back a pause that was only asked for; false when the job neither is paused nor is to be. */
    boolean resume(String id) {
        return database.transaction(each -> {
            TuningJob job = find(each, id, " for update").orElseThrow();
            if (job.state() instanceof JobState.Paused) {
                return queueAnew(each, id) && event(each, id, "info", "message", "The job was resumed", null);
            }
            return job.pauseRequested() && !job.state().ended()
                    && each.update("update tuning_job set pause_requested = false where id = ?", id) == 1
                    && event(each, id, "info", "message", "The pause was taken back", null);
        });
    }

    /** Removes a tenant's jobs, and counts them in its erasure; a run of one finds that it is no longer the job's. Returns their ids. */
    List<String> erase(String tenant) {
        return database.transaction(each -> {
            List<String> ids = each.query(row -> row.getString("id"), "select id from tuning_job where tenant = ? for update", tenant);
            each.update("delete from job_event where job in (select id from tuning_job where tenant = ?)", tenant);
            each.update("delete from tuning_job where tenant = ?", tenant);
            each.update("update tenant_erasure set jobs = jobs + ? where tenant = ?", ids.size(), tenant);
            return ids;
        });
    }

    /** Adds an event of a run, unless the run is no longer the job's. */
    void event(Run run, String kind, String message, JsonNode data) {
        database.transaction(each -> owns(each, run, " for update") && event(each, run.id(), "info", kind, message, data));
    }

    /** Adds a message of a run, unless the run is no longer the job's. */
    void message(Run run, String level, String message) {
        database.transaction(each -> owns(each, run, " for update") && event(each, run.id(), level, "message", message, null));
    }

    /** The caller has locked or just inserted the job's row, so that numbers are given out one by one. */
    private static boolean event(Database.Transaction transaction, String id, String level, String kind, String message, JsonNode data)
            throws SQLException {
        return transaction.update("insert into job_event (job, number, created_at, level, kind, message, data) "
                + "select ?, coalesce(max(number), 0) + 1, ?, ?, ?, ?, ? from job_event where job = ?", id, now(), level, kind, message,
                data == null ? null : data.toString(), id) == 1;
    }

    /** Newest first, as OpenAI lists them. */
    List<JobEvent> events(String id) {
        return database.query(row -> new JobEvent(row.getString("job"), row.getInt("number"), instant(row.getLong("created_at")),
                row.getString("level"), row.getString("kind"), row.getString("message"), Optional.ofNullable(json(row.getString("data")))),
                "select * from job_event where job = ? order by number desc", id);
    }

    private static TuningJob read(ResultSet row) throws SQLException {
        JsonNode request = json(row.getString("request"));
        Instant finished = instant(row.getLong("finished_at"));
        long trainedTokens = row.getLong("trained_tokens");
        JobState state = switch (row.getString("status")) {
            case "queued" -> new JobState.Queued();
            case "running" -> new JobState.Running(row.getInt("attempt"), instant(row.getLong("started_at")));
            case "paused" -> new JobState.Paused();
            case "succeeded" -> new JobState.Succeeded(finished, row.getString("tuned_model"), trainedTokens);
            case "failed" -> new JobState.Failed(finished, row.getString("error_code"), row.getString("error_message"));
            case "cancelled" -> new JobState.Cancelled(finished, Optional.ofNullable(row.getString("tuned_model"))
                    .map(model -> new JobState.Tuned(model, trainedTokens)));
            default -> throw new SQLException("job " + row.getString("id") + " has unknown status " + row.getString("status"));
        };
        return new TuningJob(row.getString("id"), row.getString("tenant"), new JobRequest(request.path("base").asText(),
                request.path("task").asText(), request.path("training_file").asText(),
                Optional.ofNullable(request.path("validation_file").asText(null)), request.path("hyperparameters")), state,
                instant(row.getLong("created_at")), row.getBoolean("cancel_requested"),
                row.getBoolean("pause_requested"), row.getInt("attempt"), row.getInt("resumes"),
                Optional.ofNullable(json(row.getString("report"))));
    }

    private static JsonNode json(String text) throws SQLException {
        try {
            return text == null ? null : JSON.readTree(text);
        } catch (JsonProcessingException damaged) {
            throw new SQLException("a job's row holds what is not JSON", damaged);
        }
    }

    private static Instant instant(long milliseconds) {
        return Instant.ofEpochMilli(milliseconds);
    }

    private static long now() {
        return System.currentTimeMillis();
    }
}
