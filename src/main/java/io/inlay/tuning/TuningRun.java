package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.BatchLoss;
import io.inlay.model.DenseTensor;
import io.inlay.model.GradientProbe;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.PackedBatch;
import io.inlay.model.Trainable;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.tensor.FreeMemory;
import io.inlay.tensor.LinuxMemory;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.BooleanSupplier;

/**
 * One tuning run from data to result: plan, warm up, select, train, validate. The base is read, never written. The same model, examples
 * and parameters give the same bits.
 */
public final class TuningRun {

    private final LlamaModel model;
    private final Pace pace;
    private final FreeMemory memory;
    private final Optional<Evaluation> evaluation;

    /** At full speed, without metrics. */
    public TuningRun(LlamaModel model) {
        this(model, Pace.FULL_SPEED, new LinuxMemory(), Optional.empty());
    }

    /**
     * @param pace asked before every part of a batch
     * @param memory looked at before the warm-up's sums are placed
     * @param evaluation made whenever the validation loss is
     */
    public TuningRun(LlamaModel model, Pace pace, FreeMemory memory, Optional<Evaluation> evaluation) {
        this.model = model;
        this.pace = pace;
        this.memory = memory;
        this.evaluation = evaluation;
    }

    /**
     * Runs to the end on the calling thread.
     *
     * @param validation may be empty
     * @param cancelled asked before every step
     * @param arena owns the outcome's values
     * @throws Problem {@code INVALID_HYPERPARAMETERS}, {@code INVALID_TRAINING_FILE} or {@code CONTEXT_LENGTH_EXCEEDED} before anything is
     *         computed; {@code NOT_FINITE} when loss or gradients stop being numbers; {@code CANCELLED}
     */
    public TuningOutcome run(List<TuningExample> training, List<TuningExample> validation, TuningParameters parameters,
            TuningListener listener, BooleanSupplier cancelled, Arena arena) {
        requireFitting("training", training);
        requireFitting("validation", validation);
        TuningPlan plan = TuningPlan.of(model.config(), parameters, training.size());
        listener.planned(plan);
        Session session = new Session(plan, new BatchOrder(training, parameters.batchSize(), parameters.seed()), List.copyOf(validation),
                listener, cancelled);
        return plan.blocks().isPresent() ? tuneBlocks(session, plan.blocks().get(), arena) : tuneAll(session, arena);
    }

    /** What all phases of one run share. */
    private record Session(TuningPlan plan, BatchOrder order, List<TuningExample> validation, TuningListener listener,
            BooleanSupplier cancelled) {

        PackedBatch batch(int step) {
            return Packing.pack(order.batch(step));
        }

        List<PackedBatch> split(PackedBatch batch) {
            return Packing.split(batch, plan.parameters().microBatchTokens());
        }

        void stopIfCancelled(String where) {
            if (cancelled.getAsBoolean()) {
                throw new Problem(Problem.Code.CANCELLED, "the tuning run was cancelled " + where + "; it leaves no result");
            }
        }
    }

    private record Trained(long tokens, double loss, OptionalDouble validationLoss) {
    }

    // ---- the methods ----

    private TuningOutcome tuneBlocks(Session session, TuningPlan.Blocks blocks, Arena arena) {
        Optional<float[]> scores = switch (session.plan().parameters().method()) {
            case TuningMethod.Smt smt -> Optional.of(score(session, blocks.grid(), smt));
            case TuningMethod.RandomBlocks _, TuningMethod.FullFineTuning _ -> Optional.empty();
        };
        BlockSelection selection = select(session.plan().parameters(), blocks, scores);
        SelectionReport report = SelectionReport.of(selection, scores, session.plan().modelParameters());
        session.listener().selected(report);
        try (TrainableBlocks trainable = new TrainableBlocks(model, selection.grid().edge(), selection.byTensor())) {
            Trained trained = train(session, trainable, AdamWOptimizer.slots(trainable));
            return new TuningOutcome(session.plan(), trainable.export(arena), List.of(), Optional.of(report), session.plan().steps(),
                    trained.tokens(), trained.loss(), trained.validationLoss());
        }
    }

    private TuningOutcome tuneAll(Session session, Arena arena) {
        try (TrainableModel trainable = new TrainableModel(model)) {
            Trained trained = train(session, trainable, AdamWOptimizer.slots(trainable));
            return new TuningOutcome(session.plan(), List.of(), DenseTensor.export(model, trainable, arena), Optional.empty(),
                    session.plan().steps(), trained.tokens(), trained.loss(), trained.validationLoss());
        }
    }

    private static BlockSelection select(TuningParameters parameters, TuningPlan.Blocks blocks, Optional<float[]> scores) {
        return switch (parameters.method()) {
            case TuningMethod.Smt smt -> switch (smt.strategy()) {
                case TuningMethod.Strategy.Global _ -> BlockSelection.global(blocks.grid(), scores.orElseThrow(), blocks.count());
                case TuningMethod.Strategy.PerMatrix each -> BlockSelection.perMatrix(blocks.grid(), scores.orElseThrow(), each.blocks());
                case TuningMethod.Strategy.Pools pools -> BlockSelection.pools(blocks.grid(), scores.orElseThrow(),
                        pools.attentionBlocks(blocks.count()), blocks.count() - pools.attentionBlocks(blocks.count()));
            };
            case TuningMethod.RandomBlocks _ -> BlockSelection.random(blocks.grid(), blocks.count(), parameters.seed());
            case TuningMethod.FullFineTuning _ -> throw new IllegalStateException("full fine-tuning selects nothing");
        };
    }

