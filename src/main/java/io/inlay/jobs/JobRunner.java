package io.inlay.jobs;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.delta.DeltaManifest;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.tuning.SelectionReport;
import io.inlay.tuning.StepReport;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningListener;
import io.inlay.tuning.TuningOutcome;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningPlan;
import io.inlay.tuning.TuningRun;
import java.lang.foreign.Arena;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Runs one job from its row to its published version, and writes what happens into its events. */
final class JobRunner {

    private static final Logger LOG = LoggerFactory.getLogger(JobRunner.class);
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Steps are told at most this often; the last one always is. */
    private static final long EVENT_NANOS = 250_000_000;

    private final JobStore jobs;
    private final TrainingFiles files;
    private final DeltaStore deltas;
    private final Function<String, LlamaModel> models;
    private final String code;
    private volatile boolean stopping;

    /**
     * @param models a base model by name; throws {@code MODEL_NOT_FOUND}
     * @param code version of Inlay, for manifests
     */
    JobRunner(JobStore jobs, TrainingFiles files, DeltaStore deltas, Function<String, LlamaModel> models, String code) {
        this.jobs = jobs;
        this.files = files;
        this.deltas = deltas;
        this.models = models;
        this.code = code;
    }

    /** Makes runs end before their next step; their jobs stay as they are and are taken up by the next start. */
    void stop() {
        stopping = true;
    }

    /** Runs to the end; never throws for what is wrong with the job. */
    void run(String id) {
        Optional<Integer> attempt = jobs.begin(id);
        if (attempt.isEmpty()) {
            jobs.cancelled(id);
            return;
        }
        TuningJob job = jobs.find(id).orElseThrow();
        if (attempt.get() > 1) {
            jobs.event(id, "warn", "message", "The server stopped during attempt " + (attempt.get() - 1)
                    + "; the job starts again from its beginning", null);
        }
        try {
            tune(job, attempt.get());
        } catch (Problem problem) {
            end(job, attempt.get(), problem);
        } catch (RuntimeException | Error unexpected) {
            LOG.error("job {} failed", id, unexpected);
            end(job, attempt.get(), new Problem(Problem.Code.INTERNAL, "the job failed: " + unexpected, unexpected));
        }
    }

    private void end(TuningJob job, int attempt, Problem problem) {
        if (problem.code() == Problem.Code.CANCELLED && stopping && !jobs.cancelRequested(job.id())) {
            jobs.event(job.id(), "warn", "message", "The server is stopping; the job will start again with it", null);
        } else if (problem.code() == Problem.Code.CANCELLED && jobs.cancelled(job.id())) {
            jobs.event(job.id(), "info", "message", "The job was cancelled; nothing was published", null);
        } else if (jobs.fail(job.id(), attempt, problem.code().wire(), problem.getMessage())) {
            jobs.event(job.id(), "error", "message", problem.getMessage(), null);
        }
    }

    private void tune(TuningJob job, int attempt) {
        LlamaModel model = models.apply(job.request().base());
        TuningParameters parameters = Hyperparameters.parse(job.request().hyperparameters());
        TrainingFile trainingFile = file(job, job.request().trainingFile());
        List<TuningExample> training = examples(model, trainingFile);
        List<TuningExample> validation = job.request().validationFile().map(each -> examples(model, file(job, each))).orElse(List.of());
        Follower follower = new Follower(job.id());
        try (Arena arena = Arena.ofShared()) {
            TuningOutcome outcome = new TuningRun(model).run(training, validation, parameters, follower,
                    () -> stopping || jobs.cancelRequested(job.id()) || !jobs.current(job.id(), attempt), arena);
            if (!jobs.current(job.id(), attempt)) {
                return;
            }
            publish(job, attempt, model, trainingFile, parameters, outcome);
        }
    }

    private TrainingFile file(TuningJob job, String id) {
        return files.find(job.tenant(), id).orElseThrow(() -> new Problem(Problem.Code.NOT_FOUND, "file " + id
                + " is no longer there; upload it again and create a new job"));
    }

    private List<TuningExample> examples(LlamaModel model, TrainingFile file) {
        return new TrainingData(model).read(file.name(), files.content(file));
    }

