package io.inlay.jobs;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.model.LlamaTraining;
import io.inlay.tuning.MetricReport;
import io.inlay.tuning.RunMemory;
import io.inlay.tuning.SelectionReport;
import io.inlay.tuning.StepReport;
import io.inlay.tuning.TuningListener;
import io.inlay.tuning.TuningPlan;
import io.inlay.tuning.WarmUpPlacement;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.LongAdder;

/** Makes what a run says into its job's events; of the steps, a few a second, and always the last. */
final class JobEvents implements TuningListener {

    private static final long EVENT_NANOS = 250_000_000;

    private final JobStore jobs;
    private final JobStore.Run run;
    private final LongAdder steps;
    private long told = System.nanoTime() - EVENT_NANOS;

    /** @param steps counts training steps */
    JobEvents(JobStore jobs, JobStore.Run run, LongAdder steps) {
        this.steps = steps;
        this.jobs = jobs;
        this.run = run;
    }

    @Override
    public void planned(TuningPlan plan) {
        jobs.event(run, "message", String.format(Locale.ROOT, "Training %,d of %,d parameters (%.2f %%) in %d steps after %d of warm-up",
                plan.trainedParameters(), plan.modelParameters(), 100 * plan.share(), plan.steps(), plan.warmUpSteps()), null);
    }

    @Override
    public void recomputes(RunMemory memory) {
        jobs.event(run, "message", String.format(Locale.ROOT, "Memory is short: layers are computed twice, to the same bits, so that "
                + "passes of %,d tokens take %,d bytes", memory.tokens(), memory.activations()), null);
    }

    @Override
    public void warmUpMemory(WarmUpPlacement placement) {
        String where = switch (placement.memory()) {
            case DEVICE -> "on the device";
            case HOST -> "on the host";
            case AUTO, STREAM -> "nowhere: gradients become numbers of their blocks at once";
        };
        ObjectNode data = JsonNodeFactory.instance.objectNode().put("phase", JobHistory.MEMORY)
                .put("memory", placement.memory().name().toLowerCase(Locale.ROOT)).put("bytes", placement.bytes())
                .put("recompute_activations", placement.how() == LlamaTraining.Activations.RECOMPUTE);
        placement.freeBytes().ifPresent(free -> data.put("free_bytes", free));
        jobs.event(run, "message", String.format(Locale.ROOT, "Warm-up sums are kept %s (%,d bytes)%s", where, placement.bytes(),
                placement.how() == LlamaTraining.Activations.RECOMPUTE ? "; layers are computed twice in the warm-up" : ""), data);
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
        steps.increment();
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

    @Override
    public void measured(MetricReport report) {
        ObjectNode data = JsonNodeFactory.instance.objectNode().put("phase", JobHistory.METRICS).put("step", report.step())
                .put("examples", report.examples()).put("generated_tokens", report.tokens());
        List<String> told = new ArrayList<>();
        report.shares().forEach((metric, share) -> {
            data.put(metric.wire(), share);
            told.add(String.format(Locale.ROOT, "%s %.3f", metric.wire(), share));
        });
        jobs.event(run, "metrics", "Step " + report.step() + ": " + String.join(", ", told) + " of " + report.examples() + " examples",
                data);
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
