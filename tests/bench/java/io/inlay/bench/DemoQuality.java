package io.inlay.bench;

import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Kernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.WeightOverlay;
import io.inlay.server.demo.Recipe;
import io.inlay.server.demo.Dispatch;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.TuningListener;
import io.inlay.tuning.TuningMethod;
import io.inlay.tuning.TuningOutcome;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningRun;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;

/**
 * Sparse Matrix Tuning, random blocks and full fine-tuning on the demonstration's task: held-out accuracy over several seeds, each with
 * questions, order and selection of its own. All methods get the same examples, steps and batch size, and each its own learning rate,
 * the best that {@code ./inlay bench demo-quality sweep} finds on another seed. {@code ./inlay bench demo-quality [SEEDS]}.
 */
public final class DemoQuality {
    private static final Path BASE = Path.of("model-store/base/inlay-tiny");
    private static final Recipe RECIPE = Recipe.DISPATCH;
    private static final double FULL_LEARNING_RATE = 2e-4;
    private static final double[] RATES = {2e-4, 5e-4, 1e-3, 2e-3, 3e-3, 4e-3};
    private static final long SWEEP_SEED = 100;
    private static final int HELD_OUT = 200;
    /** Points that SMT may lie below full fine-tuning. */
    private static final double BAR = -2;

    private enum Method {
        SMT, RANDOM, FULL;

        TuningMethod method() {
            OptionalInt edge = OptionalInt.of(RECIPE.blockEdge());
            return switch (this) {
                case SMT -> new TuningMethod.Smt(RECIPE.budget(), edge, TuningMethod.ATTENTION, RECIPE.warmUpSteps(),
                        TuningMethod.Score.MEAN_ABS_SUM, new TuningMethod.Strategy.Global());
                case RANDOM -> new TuningMethod.RandomBlocks(RECIPE.budget(), edge, TuningMethod.ATTENTION);
                case FULL -> new TuningMethod.FullFineTuning();
            };
        }

        double learningRate() {
            return this == FULL ? FULL_LEARNING_RATE : RECIPE.learningRate();
        }
    }

    private final Libtorch torch = Libtorch.load();
    private final Kernels kernels = CpuKernels.best();

    private DemoQuality() {
    }

    public static void main(String[] arguments) {
        if (arguments.length > 0 && arguments[0].equals("sweep")) {
            new DemoQuality().sweep();
            return;
        }
        new DemoQuality().compare(arguments.length > 0 ? Integer.parseInt(arguments[0]) : 5);
    }

    private void compare(int seeds) {
        double[] means = new double[Method.values().length];
        try (LlamaModel base = open(BASE)) {
            System.out.printf(Locale.ROOT, "%s, %,d parameters, %d held-out questions a seed, %d seeds%n", base.name(), base.parameterCount(),
                    HELD_OUT, seeds);
            for (int seed = 1; seed <= seeds; seed++) {
                System.out.printf(Locale.ROOT, "base    seed %d  %5.1f %%%n", seed,
                        new DispatchExam(base).accuracy(WeightOverlay.none(), Dispatch.heldOut(seed, HELD_OUT)));
            }
            for (Method method : Method.values()) {
                var accuracies = new ArrayList<Double>();
                for (int seed = 1; seed <= seeds; seed++) {
                    long started = System.nanoTime();
                    accuracies.add(tuned(base, method, method.learningRate(), seed));
                    System.out.printf(Locale.ROOT, "%-7s seed %d  %5.1f %%  %.0f s%n", method.name().toLowerCase(Locale.ROOT), seed,
                            accuracies.getLast(), (System.nanoTime() - started) / 1e9);
                }
                means[method.ordinal()] = mean(accuracies);
                System.out.printf(Locale.ROOT, "%-7s mean %.1f %%, standard deviation %.1f, least %.1f, most %.1f%n",
                        method.name().toLowerCase(Locale.ROOT), mean(accuracies), deviation(accuracies),
                        accuracies.stream().min(Double::compare).orElseThrow(), accuracies.stream().max(Double::compare).orElseThrow());
            }
        }
        System.out.printf(Locale.ROOT, "smt minus random blocks: %.2f points%n", means[Method.SMT.ordinal()] - means[Method.RANDOM.ordinal()]);
        System.out.printf(Locale.ROOT, "BAR demo-quality.smt-minus-full %.2f >= %.0f%n", means[Method.SMT.ordinal()] - means[Method.FULL.ordinal()],
                BAR);
    }

    /** Accuracy by learning rate, on a seed that no comparison uses. */
    private void sweep() {
        try (LlamaModel base = open(BASE)) {
            for (Method method : Method.values()) {
                for (double rate : RATES) {
                    System.out.printf(Locale.ROOT, "%-7s learning rate %.0e  %5.1f %%%n", method.name().toLowerCase(Locale.ROOT), rate,
                            tuned(base, method, rate, SWEEP_SEED));
                }
            }
        }
    }

    private LlamaModel open(Path folder) {
        return LlamaModel.open(torch, kernels, folder, ModelOptions.defaults());
    }

    private double tuned(LlamaModel base, Method method, double rate, long seed) {
        var examples = new DispatchExam(base).examples(Dispatch.training(seed, RECIPE.examples()));
        var parameters = TuningParameters.of(method.method()).epochs(RECIPE.epochs()).batchSize(RECIPE.batchSize())
                .learningRate(LearningRate.linear(rate)).seed(seed).build();
        try (Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = new TuningRun(base).run(examples, List.of(), parameters, TuningListener.NONE, () -> false, arena);
            try (WeightOverlay overlay = WeightOverlay.of(base, outcome.blocks(), outcome.tensors())) {
                return new DispatchExam(base).accuracy(overlay, Dispatch.heldOut(seed, HELD_OUT));
            }
        }
    }

    private static double mean(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
    }

    private static double deviation(List<Double> values) {
        double mean = mean(values);
        return Math.sqrt(values.stream().mapToDouble(value -> (value - mean) * (value - mean)).sum() / Math.max(1, values.size() - 1));
    }
}
