package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import com.github.kagkarlsson.scheduler.Scheduler;
import com.github.kagkarlsson.scheduler.task.FailureHandler;
import com.github.kagkarlsson.scheduler.task.helper.OneTimeTask;
import com.github.kagkarlsson.scheduler.task.helper.Tasks;
import io.inlay.Problem;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaStore;
import io.inlay.tensor.FreeMemory;
import io.inlay.tuning.BatchOrder;
import io.inlay.tuning.Calibration;
import io.inlay.tuning.Evaluation;
import io.inlay.tuning.Pace;
import io.inlay.tuning.RunCost;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningMethod;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningPlan;
import io.inlay.tuning.WarmUpPlacement;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import javax.sql.DataSource;

/**
 * Tuning jobs of all tenants. A job is validated whole (data, hyperparameters, model) before it is accepted, is in the database before it
 * is acknowledged, and is run by db-scheduler, which takes it up again when the process that ran it has died.
 */
public final class TuningJobs implements AutoCloseable {

    private static final Pattern TASK = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");
    private static final Duration HEARTBEAT = Duration.ofSeconds(3);
    private static final Duration STOP = Duration.ofSeconds(60);
    private static final int MISSED_HEARTBEATS = 4;
    private static final Duration LOOK = Duration.ofMillis(20);
    private static final Duration RETRY = Duration.ofSeconds(5);

    private final JobStore jobs;
    private final TrainingFiles files;
    private final Function<String, LlamaModel> models;
    private final TuningDefaults defaults;
    private final JobCheckpoints checkpoints;
    private final OneTimeTask<Void> task;
    private final Scheduler scheduler;
    private final JobRunner runner;
    /** Calibrations beside each other would measure each other. */
    private final ReentrantLock calibrating = new ReentrantLock();

    /**
     * @param models a base model by name; throws {@code MODEL_NOT_FOUND}
     * @param defaults what jobs get that do not say, and the most that they may ask for
     * @param workers jobs that run at the same time in this process
     * @param checkpoints where jobs keep their state
     * @param code version of Inlay, for manifests
     * @param paces makes the pace of each run
     */
    public TuningJobs(DataSource source, TrainingFiles files, DeltaStore deltas, Function<String, LlamaModel> models, int workers,
            TuningDefaults defaults, JobCheckpoints checkpoints, String code, Supplier<Pace> paces) {
        this.jobs = new JobStore(source);
        this.files = files;
        this.models = models;
        this.defaults = defaults;
        this.checkpoints = checkpoints;
        this.runner = new JobRunner(jobs, files, deltas, models, defaults, checkpoints, code, paces);
        // A runner throws only where the database has refused: what is wrong with a job is in its row.
        this.task = Tasks.oneTime("tuning").onFailure(new FailureHandler.OnFailureRetryLater<>(RETRY)).execute((instance, _) -> {
            Queued queued = Queued.of(instance.getId());
            runner.run(queued.job(), queued.resumes());
        });
        this.scheduler = Scheduler.create(source, task).threads(workers).pollingInterval(Duration.ofSeconds(1)).enableImmediateExecution()
                .heartbeatInterval(HEARTBEAT).missedHeartbeatsLimit(MISSED_HEARTBEATS).shutdownMaxWait(STOP).build();
    }

    /**
     * A place in db-scheduler's queue. A job that is resumed gets a new one: the old one may still be there, of a runner that is about to
     * leave it.
     */
    private record Queued(String job, int resumes) {

        private static final String MARK = "#";

        static Queued of(String instance) {
            int mark = instance.indexOf(MARK);
            return mark < 0 ? new Queued(instance, 0)
                    : new Queued(instance.substring(0, mark), Integer.parseInt(instance.substring(mark + 1)));
        }

        String instance() {
            return resumes == 0 ? job : job + MARK + resumes;
        }
    }

    private void queue(TuningJob job) {
        scheduler.scheduleIfNotExists(task.instance(new Queued(job.id(), job.resumes()).instance()), Instant.now());
    }

