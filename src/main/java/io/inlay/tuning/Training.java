package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.BatchLoss;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.PackedBatch;
import io.inlay.model.Trainable;
import io.inlay.tuning.TuningCheckpoints.Saved;
import io.inlay.tuning.TuningOutcome.Ending;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The phase that moves weights, the same for every method: steps, evaluations, the best kept, an early end, checkpoints. What the trainable
 * holds when it is over is the result.
 */
final class Training {

    /** How it went; {@code last} is as of the last step that was made. */
    record Trained(TuningProgress.Training last, Ending ending) {
    }

    private final TuningSession session;
    private final Trainable trainable;
    private final List<AdamWOptimizer.Slot> slots;
    private final List<NamedTensor> before;
    private final int steps;

    /**
     * @param slots what moves; every state of the optimizer and every kept copy follows from these
     * @param before tensors that were settled before training and belong to the state: the selection
     */
    Training(TuningSession session, Trainable trainable, List<AdamWOptimizer.Slot> slots, List<NamedTensor> before) {
        this.session = session;
        this.trainable = trainable;
        this.slots = List.copyOf(slots);
        this.before = List.copyOf(before);
        this.steps = session.plan().steps();
    }

    /** Trains to the end, from the beginning or from where {@code saved} was. */
    Trained train(Optional<Saved> saved) {
        TuningParameters parameters = session.plan().parameters();
        LlamaModel model = session.model();
        try (LlamaTraining training = new LlamaTraining(model, trainable, parameters.activations());
                AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), parameters.adamW(), slots);
                KeptValues best = new KeptValues(model.torch(), slots.stream().map(AdamWOptimizer.Slot::weight).toList())) {
            TrainingStep next = new TrainingStep(training, optimizer, parameters.learningRate(), parameters.clip(),
                    parameters.microBatchTokens(), session::await);
            TuningProgress.Training progress = saved.map(state -> resume(state, optimizer, best)).orElse(TuningProgress.Training.START);
            Trained trained = train(progress, training, next, optimizer, best);
            if (keeps(trained.last())) {
                best.putBack();
            }
            return trained;
        }
    }

    private Trained train(TuningProgress.Training start, LlamaTraining training, TrainingStep next, AdamWOptimizer optimizer,
            KeptValues best) {
        TuningProgress.Training progress = start;
        while (true) {
            boolean evaluates = evaluationDue(progress);
            if (!evaluates && (progress.steps() == steps || stale(progress))) {
                return new Trained(progress, progress.steps() == steps ? Ending.COMPLETED : Ending.STOPPED_EARLY);
            }
            TuningProgress.Training now = progress;
            String where = evaluates ? "while validating after step " + now.steps() : "before step " + (now.steps() + 1) + " of " + steps;
            switch (session.control().wish()) {
                case GO_ON -> {
                }
                case SUSPEND -> throw session.suspended(now, () -> state(now, optimizer, best), where);
                case CANCEL -> {
                    if (keeps(now)) {
                        return new Trained(now, Ending.CANCELLED);
                    }
                    throw TuningSession.cancelled(where);
                }
            }
            if (evaluates) {
                // The same when somebody wishes the end meanwhile: the wish is met above, and the evaluation is still due afterwards.
                progress = evaluate(training, now, best);
            } else {
                StepReport report = next.take(now.steps(), steps, session.batch(now.steps()));
                progress = now.with(report);
                session.listener().step(report);
                TuningProgress.Training made = progress;
                session.saveIfDue(made, () -> state(made, optimizer, best));
            }
        }
    }

    // ---- evaluation ----

    private boolean evaluationDue(TuningProgress.Training progress) {
        int done = progress.steps();
        boolean wanted = done == steps || session.plan().parameters().evaluateEvery().stream().anyMatch(every -> done % every == 0);
        return wanted && progress.evaluations().step() < done && !session.validation().isEmpty();
    }

    private TuningProgress.Training evaluate(LlamaTraining training, TuningProgress.Training progress, KeptValues best) {
        Optional<BatchLoss> loss = validate(training);
        if (loss.isEmpty()) {
            return progress;
        }
        try {
            Optional<MetricReport> metrics = session.evaluation()
                    .map(each -> each.measure(trainable, progress.steps(), session.pace(), session::wishedToEnd));
            return evaluated(progress, loss.get(), metrics, best);
        } catch (Problem problem) {
            if (problem.code() == Problem.Code.CANCELLED) {
                return progress;
            }
            throw problem;
        }
    }

    private TuningProgress.Training evaluated(TuningProgress.Training progress, BatchLoss loss, Optional<MetricReport> metrics,
            KeptValues best) {
        double minDelta = session.plan().parameters().earlyStop().map(EarlyStop::minDelta).orElse(0.0);
        Evaluations evaluations = progress.evaluations().with(progress.steps(), loss.mean(), minDelta);
        if (session.plan().parameters().keepBest() && evaluations.lastIsBest()) {
            best.keep();
        }
        session.listener().validated(new TuningListener.ValidationReport(progress.steps(), loss.mean(), loss.targets()));
        metrics.ifPresent(session.listener()::measured);
        return progress.with(evaluations);
    }

    /** Loss on the validation examples, in their order; empty when somebody wishes the end meanwhile. */
    private Optional<BatchLoss> validate(LlamaTraining training) {
        BatchLoss loss = new BatchLoss(0, 0);
        for (PackedBatch part : session.split(Packing.pack(session.validation()))) {
            if (session.wishedToEnd()) {
                return Optional.empty();
            }
            session.await();
            loss = loss.plus(training.evaluate(part));
        }
        return Optional.of(loss);
    }

    private boolean stale(TuningProgress.Training progress) {
        return session.plan().parameters().earlyStop().filter(stop -> progress.evaluations().stale() >= stop.patience()).isPresent();
    }

    /** Whether there are values of a best evaluation. */
    private boolean keeps(TuningProgress.Training progress) {
        return session.plan().parameters().keepBest() && progress.evaluations().best().isPresent();
    }

    // ---- state ----

    private List<NamedTensor> state(TuningProgress.Training progress, AdamWOptimizer optimizer, KeptValues best) {
        List<NamedTensor> state = new ArrayList<>(before);
        state.addAll(optimizer.state());
        if (keeps(progress)) {
            state.addAll(best.state());
        }
        return state;
    }

    private TuningProgress.Training resume(Saved saved, AdamWOptimizer optimizer, KeptValues best) {
        if (!(saved.progress() instanceof TuningProgress.Training progress)) {
            return TuningProgress.Training.START;
        }
        saved.read(optimizer.state());
        optimizer.resume(progress.steps());
        if (keeps(progress)) {
            saved.read(best.state());
        }
        saved.close();
        return progress;
    }
}