    // ---- warm-up ----

    private float[] score(Session session, BlockGrid grid, TuningMethod.Smt method) {
        int steps = session.plan().warmUpSteps();
        boolean split = session.order().anySplit(steps, session.plan().parameters().microBatchTokens());
        WarmUpPlacement placement = WarmUpPlacement.choose(method, grid, split, model.device(), memory);
        session.listener().warmUpMemory(placement);
        try (BlockScores scores = new BlockScores(model.torch(), model.kernels(), model.device(), grid, method.score(), placement.memory());
                LlamaTraining training = new LlamaTraining(model, new GradientProbe(scores.tensors(), scores::accept))) {
            for (int step = 0; step < steps; step++) {
                session.stopIfCancelled("before warm-up step " + (step + 1) + " of " + steps);
                PackedBatch batch = session.batch(step);
                List<PackedBatch> parts = session.split(batch);
                int targets = batch.targetCount();
                double sum = 0;
                scores.beginStep(parts.size());
                for (PackedBatch part : parts) {
                    pace.await(session.cancelled());
                    sum += training.forwardBackward(part, 1f / targets).sum();
                }
                scores.endStep();
                requireFinite("the loss of warm-up step " + (step + 1) + " of " + steps, sum / targets);
                session.listener().warmUp(new TuningListener.WarmUpReport(step + 1, steps, sum / targets));
            }
            float[] all = scores.scores();
            for (float each : all) {
                requireFinite("a block's score after " + steps + " warm-up steps", each);
            }
            return all;
        }
    }

    private static void requireFinite(String what, double value) {
        if (!Double.isFinite(value)) {
            throw new Problem(Problem.Code.NOT_FINITE, what + " is " + value + "; nothing has been trained yet, so the base model itself "
                    + "gives this on the training data; check its weights");
        }
    }

    // ---- training ----

    private Trained train(Session session, Trainable trainable, List<AdamWOptimizer.Slot> slots) {
        TuningParameters parameters = session.plan().parameters();
        int steps = session.plan().steps();
        int every = parameters.evaluateEvery().orElse(steps);
        try (LlamaTraining training = new LlamaTraining(model, trainable);
                AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), parameters.adamW(), slots)) {
            TrainingStep next = new TrainingStep(training, optimizer, parameters.learningRate(), parameters.clip(),
                    parameters.microBatchTokens(), () -> pace.await(session.cancelled()));
            if (parameters.evaluateEvery().isPresent()) {
                validate(session, training, 0);
                measure(session, trainable, 0);
            }
            long tokens = 0;
            double loss = Double.NaN;
            OptionalDouble validationLoss = OptionalDouble.empty();
            for (int step = 0; step < steps; step++) {
                session.stopIfCancelled("before step " + (step + 1) + " of " + steps);
                StepReport report = next.take(step, steps, session.batch(step));
                tokens += report.tokens();
                loss = report.loss();
                session.listener().step(report);
                if ((step + 1) % every == 0 || step + 1 == steps) {
                    validationLoss = validate(session, training, step + 1);
                    measure(session, trainable, step + 1);
                }
            }
            return new Trained(tokens, loss, validationLoss);
        }
    }

    /** Loss on the validation examples, in their order; empty when there are none. */
    private OptionalDouble validate(Session session, LlamaTraining training, int step) {
        if (session.validation().isEmpty()) {
            return OptionalDouble.empty();
        }
        BatchLoss loss = new BatchLoss(0, 0);
        for (PackedBatch part : session.split(Packing.pack(session.validation()))) {
            session.stopIfCancelled("while validating after step " + step);
            pace.await(session.cancelled());
            loss = loss.plus(training.evaluate(part));
        }
        session.listener().validated(new TuningListener.ValidationReport(step, loss.mean(), loss.targets()));
        return OptionalDouble.of(loss.mean());
    }

    private void measure(Session session, Trainable trainable, int step) {
        evaluation.ifPresent(each -> session.listener().measured(each.measure(trainable, step, pace, session.cancelled())));
    }

    // ---- data ----

    private void requireFitting(String which, List<TuningExample> examples) {
        int vocabulary = model.config().vocabularySize();
        for (int e = 0; e < examples.size(); e++) {
            int[] tokens = examples.get(e).tokens();
            if (tokens.length > model.maxContext()) {
                throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, which + " example " + (e + 1) + " has " + tokens.length
                        + " tokens, and model " + model.name() + " reads at most " + model.maxContext() + "; shorten or remove it");
            }
            for (int token : tokens) {
                if (token < 0 || token >= vocabulary) {
                    throw new Problem(Problem.Code.INVALID_TRAINING_FILE, which + " example " + (e + 1) + " holds token id " + token
                            + ", and model " + model.name() + " has ids 0 to " + (vocabulary - 1)
                            + "; encode it with the model's tokenizer");
                }
            }
        }
    }
}
