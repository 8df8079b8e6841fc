package io.inlay.jobs;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.tuning.SelectionReport;
import io.inlay.tuning.StepReport;
import io.inlay.tuning.TuningListener;
import io.inlay.tuning.TuningPlan;
import java.util.Locale;

/** Makes what a run says into its job's events; of the steps, a few a second, and always the last. */
final class JobEvents implements TuningListener {

    private static final long EVENT_NANOS = 250_000_000;

    private final JobStore jobs;
    private final JobStore.Run run;
    private long told = System.nanoTime() - EVENT_NANOS;

    JobEvents(JobStore jobs, JobStore.Run run) {
        this.jobs = jobs;
        this.run = run;
    }

    @Override
    public void planned(TuningPlan plan) {
        jobs.event(run, "message", String.format(Locale.ROOT, "Training %,d of %,d parameters (%.2f %%) in %d steps after %d of warm-up",
                plan.trainedParameters(), plan.modelParameters(), 100 * plan.share(), plan.steps(), plan.warmUpSteps()), null);
    }

    @Override
    public void warmUp(WarmUpReport report) {
        if (due(report.step() == report.steps())) {
            jobs.event(run, "metrics", "Warm-up " + report.step() + "/" + report.steps() + ": loss " + shown(report.loss()),
                    figures("warm_up", report.step(), report.steps()).put("train_loss", report.loss()));
        }
    }

    @Override
    public void selected(SelectionReport report) {
        jobs.event(run, "message", "Selected " + report.blocks() + " of " + report.candidates() + " blocks of edge " + report.edge(),
                JobReport.of(report));
    }

    @Override
    public void step(StepReport report) {
        if (due(report.step() == report.steps())) {
            double seconds = report.elapsed().toNanos() / 1e9;
            jobs.event(run, "metrics", "Step " + report.step() + "/" + report.steps() + ": training loss " + shown(report.loss()),
                    figures("training", report.step(), report.steps()).put("train_loss", report.loss())
                            .put("learning_rate", report.learningRate()).put("gradient_norm", report.gradientNorm())
                            .put("tokens", report.tokens()).put("targets", report.targets())
                            .put("tokens_per_second", report.tokens() / seconds).put("seconds", seconds));
        }
    }

    @Override
    public void validated(ValidationReport report) {
        jobs.event(run, "metrics", "Step " + report.step() + ": validation loss " + shown(report.loss()),
                JsonNodeFactory.instance.objectNode().put("phase", "validation").put("step", report.step()).put("valid_loss", report.loss()));
    }

    private static ObjectNode figures(String phase, int step, int steps) {
        return JsonNodeFactory.instance.objectNode().put("phase", phase).put("step", step).put("total_steps", steps);
    }

    private boolean due(boolean last) {
        long now = System.nanoTime();
        if (!last && now - told < EVENT_NANOS) {
            return false;
        }
        told = now;
        return true;
    }

    private static String shown(double loss) {
        return String.format(Locale.ROOT, "%.4f", loss);
    }
}
