package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.LlamaConfig;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining.Activations;
import io.inlay.model.Projection;
import io.inlay.model.ScratchBytes;
import io.inlay.tensor.DType;
import io.inlay.tensor.FreeMemory;
import java.util.Collection;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.stream.Stream;

/**
 * What training will hold on the model's device beside the base, at most, known before anything is allocated. The warm-up has ended and
 * given its memory back by then: {@link WarmUpPlacement} sees that its sums and its {@link #warmUp passes} fit.
 *
 * @param trained bytes of the weights that move, their gradients, and the best of them so far where it is kept
 * @param optimizer of their masters and two moments
 * @param activations of scratch memory for the largest part of a batch, gradients of weights and logits included, and for the loss on the
 *        validation examples
 * @param tokens of that part
 */
public record RunMemory(long trained, long optimizer, long activations, int tokens, Activations how) {

    /**
     * For parts of so many tokens at a time.
     *
     * @param validated tokens of the largest part of the validation examples; 0 without any
     */
    public static RunMemory of(LlamaConfig config, DType dtype, TuningPlan plan, int tokens, int validated, Activations how) {
        TuningParameters parameters = plan.parameters();
        long values = plan.trainedParameters();
        ScratchBytes scratch = new ScratchBytes(config, dtype);
        long passes = scratch.layers(tokens, how) + scratch.validation(validated, tokens, how) + scratch.loss(Math.max(tokens, validated))
                + gradients(config, dtype, plan, tokens);
        return new RunMemory(values * (dtype.bytes() * (parameters.keepBest() ? 2L : 1L) + 4), 12 * values, passes, tokens, how);
    }

    /** What gradients of weights are made in before they are added up, by method. */
    private static long gradients(LlamaConfig config, DType dtype, TuningPlan plan, long tokens) {
        return dtype.bytes() * switch (plan.parameters().method()) {
            case TuningMethod.OfBlocks method -> {
                long largest = largest(config, method.targets());
                TuningPlan.Blocks blocks = plan.blocks().orElseThrow();
                long products = Math.min(largest, (long) blocks.count() * blocks.grid().edge() * blocks.grid().edge());
                // The warm-up makes a whole gradient, training a weight with its blocks in place and the products of its blocks.
                yield largest + products;
            }
            case TuningMethod.LowRank method -> {
                long wide = Math.max(config.hiddenSize(), config.intermediateSize());
                // dropped, rest, directed, scaled; hidden and its gradient; the gradients of A and B, DoRA's cross and square
                yield tokens * (4 * wide + 2L * method.rank()) + method.rank() * (3 * wide + method.rank());
            }
            case TuningMethod.FullFineTuning _ -> Math.max(largest(config, EnumSet.allOf(Projection.class)),
                    (long) config.vocabularySize() * config.hiddenSize());
        };
    }

    /**
     * The ways to make the warm-up's passes: as the plan has it, and with layers computed twice where that is allowed.
     *
     * @param tokens at a time
     */
    static List<WarmUpPlacement.Passes> warmUp(LlamaModel model, TuningPlan plan, int tokens, boolean mayRecompute) {
        ScratchBytes scratch = new ScratchBytes(model.config(), model.dtype());
        long gradient = model.dtype().bytes() * plan.blocks().orElseThrow().grid().matrices().stream()
                .mapToLong(matrix -> (long) matrix.rows() * matrix.columns()).max().orElse(0);
        Activations asked = plan.parameters().activations();
        return (mayRecompute ? Stream.of(asked, Activations.RECOMPUTE).distinct() : Stream.of(asked)).map(how ->
                new WarmUpPlacement.Passes(how, tokens, scratch.layers(tokens, how) + scratch.loss(tokens) + gradient)).toList();
    }

    private static long largest(LlamaConfig config, Collection<Projection> linears) {
        return linears.stream().mapToLong(each -> config.shape(each)[0] * config.shape(each)[1]).max().orElse(0);
    }

    public long total() {
        return trained + optimizer + activations;
    }

    private boolean fits(OptionalLong free) {
        return free.isEmpty() || total() <= free.getAsLong();
    }

    /**
     * The first of these that fits into what is free: as the job asks, or with layers computed twice where that is allowed. A device that
     * does not say what is free is taken to have enough.
     *
     * @throws Problem {@code INVALID_HYPERPARAMETERS} with the numbers where none does
     */
    static RunMemory fitting(LlamaModel model, TuningPlan plan, int tokens, int validated, boolean mayRecompute, FreeMemory memory) {
        OptionalLong free = memory.on(model.device());
        RunMemory asked = of(model.config(), model.dtype(), plan, tokens, validated, plan.parameters().activations());
        if (asked.fits(free)) {
            return asked;
        }
        RunMemory least = mayRecompute ? of(model.config(), model.dtype(), plan, tokens, validated, Activations.RECOMPUTE) : asked;
        if (least.fits(free)) {
            return least;
        }
        throw Hyperparameter.refused(String.format(Locale.ROOT, "the job needs %,d bytes on %s beside the base: %,d for what is trained, "
                + "%,d for masters and moments, %,d for passes of %,d tokens at a time%s; %,d are free; lower micro_batch_tokens or the "
                + "budget, or free memory", least.total(), model.device(), least.trained(), least.optimizer(), least.activations(), tokens,
                least.how() == Activations.RECOMPUTE ? " with layers computed twice" : "", free.getAsLong()));
    }
}
