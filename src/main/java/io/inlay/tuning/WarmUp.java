package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.GradientProbe;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.PackedBatch;
import java.util.List;
import java.util.Optional;

/** The first phase of Sparse Matrix Tuning: gradients of some batches are summed up into a score per block, and no weight moves. */
final class WarmUp {

    private final TuningSession session;
    private final BlockGrid grid;
    private final TuningMethod.Smt method;
    private final int steps;

    WarmUp(TuningSession session, BlockGrid grid, TuningMethod.Smt method) {
        this.session = session;
        this.grid = grid;
        this.method = method;
        this.steps = session.plan().warmUpSteps();
    }

    /** The scores by number in the grid, none negative and all finite; goes on from where {@code saved} was when that was in here. */
    float[] score(Optional<TuningCheckpoints.Saved> saved) {
        LlamaModel model = session.model();
        int limit = session.plan().parameters().microBatchTokens();
        int tokens = PartSizes.of(session.order(), limit).largest().tokens().length;
        WarmUpPlacement placement = WarmUpPlacement.choose(method, grid, session.order().anySplit(steps, limit),
                RunMemory.warmUp(model, session.plan(), tokens, session.mayRecompute()), model.device(), session.memory());
        session.listener().warmUpMemory(placement);
        try (BlockScores scores = new BlockScores(model.torch(), model.kernels(), model.device(), grid, method.score(), placement.memory());
                LlamaTraining training = new LlamaTraining(model, new GradientProbe(scores.tensors(), scores::accept), placement.how())) {
            int done = saved.map(state -> resume(state, scores)).orElse(0);
            for (int step = done; step < steps; step++) {
                leaveIfWished(step, scores);
                session.listener().warmUp(step(step, scores, training));
                session.saveIfDue(new TuningProgress.WarmingUp(step + 1), scores::state);
            }
            float[] all = scores.scores();
            for (float each : all) {
                requireFinite("a block's score after " + steps + " warm-up steps", each);
            }
            return all;
        }
    }

    private static int resume(TuningCheckpoints.Saved saved, BlockScores scores) {
        if (!(saved.progress() instanceof TuningProgress.WarmingUp(int done))) {
            return 0;
        }
        saved.read(scores.state());
        saved.close();
        return done;
    }

    private void leaveIfWished(int step, BlockScores scores) {
        String where = "before warm-up step " + (step + 1) + " of " + steps;
        switch (session.control().wish()) {
            case GO_ON -> {
            }
            case SUSPEND -> throw session.suspended(new TuningProgress.WarmingUp(step), scores::state, where);
            case CANCEL -> throw TuningSession.cancelled(where);
        }
    }

    private TuningListener.WarmUpReport step(int step, BlockScores scores, LlamaTraining training) {
        PackedBatch batch = session.batch(step);
        List<PackedBatch> parts = session.split(batch);
        int targets = batch.targetCount();
        double sum = 0;
        scores.beginStep(parts.size());
        for (PackedBatch part : parts) {
            session.await();
            sum += training.forwardBackward(part, 1f / targets).sum();
        }
        scores.endStep();
        requireFinite("the loss of warm-up step " + (step + 1) + " of " + steps, sum / targets);
        return new TuningListener.WarmUpReport(step + 1, steps, sum / targets);
    }

    private static void requireFinite(String what, double value) {
        if (!Double.isFinite(value)) {
            throw new Problem(Problem.Code.NOT_FINITE, what + " is " + value + "; nothing has been trained yet, so the base model itself "
                    + "gives this on the training data; check its weights");
        }
    }
}
