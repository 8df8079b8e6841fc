package io.inlay.jobs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import javax.sql.DataSource;

/**
 * Jobs and their events in the database. Every change of state is one conditional statement, so that of a runner, a canceller and a
 * second runner after a crash only one wins: a runner's changes carry its attempt number and change nothing once a newer one has begun.
 */
final class JobStore {

    private static final ObjectMapper JSON = new ObjectMapper();

    private final Database database;

    JobStore(DataSource source) {
        this.database = new Database(source);
    }

    void insert(String id, String tenant, JobRequest request) {
        ObjectNode json = JSON.createObjectNode().put("base", request.base()).put("task", request.task())
                .put("training_file", request.trainingFile());
        request.validationFile().ifPresent(file -> json.put("validation_file", file));
        json.set("hyperparameters", request.hyperparameters());
        database.update("insert into tuning_job (id, tenant, request, status, created_at, attempt, cancel_requested) "
                + "values (?, ?, ?, 'queued', ?, 0, false)", id, tenant, json.toString(), now());
    }

    Optional<TuningJob> find(String id) {
        return database.query(JobStore::read, "select * from tuning_job where id = ?", id).stream().findFirst();
    }

    List<TuningJob> list(String tenant) {
        return database.query(JobStore::read, "select * from tuning_job where tenant = ? order by created_at desc, id", tenant);
    }

    /** Ids of jobs that have not ended, oldest first. */
    List<String> unfinished() {
        return database.query(row -> row.getString("id"), "select id from tuning_job where status in ('queued', 'running') order by created_at");
    }

    /** Begins a run: the attempt's number, or empty when the job has ended or is to be cancelled. */
    Optional<Integer> begin(String id) {
        int changed = database.update("update tuning_job set status = 'running', attempt = attempt + 1, started_at = ? "
                + "where id = ? and status in ('queued', 'running') and cancel_requested = false", now(), id);
        return changed == 0 ? Optional.empty() : find(id).map(TuningJob::attempt);
    }

    /** Whether a run with this number is still the job's, and goes on. */
    boolean current(String id, int attempt) {
        return !database.query(row -> row.getInt("attempt"), "select attempt from tuning_job where id = ? and attempt = ? "
                + "and status = 'running'", id, attempt).isEmpty();
    }

    boolean cancelRequested(String id) {
        return !database.query(row -> row.getString("id"), "select id from tuning_job where id = ? and cancel_requested = true", id).isEmpty();
    }

    boolean succeed(String id, int attempt, String model, long trainedTokens, JsonNode report) {
        return database.update("update tuning_job set status = 'succeeded', finished_at = ?, tuned_model = ?, trained_tokens = ?, report = ? "
                + "where id = ? and attempt = ? and status = 'running'", now(), model, trainedTokens, report.toString(), id, attempt) > 0;
    }

    boolean fail(String id, int attempt, String code, String message) {
        return database.update("update tuning_job set status = 'failed', finished_at = ?, error_code = ?, error_message = ? "
                + "where id = ? and attempt = ? and status = 'running'", now(), code, message, id, attempt) > 0;
    }

    boolean cancelled(String id) {
        return database.update("update tuning_job set status = 'cancelled', finished_at = ? where id = ? and cancel_requested = true "
                + "and status in ('queued', 'running')", now(), id) > 0;
    }

    /** Asks for the end: a queued job is cancelled at once, a running one by its runner before its next step. */
    void requestCancel(String id) {
        database.update("update tuning_job set cancel_requested = true where id = ? and status in ('queued', 'running')", id);
        database.update("update tuning_job set status = 'cancelled', finished_at = ? where id = ? and status = 'queued'", now(), id);
    }

    void event(String id, String level, String kind, String message, JsonNode data) {
        database.update("insert into job_event (job, number, created_at, level, kind, message, data) "
                + "select ?, coalesce(max(number), 0) + 1, ?, ?, ?, ?, ? from job_event where job = ?", id, now(), level, kind, message,
                data == null ? null : data.toString(), id);
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
