package io.inlay.bench;

import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.Projection;
import io.inlay.model.WeightOverlay;
import io.inlay.server.demo.Dispatch;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.SelectionReport;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningListener;
import io.inlay.tuning.TuningMethod;
import io.inlay.tuning.TuningOutcome;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningRun;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/** One tuning run of the paper's comparisons and its examination: the same examples, steps and batches for every method of a seed. */
final class PaperTrial implements AutoCloseable {

    /** Its questions are compared nowhere. */
    static final long SEARCH_SEED = 100;

    static final int WARM_UP = 10;

    private static final Path BASE = Path.of("model-store/base/inlay-tiny");
    private static final int BATCH = 32;
    private static final int HELD_OUT = 100;

    private final LlamaModel base;
    private final DispatchExam exam;
    private final int steps;

    private PaperTrial(LlamaModel base, int steps) {
        this.base = base;
        this.exam = new DispatchExam(base);
        this.steps = steps;
    }

    /** A method at a learning rate. */
    record Setting(TuningMethod method, double rate) {
    }

    /**
     * What came of a run.
     *
     * @param accuracy percent of held-out questions answered to the letter
     * @param loss mean over the held-out answers' tokens
     * @param share of the model's parameters that was trained
     */
    record Trained(double accuracy, double loss, double share, double seconds, Optional<SelectionReport> selection) {
    }

    static PaperTrial open(int steps) {
        return new PaperTrial(LlamaModel.open(Libtorch.load(), CpuKernels.best(), BASE, ModelOptions.defaults()), steps);
    }

    String description() {
        return String.format(Locale.ROOT, "%s, %,d parameters, bf16; %d steps of %d examples of the demonstration's task, %d warm-up steps; %d "
                + "held-out questions a seed, whose senders, towns and matters are in no training example", base.name(), base.parameterCount(),
                steps, BATCH, WARM_UP, HELD_OUT);
    }

    long parameters() {
        return base.parameterCount();
    }

    /** Values of adapters of rank 1. */
    long valuesPerRank(Set<Projection> targets) {
        return base.config().parameters().stream().filter(parameter -> targets.stream()
                .anyMatch(target -> parameter.name().endsWith(target.tensor(0).substring("model.layers.0".length()))))
                .mapToLong(parameter -> parameter.shape()[0] + parameter.shape()[1]).sum();
    }

    /** Accuracy of the base as it is, over the seeds. */
    double base(int seeds) {
        double sum = 0;
        for (int seed = 1; seed <= seeds; seed++) {
            sum += exam.accuracy(WeightOverlay.none(), Dispatch.heldOut(seed, HELD_OUT));
        }
        return sum / seeds;
    }

    Trained run(Setting setting, long seed) throws IOException {
        long started = System.nanoTime();
        List<TuningExample> examples = exam.examples(Dispatch.training(seed, steps * BATCH));
        List<TuningExample> heldOut = exam.examples(Dispatch.heldOut(seed, HELD_OUT));
        TuningParameters parameters = TuningParameters.of(setting.method()).epochs(1).batchSize(BATCH)
                .learningRate(LearningRate.linear(setting.rate())).seed(seed).build();
        try (Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = new TuningRun(base).run(examples, heldOut, parameters, TuningListener.NONE, () -> false, arena);
            try (WeightOverlay overlay = WeightOverlay.of(base, outcome.blocks(), outcome.tensors())) {
                return new Trained(exam.accuracy(overlay, Dispatch.heldOut(seed, HELD_OUT)), outcome.validationLoss().orElseThrow(),
                        outcome.plan().share(), (System.nanoTime() - started) / 1e9, outcome.selection());
            }
        }
    }

    @Override
    public void close() {
        base.close();
    }
}
