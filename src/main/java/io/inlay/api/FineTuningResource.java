package io.inlay.api;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.access.Names;
import io.inlay.access.Role;
import io.inlay.jobs.JobEvent;
import io.inlay.jobs.JobRequest;
import io.inlay.jobs.JobState;
import io.inlay.jobs.TuningJob;
import io.inlay.jobs.TuningJobs;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.QueryParam;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Fine-tuning jobs. */
@Path("/v1/fine_tuning/jobs")
@RunOnVirtualThread
public class FineTuningResource {

    private static final ObjectMapper JSON = new ObjectMapper();

    private final TuningJobs jobs;
    private final Caller caller;

    FineTuningResource(TuningJobs jobs, Caller caller) {
        this.jobs = jobs;
        this.caller = caller;
    }

    @POST
    @Allowed(Role.OWNER)
    @Changes("job.create")
    @Operation(summary = "Creates a job: validated whole before it is accepted; with dry_run only says what it would be and cost")
    public Object create(Wire.JobRequestBody body) {
        if (body == null) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body is missing; send a JSON object");
        }
        JobRequest request = new JobRequest(required("model", body.model()), body.suffix() == null ? "default" : body.suffix(),
                required("training_file", body.training_file()),
                Optional.ofNullable(body.validation_file()).map(id -> required("validation_file", id)), hyperparameters(body));
        return Boolean.TRUE.equals(body.dry_run()) ? jobs.estimate(caller.tenant(), request)
                : view(jobs.create(caller.tenant(), request));
    }

    private static String required(String field, String value) {
        if (value == null || value.isBlank()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body has no field '" + field + "'; it is required");
        }
        if (!Names.canRefer(value)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the body's field '" + field + "' is '" + Names.shown(value)
                    + "'; names and ids are visible ASCII, 256 characters at most");
        }
        return value;
    }

    /**
     * Of {@code method: {"type": T, T: {"hyperparameters": {...}}}}, or with the fields directly in T's object, or of OpenAI's older
     * top-level {@code hyperparameters}. OpenAI's own method {@code supervised} is answered with SMT.
     */
    private static JsonNode hyperparameters(Wire.JobRequestBody body) {
        ObjectNode fields = JSON.createObjectNode();
        merge(fields, body.hyperparameters());
        String type = "smt";
        if (body.method() != null && !body.method().isNull()) {
            type = required("method.type", body.method().path("type").asText(null));
            JsonNode own = body.method().path(type);
            merge(fields, own.has("hyperparameters") ? own.get("hyperparameters") : own);
        }
        fields.put("method", type.equals("supervised") ? "smt" : type);
        if (body.seed() != null) {
            fields.put("seed", body.seed());
        }
        return fields;
    }

    private static void merge(ObjectNode fields, JsonNode more) {
        if (more == null || more.isNull() || more.isMissingNode()) {
            return;
        }
        if (!more.isObject()) {
            throw new Problem(Problem.Code.INVALID_HYPERPARAMETERS, "hyperparameters are " + more + "; they must be a JSON object");
        }
        more.properties().forEach(field -> fields.set(field.getKey(), field.getValue()));
    }

    @GET
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "The caller's jobs, newest first")
    public Wire.ListOf<Wire.Job> list(@QueryParam("limit") Integer limit, @QueryParam("after") String after) {
        return Paging.page(jobs.list(caller.tenant()), TuningJob::id, limit, after, this::view);
    }

    @GET
    @Path("/{job}")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "One job")
    public Wire.Job get(@PathParam("job") String id) {
        return view(find(id));
    }

    @POST
    @Path("/{job}/cancel")
    @Allowed(Role.OWNER)
    @Changes("job.cancel")
    @Operation(summary = "Ends a job before its next step; nothing is published, or the best so far where keep_best is set")
    public Wire.Job cancel(@PathParam("job") String id) {
        return view(jobs.cancel(find(id)));
    }

    @POST
    @Path("/{job}/pause")
    @Allowed(Role.OWNER)
    @Changes("job.pause")
    @Operation(summary = "Makes a job wait before its next step; it survives restarts")
    public Wire.Job pause(@PathParam("job") String id) {
        return view(jobs.pause(find(id)));
    }

    @POST
    @Path("/{job}/resume")
    @Allowed(Role.OWNER)
    @Changes("job.resume")
    @Operation(summary = "Queues a paused job again; it goes on where it was, with the same bits")
    public Wire.Job resume(@PathParam("job") String id) {
        return view(jobs.resume(find(id)));
    }

    @GET
    @Path("/{job}/events")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "What has happened, newest first")
    public Wire.ListOf<Wire.Event> events(@PathParam("job") String id, @QueryParam("limit") Integer limit, @QueryParam("after") String after) {
        return Paging.page(jobs.events(find(id)), JobEvent::id, limit, after, event -> new Wire.Event(event.id(), "fine_tuning.job.event",
                event.createdAt().getEpochSecond(), event.level(), event.message(), event.kind(), event.data().orElse(null)));
    }

    @GET
    @Path("/{job}/checkpoints")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "The published version of a job that has succeeded, or was cancelled and had kept its best")
    public Wire.ListOf<Wire.JobCheckpoint> checkpoints(@PathParam("job") String id) {
        TuningJob job = find(id);
        Optional<JobState.Tuned> tuned = job.state().tuned();
        if (tuned.isEmpty()) {
            return Wire.ListOf.of(List.of());
        }
        JsonNode report = job.report().orElseGet(JSON::createObjectNode);
        boolean best = job.request().hyperparameters().path("keep_best").asBoolean() && report.has("best_step");
        long steps = report.path(best ? "best_step" : "steps").asLong();
        return Wire.ListOf.of(List.of(new Wire.JobCheckpoint(job.id().replace("ftjob-", "ftckpt-"), "fine_tuning.job.checkpoint",
                view(job).finished_at(), tuned.get().model(), job.id(), new Wire.CheckpointMetrics((double) steps,
                        report.path("training_loss").asDouble(), report.has("validation_loss") ? report.get("validation_loss").asDouble() : null),
                steps)));
    }

    private TuningJob find(String id) {
        return jobs.find(caller.tenant(), id).orElseThrow(() -> new Problem(Problem.Code.NOT_FOUND, "there is no fine-tuning job '" + id
                + "'; GET /v1/fine_tuning/jobs lists yours"));
    }

    private Wire.Job view(TuningJob job) {
        Wire.JobError error = null;
        String model = job.state().tuned().map(JobState.Tuned::model).orElse(null);
        Long tokens = job.state().tuned().map(JobState.Tuned::trainedTokens).orElse(null);
        Instant finished = null;
        switch (job.state()) {
            case JobState.Queued _, JobState.Running _, JobState.Paused _ -> {
            }
            case JobState.Succeeded done -> finished = done.at();
            case JobState.Failed failed -> {
                finished = failed.at();
                error = new Wire.JobError(failed.code(), failed.message(), null);
            }
            case JobState.Cancelled cancelled -> finished = cancelled.at();
        }
        JsonNode fields = job.request().hyperparameters();
        String type = fields.path("method").asText();
        ObjectNode method = JSON.createObjectNode().put("type", type);
        method.putObject(type).set("hyperparameters", fields);
        return new Wire.Job(job.id(), "fine_tuning.job", job.createdAt().getEpochSecond(), error, model,
                finished == null ? null : finished.getEpochSecond(), openAiHyperparameters(fields), job.request().base(), job.tenant(),
                List.of(), fields.path("seed").asLong(42), job.state().wire(), tokens, job.request().trainingFile(),
                job.request().validationFile().orElse(null), method, job.report().orElse(null));
    }

    /** The three that OpenAI's clients know, as numbers or {@code "auto"}. */
    private static JsonNode openAiHyperparameters(JsonNode fields) {
        ObjectNode known = JSON.createObjectNode();
        for (String name : List.of("n_epochs", "batch_size")) {
            known.set(name, fields.hasNonNull(name) ? fields.get(name) : JSON.getNodeFactory().textNode("auto"));
        }
        return known.put("learning_rate_multiplier", "auto");
    }
}
