package io.inlay.jobs;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.delta.DeltaManifest;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.tensor.LinuxMemory;
import io.inlay.tuning.Evaluation;
import io.inlay.tuning.Pace;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningOutcome;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningRun;
import java.lang.foreign.Arena;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Runs one job from its row to its published version, and writes what happens into its events. */
final class JobRunner {

    private static final Logger LOG = LoggerFactory.getLogger(JobRunner.class);

    private static final long LOOK_NANOS = 200_000_000;

    private final JobStore jobs;
    private final TrainingFiles files;
    private final DeltaStore deltas;
    private final Function<String, LlamaModel> models;
    private final TuningDefaults defaults;
    private final String code;
    private final Supplier<Pace> paces;
    private volatile boolean stopping;

    /**
     * @param models a base model by name; throws {@code MODEL_NOT_FOUND}
     * @param code version of Inlay, for manifests
     * @param paces makes the pace of each run
     */
    JobRunner(JobStore jobs, TrainingFiles files, DeltaStore deltas, Function<String, LlamaModel> models, TuningDefaults defaults,
            String code, Supplier<Pace> paces) {
        this.jobs = jobs;
        this.files = files;
        this.deltas = deltas;
        this.models = models;
        this.defaults = defaults;
        this.code = code;
        this.paces = paces;
    }

    /** Makes runs end before their next step; their jobs go back into the queue, for the next start. */
    void stop() {
        stopping = true;
    }

    /** Runs to the end; what is wrong with the job ends up in its row. */
    void run(String id) {
        Optional<JobStore.Run> begun = stopping ? Optional.empty() : jobs.begin(id);
        if (begun.isEmpty()) {
            return;
        }
        JobStore.Run run = begun.get();
        try {
            if (!adopt(run)) {
                tune(run);
            }
        } catch (Problem problem) {
            end(run, problem);
        } catch (RuntimeException | Error unexpected) {
            LOG.error("job {} failed", id, unexpected);
            end(run, new Problem(Problem.Code.INTERNAL, "the job failed: " + unexpected + "; the server's log has more", unexpected));
        }
    }

    private void end(JobStore.Run run, Problem problem) {
        if (problem.code() == Problem.Code.CANCELLED) {
            jobs.letGo(run);
        } else {
            LOG.warn("job {} failed: {}", run.id(), problem.getMessage());
            jobs.fail(run, problem);
        }
    }

    /** An attempt that died after publishing, before it could say so, has left its version: that is the job's result. */
    private boolean adopt(JobStore.Run run) {
        if (run.attempt() == 1) {
            return false;
        }
        Optional<DeltaVersion> left = deltas.list(run.job().tenant()).stream()
                .filter(version -> run.id().equals(version.manifest().job())).findFirst();
        return left.isPresent() && jobs.succeed(run, () -> new JobStore.Publication(left.get().model(),
                left.get().manifest().metrics().getOrDefault("tokens", 0.0).longValue(), JobReport.of(left.get())));
    }

    private void tune(JobStore.Run run) {
        TuningJob job = run.job();
        LlamaModel model = models.apply(job.request().base());
        TuningParameters parameters = Hyperparameters.parse(job.request().hyperparameters(), defaults);
        TrainingFile trainingFile = file(job, job.request().trainingFile());
        List<TuningExample> training = examples(model, trainingFile);
        List<TuningExample> validation = job.request().validationFile().map(each -> examples(model, file(job, each))).orElse(List.of());
        try (Arena arena = Arena.ofShared()) {
            TuningOutcome outcome = new TuningRun(model, paces.get(), new LinuxMemory(), evaluation(job, model)).run(training, validation,
                    parameters, new JobEvents(jobs, run),
                    new Wanted(run), arena);
            List<JobEvent> events = jobs.events(run.id());
            boolean published = jobs.succeed(run, () -> {
                DeltaVersion version = deltas.publish(job.tenant(), model.name(), job.request().task(),
                        manifest(run, model, trainingFile, parameters, outcome), outcome.blocks(), model);
                ObjectNode report = JobReport.of(version, model, outcome);
                JobHistory.addTo(report, events);
                return new JobStore.Publication(version.model(), outcome.tokens(), report);
            });
            if (!published) {
                jobs.letGo(run);
            }
        }
    }

    /** Asks the database now and then whether the run is to go on. */
    private final class Wanted implements BooleanSupplier {

        private final JobStore.Run run;
        private long looked = System.nanoTime();
        private boolean over;

        private Wanted(JobStore.Run run) {
            this.run = run;
        }

        @Override
        public boolean getAsBoolean() {
            long now = System.nanoTime();
            if (!over && now - looked > LOOK_NANOS) {
                looked = now;
                over = !jobs.wanted(run);
            }
            return over || stopping;
        }
    }

    private TrainingFile file(TuningJob job, String id) {
        return files.find(job.tenant(), id).orElseThrow(() -> new Problem(Problem.Code.NOT_FOUND, "file " + id
                + " is no longer there; upload it again and create a new job"));
    }

    private List<TuningExample> examples(LlamaModel model, TrainingFile file) {
        return new TrainingData(model).read(file.name(), files.content(file));
    }

    private Optional<Evaluation> evaluation(TuningJob job, LlamaModel model) {
        return MetricHyperparameters.parse(job.request().hyperparameters()).map(settings -> {
            TrainingFile file = file(job, job.request().validationFile().orElseThrow());
            return new Evaluation(model, new TrainingData(model).evaluation(file.name(), files.content(file), settings.metrics()),
                    settings);
        });
    }

    private DeltaManifest manifest(JobStore.Run run, LlamaModel model, TrainingFile trainingFile, TuningParameters parameters,
            TuningOutcome outcome) {
        Map<String, String> hyperparameters = new TreeMap<>();
        Hyperparameters.describe(parameters).properties().forEach(field -> hyperparameters.put(field.getKey(),
                field.getValue().isTextual() ? field.getValue().asText() : field.getValue().toString()));
        Map<String, Double> metrics = new TreeMap<>(Map.of("training_loss", outcome.trainingLoss(), "steps", (double) outcome.steps(),
                "tokens", (double) outcome.tokens()));
        outcome.validationLoss().ifPresent(loss -> metrics.put("validation_loss", loss));
        return DeltaManifest.draft(model.name(), model.fingerprint(), run.job().request().task(), outcome.blocks().getFirst().edge(),
                Instant.now().toString(), run.id(), hyperparameters, trainingFile.digest(), metrics, code);
    }
}