    private void publish(TuningJob job, int attempt, LlamaModel model, TrainingFile trainingFile, TuningParameters parameters,
            TuningOutcome outcome) {
        ObjectNode described = JSON.createObjectNode();
        Hyperparameters.describe(parameters, described);
        Map<String, String> hyperparameters = new TreeMap<>();
        described.properties().forEach(field -> hyperparameters.put(field.getKey(),
                field.getValue().isTextual() ? field.getValue().asText() : field.getValue().toString()));
        Map<String, Double> metrics = new TreeMap<>(Map.of("training_loss", outcome.trainingLoss(), "steps", (double) outcome.steps()));
        outcome.validationLoss().ifPresent(loss -> metrics.put("validation_loss", loss));
        int edge = outcome.blocks().getFirst().edge();
        DeltaVersion version = deltas.publish(job.tenant(), job.request().base(), job.request().task(),
                DeltaManifest.draft(model.name(), model.fingerprint(), job.request().task(), edge, Instant.now().toString(), job.id(),
                        hyperparameters, trainingFile.digest(), metrics, code),
                outcome.blocks(), model);
        ObjectNode report = report(model, outcome, version);
        if (jobs.succeed(job.id(), attempt, version.model(), outcome.tokens(), report)) {
            jobs.event(job.id(), "info", "message", "Published " + version.model() + " (" + version.fileBytes() + " bytes)", report);
        } else {
            deltas.delete(version);
        }
    }

    private static ObjectNode report(LlamaModel model, TuningOutcome outcome, DeltaVersion version) {
        ObjectNode report = JSON.createObjectNode().put("delta_version", version.number()).put("delta_digest", version.digest())
                .put("delta_bytes", version.fileBytes()).put("base_bytes", model.bytes()).put("base_fingerprint", model.fingerprint())
                .put("steps", outcome.steps()).put("trained_tokens", outcome.tokens()).put("training_loss", outcome.trainingLoss());
        outcome.validationLoss().ifPresent(loss -> report.put("validation_loss", loss));
        outcome.selection().ifPresent(selection -> describe(selection, report.putObject("selection")));
        return report;
    }

    private static void describe(SelectionReport selection, ObjectNode into) {
        into.put("block_edge", selection.edge()).put("blocks", selection.blocks()).put("candidates", selection.candidates())
                .put("trained_parameters", selection.trainedParameters()).put("share_of_parameters", selection.share());
        for (SelectionReport.MatrixCount matrix : selection.matrices()) {
            into.withArray("matrices").addObject().put("layer", matrix.layer())
                    .put("projection", matrix.projection().name().toLowerCase(Locale.ROOT)).put("blocks", matrix.blocks())
                    .put("candidates", matrix.candidates()).put("mean_score", matrix.meanScore());
        }
    }

    /** Turns what the run says into events. */
    private final class Follower implements TuningListener {

        private final String job;
        private long told = System.nanoTime() - EVENT_NANOS;

        private Follower(String job) {
            this.job = job;
        }

        @Override
        public void planned(TuningPlan plan) {
            jobs.event(job, "info", "message", String.format(Locale.ROOT, "Training %,d of %,d parameters (%.2f %%) in %d steps after %d of warm-up",
                    plan.trainedParameters(), plan.modelParameters(), 100 * plan.share(), plan.steps(), plan.warmUpSteps()), null);
        }

        @Override
        public void warmUp(WarmUpReport report) {
            if (due(report.step() == report.steps())) {
                jobs.event(job, "info", "metrics", "Warm-up " + report.step() + "/" + report.steps() + ": loss " + shown(report.loss()),
                        JSON.createObjectNode().put("phase", "warm_up").put("step", report.step()).put("total_steps", report.steps())
                                .put("train_loss", report.loss()));
            }
        }

        @Override
        public void selected(SelectionReport report) {
            ObjectNode data = JSON.createObjectNode();
            describe(report, data);
            jobs.event(job, "info", "message", "Selected " + report.blocks() + " of " + report.candidates() + " blocks of edge "
                    + report.edge(), data);
        }

        @Override
        public void step(StepReport report) {
            if (due(report.step() == report.steps())) {
                double seconds = report.elapsed().toNanos() / 1e9;
                jobs.event(job, "info", "metrics", "Step " + report.step() + "/" + report.steps() + ": training loss " + shown(report.loss()),
                        JSON.createObjectNode().put("phase", "training").put("step", report.step()).put("total_steps", report.steps())
                                .put("train_loss", report.loss()).put("learning_rate", report.learningRate())
                                .put("gradient_norm", report.gradientNorm()).put("tokens", report.tokens())
                                .put("tokens_per_second", report.tokens() / seconds).put("seconds", seconds));
            }
        }

        @Override
        public void validated(ValidationReport report) {
            jobs.event(job, "info", "metrics", "Step " + report.step() + ": validation loss " + shown(report.loss()),
                    JSON.createObjectNode().put("phase", "validation").put("step", report.step()).put("valid_loss", report.loss()));
        }

        private boolean due(boolean last) {
            long now = System.nanoTime();
            if (!last && now - told < EVENT_NANOS) {
                return false;
            }
            told = now;
            return true;
        }

        private static String shown(double loss) {
            return String.format(Locale.ROOT, "%.4f", loss);
        }
    }
}
