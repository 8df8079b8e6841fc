package io.inlay.jobs;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.delta.DeltaManifest;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.tuning.Evaluation;
import io.inlay.tuning.Pace;
import io.inlay.tuning.TuningControl;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningOutcome;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningRun;
import java.lang.foreign.Arena;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
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
    private final JobCheckpoints checkpoints;
    private final String code;
    private final Supplier<Pace> paces;
    private final Set<String> running = ConcurrentHashMap.newKeySet();
    private final LongAdder steps = new LongAdder();
    private volatile boolean stopping;

    /**
     * @param models a base model by name; throws {@code MODEL_NOT_FOUND}
     * @param code version of Inlay, for manifests
     * @param paces makes the pace of each run
     */
    JobRunner(JobStore jobs, TrainingFiles files, DeltaStore deltas, Function<String, LlamaModel> models, TuningDefaults defaults,
            JobCheckpoints checkpoints, String code, Supplier<Pace> paces) {
        this.jobs = jobs;
        this.files = files;
        this.deltas = deltas;
        this.models = models;
        this.defaults = defaults;
        this.checkpoints = checkpoints;
        this.code = code;
        this.paces = paces;
    }

    /** Training steps of all runs. */
    long steps() {
        return steps.sum();
    }

    /** Makes runs keep their state and end before their next step; their jobs go back into the queue, for the next start. */
    void stop() {
        stopping = true;
    }

    /**
     * Runs until the job has ended or is to wait; what is wrong with it ends up in its row.
     *
     * @param resumes how often the job had been queued anew when this was scheduled
     */
    void run(String id, int resumes) {
        running.add(id);
        try {
            boolean again = true;
            while (again) {
                Optional<JobStore.Run> begun = stopping ? Optional.empty() : jobs.begin(id, resumes);
                again = begun.isPresent() && run(begun.get()) && !stopping;
            }
            removeCheckpointsIfEnded(id);
        } finally {
            running.remove(id);
        }
    }

    /** Whether a run of the job is in this process, at work or about to end. */
    boolean isRunning(String id) {
        return running.contains(id);
    }

    void removeCheckpointsIfEnded(String id) {
        if (jobs.find(id).filter(job -> !job.state().ended()).isEmpty()) {
            checkpoints.remove(id);
        }
    }

    /** Returns whether the job is in the queue after it. */
    private boolean run(JobStore.Run run) {
        try {
            return !adopt(run) && !tune(run) && jobs.letGo(run, stopping);
        } catch (Problem problem) {
            return end(run, problem);
        } catch (RuntimeException | Error unexpected) {
            LOG.error("job {} failed", run.id(), unexpected);
            return end(run, new Problem(Problem.Code.INTERNAL, "the job failed: " + unexpected + "; the server's log has more",
                    unexpected));
        }
    }

    private boolean end(JobStore.Run run, Problem problem) {
        if (problem.code() == Problem.Code.CANCELLED) {
            return jobs.letGo(run, stopping);
        }
        LOG.warn("job {} failed: {}", run.id(), problem.getMessage());
        jobs.fail(run, problem);
        return false;
    }

    /** An attempt that died after publishing, before it could say so, has left its version: that is the job's result. */
    private boolean adopt(JobStore.Run run) {
        if (run.attempt() == 1) {
            return false;
        }
        Optional<DeltaVersion> left = deltas.findByJob(run.job().tenant(), run.id());
        return left.isPresent() && finish(run, () -> new JobStore.Publication(left.get().model(),
                left.get().manifest().metrics().getOrDefault("tokens", 0.0).longValue(), JobReport.of(left.get())));
    }

    /** Ends the job with a version, as succeeded, or as cancelled when that was asked and its best was to be kept. */
    private boolean finish(JobStore.Run run, Supplier<JobStore.Publication> publish) {
        return jobs.succeed(run, publish) || run.job().keepsBest() && jobs.cancelWithBest(run, publish);
    }

    /** Returns whether the job has ended with a version. */
    private boolean tune(JobStore.Run run) {
        TuningJob job = run.job();
        LlamaModel model = models.apply(job.request().base());
        TuningParameters parameters = Hyperparameters.parse(job.request().hyperparameters(), defaults);
        TrainingFile trainingFile = file(job, job.request().trainingFile());
        List<TuningExample> training = examples(model, trainingFile);
        Optional<TrainingFile> validationFile = job.request().validationFile().map(each -> file(job, each));
        List<TuningExample> validation = validationFile.map(each -> examples(model, each)).orElse(List.of());
        RunIdentity identity = new RunIdentity(run.id(), model.fingerprint(), model.dtype().toString(), trainingFile.digest(),
                validationFile.map(TrainingFile::digest).orElse(""), Hyperparameters.describe(parameters));
        RunCheckpoints own = checkpoints.of(identity, model.torch(), (level, message) -> jobs.message(run, level, message));
        if (run.attempt() > 1 && own.isEmpty()) {
            jobs.message(run, "info", "There is no checkpoint of the job; it starts again from its beginning");
        }
        try (Arena arena = Arena.ofShared()) {
            TuningOutcome outcome = new TuningRun(model, paces.get(), model.torch().devices(), evaluation(job, model),
                    defaults.recomputeWhenShort()).run(training, validation, parameters, new JobEvents(jobs, run, steps),
                            new Wishes(run), own, arena);
            List<JobEvent> events = jobs.events(run.id());
            return finish(run, () -> {
                DeltaVersion version = deltas.publish(job.tenant(), model.name(), job.request().task(),
                        manifest(run, model, trainingFile, parameters, outcome), outcome.blocks(), outcome.tensors(), model);
                ObjectNode report = JobReport.of(version, model, outcome);
                JobHistory.addTo(report, events);
                return new JobStore.Publication(version.model(), outcome.tokens(), report);
            });
        }
    }

    /** Asks the database now and then what is wanted of the run, the first time at once. */
    private final class Wishes implements TuningControl {

        private final JobStore.Run run;
        private long looked = System.nanoTime() - LOOK_NANOS;
        private Wish wish = Wish.GO_ON;

        private Wishes(JobStore.Run run) {
            this.run = run;
        }

        @Override
        public Wish wish() {
            long now = System.nanoTime();
            if (now - looked >= LOOK_NANOS) {
                looked = now;
                wish = jobs.wish(run);
            }
            return wish == Wish.GO_ON && stopping ? Wish.SUSPEND : wish;
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
        outcome.best().ifPresent(best -> {
            metrics.put("best_step", (double) best.step());
            metrics.put("best_validation_loss", best.loss());
        });
        int edge = outcome.blocks().isEmpty() ? 1 : outcome.blocks().getFirst().edge();
        return DeltaManifest.draft(model.name(), model.fingerprint(), run.job().request().task(), edge,
                Instant.now().toString(), run.id(), hyperparameters, trainingFile.digest(), metrics, code);
    }
}