    /** Takes up jobs, those that an earlier process left included; paused ones stay paused. */
    public void start() {
        // Listed before the jobs are: what another server begins meanwhile is none of these.
        Set<String> left = checkpoints.jobs();
        List<TuningJob> unfinished = jobs.unfinished();
        left.stream().filter(id -> unfinished.stream().noneMatch(job -> job.id().equals(id))).forEach(checkpoints::remove);
        unfinished.stream().filter(job -> !(job.state() instanceof JobState.Paused)).forEach(this::queue);
        scheduler.start();
    }

    /**
     * Validates and accepts a job.
     *
     * @throws Problem {@code MODEL_NOT_FOUND}, {@code NOT_FOUND} for a file, {@code INVALID_TRAINING_FILE} with line numbers,
     *         {@code INVALID_HYPERPARAMETERS}, {@code INVALID_REQUEST} for the task's name
     */
    public TuningJob create(String tenant, JobRequest request) {
        Validated job = validate(tenant, request);
        String id = "ftjob-" + UUID.randomUUID().toString().replace("-", "");
        jobs.insert(id, tenant, job.resolved(), "Created fine-tuning job " + id + ": " + job.training().size() + " examples to learn from, "
                + job.validation().size() + " to validate with");
        TuningJob created = jobs.find(id).orElseThrow();
        queue(created);
        return created;
    }

    /**
     * Validates a job, creates nothing, and says what it would be and cost. One is estimated at a time, for some seconds.
     *
     * @throws Problem as {@link #create}
     */
    public JsonNode estimate(String tenant, JobRequest request) {
        Validated job = validate(tenant, request);
        FreeMemory free = job.model().torch().devices();
        calibrating.lock();
        try {
            RunCost cost = new Calibration(job.model(), free, defaults.recomputeWhenShort()).measure(job.plan(), job.training(),
                    job.validation(), job.evaluation());
            return DryRun.of(job.resolved(), job.plan(), cost, free.on(job.model().device()));
        } finally {
            calibrating.unlock();
        }
    }

    /** A request that can be carried out; {@code resolved} has every default in it. */
    private record Validated(JobRequest resolved, LlamaModel model, List<TuningExample> training, List<TuningExample> validation,
            TuningPlan plan, Optional<Evaluation> evaluation) {
    }

