package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.DeltaTensors;
import io.inlay.model.LlamaModel;
import io.inlay.model.LowRankAdapters;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.FreeMemory;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import io.inlay.tuning.TuningCheckpoints.Saved;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;

/**
 * One tuning run from data to result: plan, {@link WarmUp warm up}, select, {@link Training train}, validate. The base is read, never
 * written. The same model, examples and parameters give the same bits, also when the run is cut short at any moment and goes on from its
 * checkpoint in another process.
 */
public final class TuningRun {

    private static final String SELECTION = "selection";
    private static final String SCORES = "scores";

    private final LlamaModel model;
    private final Pace pace;
    private final FreeMemory memory;
    private final Optional<Evaluation> evaluation;
    private final boolean mayRecompute;

    /** At full speed, without metrics. */
    public TuningRun(LlamaModel model) {
        this(model, Pace.FULL_SPEED, model.torch().devices(), Optional.empty(), true);
    }

    /**
     * @param pace asked before every part of a batch
     * @param memory looked at before anything is allocated, and before the warm-up's sums are placed
     * @param evaluation made whenever the validation loss is
     * @param mayRecompute whether layers may be computed twice where memory is short
     */
    public TuningRun(LlamaModel model, Pace pace, FreeMemory memory, Optional<Evaluation> evaluation, boolean mayRecompute) {
        this.mayRecompute = mayRecompute;
        this.model = model;
        this.pace = pace;
        this.memory = memory;
        this.evaluation = evaluation;
    }

    /** Runs to the end on the calling thread, keeping no state. */
    public TuningOutcome run(List<TuningExample> training, List<TuningExample> validation, TuningParameters parameters,
            TuningListener listener, BooleanSupplier cancelled, Arena arena) {
        return run(training, validation, parameters, listener, TuningControl.cancelledWhen(cancelled), TuningCheckpoints.NONE, arena);
    }

    /**
     * Runs to the end on the calling thread, from the beginning or from its checkpoint.
     *
     * @param validation may be empty
     * @param arena owns the outcome's values
     * @throws Problem {@code INVALID_HYPERPARAMETERS}, {@code INVALID_TRAINING_FILE} or {@code CONTEXT_LENGTH_EXCEEDED} before anything is
     *         computed; {@code NOT_FINITE} when loss or gradients stop being numbers; {@code CANCELLED} when the run was suspended, or was
     *         cancelled and kept no best
     */
    public TuningOutcome run(List<TuningExample> training, List<TuningExample> validation, TuningParameters parameters,
            TuningListener listener, TuningControl control, TuningCheckpoints checkpoints, Arena arena) {
        requireFitting("training", training);
        requireFitting("validation", validation);
        parameters.requireValidation(validation.size());
        TuningPlan asked = TuningPlan.of(model.config(), parameters, training.size());
        BatchOrder order = new BatchOrder(training, parameters.batchSize(), parameters.seed());
        listener.planned(asked);
        TuningPlan plan = fitting(asked, PartSizes.of(order, parameters.microBatchTokens()).largest().tokens().length,
                largestPart(validation, parameters), listener);
        TuningSession session = new TuningSession(model, plan, order, List.copyOf(validation), listener, control, checkpoints, pace, memory,
                mayRecompute, evaluation);
        Optional<Saved> saved = checkpoints.load();
        try {
            return switch (parameters.method()) {
                case TuningMethod.OfBlocks _ -> tuneBlocks(session, plan.blocks().orElseThrow(), saved, arena);
                case TuningMethod.LowRank method -> tuneAdapters(session, method, saved, arena);
                case TuningMethod.FullFineTuning _ -> tuneAll(session, saved, arena);
            };
        } finally {
            saved.ifPresent(Saved::close);
        }
    }

    /** The plan as it fits into memory: the same bits, perhaps by more work. */
    private TuningPlan fitting(TuningPlan plan, int tokens, int validated, TuningListener listener) {
        RunMemory needed = RunMemory.fitting(model, plan, tokens, validated, mayRecompute, memory);
        if (needed.how() == plan.parameters().activations()) {
            return plan;
        }
        listener.recomputes(needed);
        return plan.with(needed.how());
    }

    /** Tokens of the largest part in which the validation examples go through the model. */
    private static int largestPart(List<TuningExample> validation, TuningParameters parameters) {
        return validation.isEmpty() ? 0 : Packing.split(Packing.pack(validation), parameters.microBatchTokens()).stream()
                .mapToInt(part -> part.tokens().length).max().orElse(0);
    }

    // ---- the methods ----

