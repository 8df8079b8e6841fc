package io.inlay.jobs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
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

    /** What a run that succeeds leaves. */
    record Publication(String model, long trainedTokens, JsonNode report) {
    }

    void insert(String id, String tenant, JobRequest request, String message) {
        ObjectNode json = JSON.createObjectNode().put("base", request.base()).put("task", request.task())
                .put("training_file", request.trainingFile());
        request.validationFile().ifPresent(file -> json.put("validation_file", file));
        json.set("hyperparameters", request.hyperparameters());
        database.transaction(each -> {
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

    /** A tenant's, newest first. */
    List<TuningJob> list(String tenant) {
        return database.query(JobStore::read, "select * from tuning_job where tenant = ? order by created_at desc, id", tenant);
    }

    /** Ids of jobs that have not ended, oldest first. */
    List<String> unfinished() {
        return database.query(row -> row.getString("id"), "select id from tuning_job where status in ('queued', 'running') order by created_at");
    }

    /** Begins a run; empty when the job has ended, or was to be cancelled, which happens then. */
    Optional<Run> begin(String id) {
        return database.transaction(each -> {
            TuningJob job = find(each, id, " for update").filter(found -> !found.state().ended()).orElse(null);
            if (job == null) {
                return Optional.empty();
            }
            if (job.cancelRequested()) {
                cancelled(each, id);
                return Optional.empty();
            }
            int attempt = job.attempt() + 1;
            each.update("update tuning_job set status = 'running', attempt = ?, started_at = ? where id = ?", attempt, now(), id);
            if (attempt == 1) {
                event(each, id, "info", "message", "The job has started", null);
            } else {
                event(each, id, "warn", "message", "The server stopped during attempt " + job.attempt()
                        + "; the job starts again from its beginning", null);
            }
            return Optional.of(new Run(job, attempt));
        });
    }

    /** Whether the run is still the job's, and nobody wants it to end. */
    boolean wanted(Run run) {
        return database.transaction(each -> owns(each, run, " and cancel_requested = false"));
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

    void fail(Run run, Problem problem) {
        database.transaction(each -> owns(each, run, " for update")
                && each.update("update tuning_job set status = 'failed', finished_at = ?, error_code = ?, error_message = ? where id = ?", now(),
                        problem.code().wire(), problem.getMessage(), run.id()) == 1
                && event(each, run.id(), "error", "message", "The job has failed (" + problem.code().wire() + "): " + problem.getMessage(), null));
    }

    /** Ends a run that was told to: the job is cancelled if that was asked, and else goes back into the queue. */
    void letGo(Run run) {
        database.transaction(each -> {
            if (owns(each, run, " and cancel_requested = true for update")) {
                return cancelled(each, run.id());
            }
            return owns(each, run, " for update")
                    && each.update("update tuning_job set status = 'queued' where id = ?", run.id()) == 1
                    && event(each, run.id(), "warn", "message", "The server is stopping; the job will start again with it", null);
        });
    }

    private static boolean cancelled(Database.Transaction transaction, String id) throws SQLException {
        transaction.update("update tuning_job set status = 'cancelled', finished_at = ?, cancel_requested = true where id = ?", now(), id);
        return event(transaction, id, "info", "message", "The job was cancelled; nothing was published", null);
    }

    /** Asks for the end: a queued job is cancelled at once, a running one by its runner before its next step; false when it has ended. */
    boolean requestCancel(String id) {
        return database.transaction(each -> {
            TuningJob job = find(each, id, " for update").orElseThrow();
            return switch (job.state()) {
                case JobState.Queued _ -> cancelled(each, id);
                case JobState.Running _ -> job.cancelRequested()
                        || each.update("update tuning_job set cancel_requested = true where id = ?", id) == 1
                                && event(each, id, "info", "message", "Cancellation was asked for", null);
                case JobState.Succeeded _, JobState.Failed _, JobState.Cancelled _ -> false;
            };
        });
    }

    /** Adds an event of a run, unless the run is no longer the job's. */
    void event(Run run, String kind, String message, JsonNode data) {
        database.transaction(each -> owns(each, run, " for update") && event(each, run.id(), "info", kind, message, data));
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
        JobState state = switch (row.getString("status")) {
            case "queued" -> new JobState.Queued();
            case "running" -> new JobState.Running(row.getInt("attempt"), instant(row.getLong("started_at")));
            case "succeeded" -> new JobState.Succeeded(finished, row.getString("tuned_model"), row.getLong("trained_tokens"));
            case "failed" -> new JobState.Failed(finished, row.getString("error_code"), row.getString("error_message"));
            case "cancelled" -> new JobState.Cancelled(finished);
            default -> throw new SQLException("job " + row.getString("id") + " has unknown status " + row.getString("status"));
        };
        return new TuningJob(row.getString("id"), row.getString("tenant"), new JobRequest(request.path("base").asText(),
                request.path("task").asText(), request.path("training_file").asText(),
                Optional.ofNullable(request.path("validation_file").asText(null)), request.path("hyperparameters")), state,
                instant(row.getLong("created_at")), row.getBoolean("cancel_requested"), row.getInt("attempt"),
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
