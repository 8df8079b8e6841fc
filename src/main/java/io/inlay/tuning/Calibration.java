package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.GradientProbe;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.LowRankAdapters;
import io.inlay.model.PackedBatch;
import io.inlay.model.Trainable;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.FreeMemory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.Consumer;

/**
 * Finds out what a run will cost by doing a little of it: real passes forward and backward of the largest part of a batch and of pieces of
 * it, steps of the optimizer, a few tokens of generation. Blocks are drawn at random, as many as will be selected; the warm-up's passes
 * are made with the score that needs no memory. Nothing of it is kept. Where the largest part would take too long, time and memory are
 * drawn out along the line through the two largest pieces.
 */
public final class Calibration {

    /** A size that takes longer than this is not doubled. */
    private static final double GROW_BELOW_SECONDS = 0.4;
    /** Repetitions are made until one size has taken so long. */
    private static final double REPEAT_BELOW_SECONDS = 0.5;
    private static final int PASSES = 3;
    private static final int FIRST_TOKENS = 64;
    /** Sizes closer than this tell nothing of how cost grows. */
    private static final double APART = 1.5;
    private static final int DECODED = 4;
    private static final int LEAST_LOGIT_ROWS = 16;

    private final LlamaModel model;
    private final FreeMemory free;
    private final boolean mayRecompute;
    private int passes;
    private int measuredTokens;

    /** @param mayRecompute as of {@link TuningRun} */
    public Calibration(LlamaModel model, FreeMemory free, boolean mayRecompute) {
        this.model = model;
        this.free = free;
        this.mayRecompute = mayRecompute;
    }

    /** Seconds (or bytes) of a part of n tokens: {@code each + perToken n}. */
    private record Line(double each, double perToken) {

        static Line through(int small, double ofSmall, int large, double ofLarge) {
            if (large < small * APART) {
                return new Line(0, ofLarge / large);
            }
            double slope = Math.clamp((ofLarge - ofSmall) / (large - small), 0, ofLarge / large);
            return new Line(ofLarge - slope * large, slope);
        }

        double at(double parts, double tokens) {
            return each * parts + perToken * tokens;
        }
    }

    /** What passes of one kind take. */
    private record Passes(Line seconds, long activations) {
    }