    private TuningOutcome tuneBlocks(TuningSession session, TuningPlan.Blocks blocks, Optional<Saved> saved, Arena arena) {
        Selected selected = saved.filter(state -> state.progress() instanceof TuningProgress.Training)
                .map(state -> selectedBefore(blocks, state)).orElseGet(() -> select(session, blocks, saved));
        BlockSelection selection = selected.selection();
        SelectionReport report = SelectionReport.of(selection, selected.scores(), session.plan().modelParameters());
        try (Scope scope = new Scope(model.torch());
                TrainableBlocks trainable = new TrainableBlocks(model, selection.grid().edge(), selection.byTensor())) {
            Training.Trained trained = new Training(session, trainable, AdamWOptimizer.slots(trainable), selected.state(scope))
                    .train(saved);
            return outcome(session, trained, new DeltaTensors(trainable.export(arena), List.of()), Optional.of(report));
        }
    }

    private TuningOutcome tuneAdapters(TuningSession session, TuningMethod.LowRank method, Optional<Saved> saved, Arena arena) {
        try (LowRankAdapters trainable = adapters(model, method, session.plan().parameters().seed())) {
            Training.Trained trained = new Training(session, trainable, AdamWOptimizer.slots(trainable), List.of()).train(saved);
            return outcome(session, trained, trainable.export(arena), Optional.empty());
        }
    }

    /** Adapters as a run begins with them. */
    static LowRankAdapters adapters(LlamaModel model, TuningMethod.LowRank method, long seed) {
        LowRankAdapters.Settings settings = new LowRankAdapters.Settings(method.rank(), method.alpha(), method.dropout(),
                method.kind() == TuningMethod.LowRank.Kind.DORA, seed);
        List<String> targets = IntStream.range(0, model.config().layers()).boxed()
                .flatMap(layer -> method.targets().stream().map(target -> target.tensor(layer))).toList();
        return new LowRankAdapters(model, settings, targets);
    }

    private TuningOutcome tuneAll(TuningSession session, Optional<Saved> saved, Arena arena) {
        try (TrainableModel trainable = new TrainableModel(model)) {
            Training.Trained trained = new Training(session, trainable, AdamWOptimizer.slots(trainable), List.of()).train(saved);
            return outcome(session, trained, trainable.export(arena), Optional.empty());
        }
    }

    private static TuningOutcome outcome(TuningSession session, Training.Trained trained, DeltaTensors result,
            Optional<SelectionReport> selection) {
        TuningProgress.Training last = trained.last();
        Evaluations evaluations = last.evaluations();
        OptionalDouble left = session.plan().parameters().keepBest() && evaluations.best().isPresent()
                ? OptionalDouble.of(evaluations.best().get().loss()) : evaluations.loss();
        return new TuningOutcome(session.plan(), result.blocks(), result.tensors(), selection, last.steps(), last.tokens(),
                last.loss().orElse(Double.NaN), left, evaluations.best(), trained.ending());
    }

    // ---- the selection ----

    /** The blocks, and the scores by which they were chosen; without scores where they were drawn. */
    private record Selected(BlockSelection selection, Optional<float[]> scores) {

        /** What a checkpoint has of it. */
        List<NamedTensor> state(Scope scope) {
            List<NamedTensor> state = new ArrayList<>();
            state.add(new NamedTensor(SELECTION, scope.of(Device.CPU, selection.blocks(), selection.size())));
            scores.ifPresent(all -> state.add(new NamedTensor(SCORES, scope.of(Device.CPU, all, all.length))));
            return state;
        }
    }

    private Selected selectedBefore(TuningPlan.Blocks blocks, Saved saved) {
        try (Scope scope = new Scope(model.torch())) {
            Tensor chosen = scope.empty(DType.INT32, Device.CPU, blocks.count());
            saved.read(List.of(new NamedTensor(SELECTION, chosen)));
            Optional<float[]> scores = Optional.empty();
            if (saved.has(SCORES)) {
                Tensor all = scope.empty(DType.FP32, Device.CPU, blocks.grid().size());
                saved.read(List.of(new NamedTensor(SCORES, all)));
                scores = Optional.of(all.segment().toArray(ValueLayout.JAVA_FLOAT));
            }
            return new Selected(BlockSelection.of(blocks.grid(), chosen.segment().toArray(ValueLayout.JAVA_INT)), scores);
        }
    }

    private static Selected select(TuningSession session, TuningPlan.Blocks blocks, Optional<Saved> saved) {
        Optional<float[]> scores = switch (session.plan().parameters().method()) {
            case TuningMethod.Smt smt -> Optional.of(new WarmUp(session, blocks.grid(), smt).score(saved));
            case TuningMethod.RandomBlocks _, TuningMethod.LowRank _, TuningMethod.FullFineTuning _ -> Optional.empty();
        };
        Selected selected = new Selected(select(session.plan().parameters(), blocks, scores), scores);
        session.listener().selected(SelectionReport.of(selected.selection(), scores, session.plan().modelParameters()));
        return selected;
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
            case TuningMethod.LowRank _, TuningMethod.FullFineTuning _ ->
                throw new IllegalStateException(parameters.method().wire() + " selects nothing");
        };
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