    private Validated validate(String tenant, JobRequest request) {
        LlamaModel model = models.apply(request.base());
        if (!TASK.matcher(request.task()).matches()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "suffix '" + request.task() + "' is no task name; use letters, digits, '.', '_' "
                    + "and '-', 64 at most, beginning with a letter or digit");
        }
        TuningParameters parameters = Hyperparameters.parse(request.hyperparameters(), defaults);
        Optional<Evaluation.Settings> metrics = MetricHyperparameters.parse(request.hyperparameters());
        if (metrics.isPresent() && request.validationFile().isEmpty()) {
            throw new Problem(Problem.Code.INVALID_HYPERPARAMETERS, "metrics are measured on the validation file, and none is given; "
                    + "name one in validation_file, or leave metrics out");
        }
        List<TuningExample> training = examples(model, tenant, request.trainingFile());
        List<TuningExample> validation = request.validationFile().map(file -> examples(model, tenant, file)).orElse(List.of());
        parameters.requireValidation(validation.size());
        TuningPlan plan = TuningPlan.of(model.config(), parameters, training.size());
        if (plan.steps() > defaults.maxSteps()) {
            throw new Problem(Problem.Code.INVALID_HYPERPARAMETERS, "the job would take " + plan.steps() + " steps; this server allows "
                    + defaults.maxSteps() + " (inlay.tuning.max-steps); use fewer epochs, larger batches or max_steps");
        }
        if (parameters.method() instanceof TuningMethod.Smt smt) {
            BatchOrder order = new BatchOrder(training, parameters.batchSize(), parameters.seed());
            WarmUpPlacement.requireStreamable(smt, order.anySplit(plan.warmUpSteps(), parameters.microBatchTokens()));
        }
        Optional<Evaluation> evaluation = metrics.map(settings -> {
            TrainingFile file = file(tenant, request.validationFile().orElseThrow());
            return new Evaluation(model, new TrainingData(model).evaluation(file.name(), files.content(file), settings.metrics()),
                    settings);
        });
        JobRequest resolved = new JobRequest(request.base(), request.task(), request.trainingFile(), request.validationFile(),
                MetricHyperparameters.describe(metrics, Hyperparameters.describe(parameters)));
        return new Validated(resolved, model, training, validation, plan, evaluation);
    }

    private List<TuningExample> examples(LlamaModel model, String tenant, String id) {
        TrainingFile file = file(tenant, id);
        return new TrainingData(model).read(file.name(), files.content(file));
    }

    private TrainingFile file(String tenant, String id) {
        return files.find(tenant, id).orElseThrow(() -> new Problem(Problem.Code.NOT_FOUND, "there is no file '" + id
                + "'; upload one with POST /v1/files"));
    }

    /** A tenant's jobs, newest first. */
    public List<TuningJob> list(String tenant) {
        return jobs.list(tenant);
    }

    /** How many jobs of all tenants are in each state, by {@link JobState#wire}; a state that none is in is not there. */
    public Map<String, Long> states() {
        return jobs.states();
    }

    /** Training steps that this server has made. */
    public long steps() {
        return runner.steps();
    }

    /** Empty for another tenant's. */
    public Optional<TuningJob> find(String tenant, String id) {
        return jobs.find(id).filter(job -> job.tenant().equals(tenant));
    }

    /**
     * Asks a job to end. One that keeps its best is cancelled by a runner, which publishes that.
     *
     * @throws Problem {@code CONFLICT} when it has ended already
     */
    public TuningJob cancel(TuningJob job) {
        boolean asked = jobs.requestCancel(job.id());
        TuningJob now = jobs.find(job.id()).orElseThrow();
        if (!asked) {
            throw ended(now, "cancel");
        }
        if (now.state() instanceof JobState.Queued) {
            queue(now);
        }
        runner.removeCheckpointsIfEnded(job.id());
        return now;
    }

    /**
     * Asks a job to wait before its next step, until it is resumed; asking again does nothing.
     *
     * @throws Problem {@code CONFLICT} when it has ended already
     */
    public TuningJob pause(TuningJob job) {
        boolean asked = jobs.requestPause(job.id());
        TuningJob now = jobs.find(job.id()).orElseThrow();
        if (!asked) {
            throw ended(now, "pause");
        }
        return now;
    }

    /**
     * Queues a paused job again; it goes on where it was.
     *
     * @throws Problem {@code CONFLICT} when it is not paused
     */
    public TuningJob resume(TuningJob job) {
        boolean resumed = jobs.resume(job.id());
        TuningJob now = jobs.find(job.id()).orElseThrow();
        if (!resumed && now.state().ended()) {
            throw ended(now, "resume");
        }
        if (!resumed) {
            throw new Problem(Problem.Code.CONFLICT, "job " + job.id() + " is " + now.state().wire() + ", not paused; only a paused job "
                    + "can be resumed");
        }
        if (now.state() instanceof JobState.Queued) {
            queue(now);
        }
        return now;
    }

    /**
     * Removes all jobs of a tenant with all that they left, and returns once no run of one is in this process; one in another process ends
     * before its next step. Nothing is published.
     */
    void erase(String tenant) throws InterruptedException {
        for (String id : jobs.erase(tenant)) {
            while (runner.isRunning(id)) {
                Thread.sleep(LOOK);
            }
            checkpoints.remove(id);
        }
    }

    private static Problem ended(TuningJob job, String what) {
        return new Problem(Problem.Code.CONFLICT, "job " + job.id() + " has ended already (" + job.state().wire() + "); there is nothing "
                + "to " + what);
    }

    /** Newest first. */
    public List<JobEvent> events(TuningJob job) {
        return jobs.events(job.id());
    }

    /** Stops taking up jobs; one that runs keeps its state, ends before its next step and is taken up again by the next start. */
    @Override
    public void close() {
        runner.stop();
        scheduler.stop();
    }
}