    /**
     * Estimates a run of the plan on these examples.
     *
     * @param evaluation that the run would make
     * @throws Problem {@code INVALID_HYPERPARAMETERS} when what is trained does not fit into free memory, or the warm-up's sums do not
     */
    public RunCost measure(TuningPlan plan, List<TuningExample> training, List<TuningExample> validation, Optional<Evaluation> evaluation) {
        long started = System.nanoTime();
        TuningParameters parameters = plan.parameters();
        BatchOrder order = new BatchOrder(training, parameters.batchSize(), parameters.seed());
        PartSizes parts = PartSizes.of(order, parameters.microBatchTokens());
        requireRoom(plan);
        double epochs = (double) plan.steps() / plan.stepsPerEpoch();
        long logits = logitBytes(parts.largest());

        Optional<WarmUpPlacement> placement = Optional.empty();
        double warmUpSeconds = 0;
        long warmUpActivations = 0;
        if (parameters.method() instanceof TuningMethod.Smt smt) {
            BlockGrid grid = plan.blocks().orElseThrow().grid();
            placement = Optional.of(WarmUpPlacement.choose(smt, grid, order.anySplit(plan.warmUpSteps(), parameters.microBatchTokens()),
                    RunMemory.warmUp(model, plan, parts.largest().tokens().length, mayRecompute), model.device(), free));
            Passes warmUp = warmUpPasses(grid, parts, placement.get().how());
            warmUpSeconds = warmUp.seconds().at(parts.count(), parts.tokens()) * plan.warmUpSteps() / plan.stepsPerEpoch();
            warmUpActivations = warmUp.activations();
        }
        double trainingSeconds;
        double validationSeconds;
        long activations;
        try (Trained trained = trained(plan);
                LlamaTraining pass = new LlamaTraining(model, trained.weights(), plan.parameters().activations());
                AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), parameters.adamW(), trained.slots())) {
            Passes both = passes(pass, part -> pass.forwardBackward(part, 1f / Math.max(1, part.targetCount())), parts);
            double step = median(() -> {
                pass.zeroGradients();
                optimizer.gradientNorm();
                optimizer.step(0, 1);
            });
            trainingSeconds = epochs * both.seconds().at(parts.count(), parts.tokens()) + plan.steps() * step;
            activations = both.activations();
            validationSeconds = validation.isEmpty() ? 0 : evaluations(plan) * validationSeconds(pass, validation, parameters);
        }
        double metricSeconds = evaluation.isEmpty() ? 0 : evaluations(plan) * metricSeconds(evaluation.get());
        long weights = plan.trainedParameters() * (model.dtype().bytes() + 4L);
        return new RunCost(data(training, validation, parts),
                new RunCost.Memory(model.bytes() + model.int8Bytes(), weights, 12L * plan.trainedParameters(),
                        placement.map(WarmUpPlacement::bytes).orElse(0L), placement.map(WarmUpPlacement::onDevice).orElse(0L),
                        warmUpActivations, activations, logits),
                new RunCost.Time(seconds(warmUpSeconds), seconds(trainingSeconds), seconds(validationSeconds), seconds(metricSeconds),
                        measuredTokens, passes, Duration.ofNanos(System.nanoTime() - started)), placement);
    }

    private void requireRoom(TuningPlan plan) {
        long needed = plan.trainedParameters() * (model.dtype().bytes() + 16L);
        OptionalLong there = free.on(model.device());
        if (there.isPresent() && needed > there.getAsLong()) {
            throw Hyperparameter.refused(String.format(Locale.ROOT, "the job would train %,d parameters, which take %,d bytes with "
                    + "gradients, masters and moments, and %,d are free; lower the budget or free memory", plan.trainedParameters(), needed,
                    there.getAsLong()));
        }
    }

    /** What is trained, for the time of the calibration. */
    private record Trained(Trainable weights, List<AdamWOptimizer.Slot> slots, Runnable end) implements AutoCloseable {

        @Override
        public void close() {
            end.run();
        }
    }

    private Trained trained(TuningPlan plan) {
        return switch (plan.parameters().method()) {
            case TuningMethod.OfBlocks _ -> {
                TuningPlan.Blocks wanted = plan.blocks().orElseThrow();
                BlockSelection drawn = BlockSelection.random(wanted.grid(), wanted.count(), plan.parameters().seed());
                TrainableBlocks blocks = new TrainableBlocks(model, drawn.grid().edge(), drawn.byTensor());
                yield new Trained(blocks, AdamWOptimizer.slots(blocks), blocks::close);
            }
            case TuningMethod.LowRank method -> {
                LowRankAdapters adapters = TuningRun.adapters(model, method, plan.parameters().seed());
                yield new Trained(adapters, AdamWOptimizer.slots(adapters), adapters::close);
            }
            case TuningMethod.FullFineTuning _ -> {
                TrainableModel full = new TrainableModel(model);
                yield new Trained(full, AdamWOptimizer.slots(full), full::close);
            }
        };
    }

    private Passes warmUpPasses(BlockGrid grid, PartSizes parts, LlamaTraining.Activations activations) {
        try (BlockScores scores = new BlockScores(model.torch(), model.kernels(), model.device(), grid, TuningMethod.Score.ABS_MEAN_SUM,
                WarmUpMemory.STREAM);
                LlamaTraining probe = new LlamaTraining(model, new GradientProbe(scores.tensors(), scores::accept), activations)) {
            return passes(probe, part -> probe.forwardBackward(part, 1f / Math.max(1, part.targetCount())), parts);
        }
    }

    /** What a pass of a size took, and the scratch memory after it. */
    private record Sample(int tokens, double seconds, long bytes) {
    }

    /** Passes of growing size, until the largest part has been passed or one took long; the last two sizes tell how cost grows. */
    private Passes passes(LlamaTraining training, Consumer<PackedBatch> pass, PartSizes parts) {
        int largest = parts.largest().tokens().length;
        int limit = Math.min(FIRST_TOKENS, largest);
        Sample last = sample(training, pass, PartSizes.cut(parts.largest(), limit));
        Sample before = last;
        // Two sizes at least: of one alone it is not known how much of its time comes whatever the size.
        while (limit < largest && (before == last || last.seconds() < GROW_BELOW_SECONDS)) {
            limit = Math.min(2 * limit, largest);
            PackedBatch part = PartSizes.cut(parts.largest(), limit);
            if (part.tokens().length > last.tokens()) {
                before = last;
                last = sample(training, pass, part);
            }
        }
        measuredTokens = last.tokens();
        Line seconds = Line.through(before.tokens(), before.seconds(), last.tokens(), last.seconds());
        Line bytes = Line.through(before.tokens(), before.bytes(), last.tokens(), last.bytes());
        return new Passes(seconds, (long) bytes.at(1, largest));
    }

    private Sample sample(LlamaTraining training, Consumer<PackedBatch> pass, PackedBatch part) {
        double seconds = median(() -> pass.accept(part));
        return new Sample(part.tokens().length, seconds, training.workspaceBytes() - logitBytes(part));
    }

    /** The median of some runs after one that is not counted; one alone when it takes long. */
    private double median(Runnable work) {
        double first = seconds(work);
        List<Double> times = new ArrayList<>();
        for (double spent = first; times.size() < PASSES && spent < REPEAT_BELOW_SECONDS; spent += times.getLast()) {
            times.add(seconds(work));
        }
        return times.isEmpty() ? first : times.stream().sorted().toList().get(times.size() / 2);
    }

    private double seconds(Runnable work) {
        long start = System.nanoTime();
        work.run();
        passes++;
        return (System.nanoTime() - start) / 1e9;
    }

    private long logitBytes(PackedBatch part) {
        long row = (long) model.config().vocabularySize() * model.dtype().bytes();
        return row * Math.min(part.targetCount(), Math.max(LEAST_LOGIT_ROWS, LlamaTraining.LOGIT_BYTES / row));
    }

    // ---- what happens between steps ----

    private static int evaluations(TuningPlan plan) {
        OptionalInt every = plan.parameters().evaluateEvery();
        return every.isEmpty() ? 1 : 1 + Math.ceilDiv(plan.steps(), every.getAsInt());
    }

    private double validationSeconds(LlamaTraining training, List<TuningExample> validation, TuningParameters parameters) {
        List<PackedBatch> all = Packing.split(Packing.pack(validation), parameters.microBatchTokens());
        PackedBatch part = PartSizes.cut(all.getFirst(), Math.max(FIRST_TOKENS, measuredTokens));
        long tokens = all.stream().mapToLong(each -> each.tokens().length).sum();
        return median(() -> training.evaluate(part)) * tokens / part.tokens().length;
    }

    private double metricSeconds(Evaluation evaluation) {
        EvaluationExample example = evaluation.examples().getFirst();
        int[] prompt = Arrays.copyOf(example.prompt(), Math.min(example.prompt().length, model.maxContext() - DECODED));
        try (LlamaInference inference = new LlamaInference(model)) {
            double prefill = median(() -> generate(inference, prompt, 0));
            double decode = Math.max(0, median(() -> generate(inference, prompt, DECODED)) - prefill) / DECODED;
            long tokens = 0;
            for (EvaluationExample each : evaluation.examples()) {
                tokens += Math.min(evaluation.settings().longest(), 1 + model.tokenizer().encode(each.reference(), false).length);
            }
            long read = evaluation.examples().stream().mapToLong(each -> each.prompt().length).sum();
            return prefill * read / prompt.length + decode * tokens;
        }
    }

    private static void generate(LlamaInference inference, int[] prompt, int more) {
        try (KvCache cache = inference.cache(prompt.length + DECODED)) {
            inference.prefill(prompt, cache, WeightOverlay.none());
            for (int i = 0; i < more; i++) {
                inference.decode(prompt[0], cache, WeightOverlay.none());
            }
        }
    }

    private static RunCost.Data data(List<TuningExample> training, List<TuningExample> validation, PartSizes parts) {
        return new RunCost.Data(training.size(), validation.size(), training.stream().mapToLong(each -> each.tokens().length).sum(),
                training.stream().mapToLong(TuningExample::targets).sum(),
                training.stream().mapToInt(each -> each.tokens().length).max().orElse(0), parts.largest().tokens().length);
    }

    private static Duration seconds(double seconds) {
        return Duration.ofNanos((long) (seconds * 1e9));
    }
}
