package io.inlay.jobs;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.tuning.RunCost;
import io.inlay.tuning.TuningPlan;
import java.time.Duration;
import java.util.Locale;
import java.util.OptionalLong;

/** What a job would be and cost, as JSON; see the records of {@link RunCost} for what each number is. */
final class DryRun {

    private DryRun() {
    }

    static ObjectNode of(JobRequest request, TuningPlan plan, RunCost cost, OptionalLong free) {
        ObjectNode all = JsonNodeFactory.instance.objectNode().put("object", "fine_tuning.job.estimate").put("dry_run", true)
                .put("model", request.base());
        all.set("hyperparameters", request.hyperparameters());
        RunCost.Data data = cost.data();
        all.put("examples", data.examples()).put("validation_examples", data.validationExamples()).put("tokens", data.tokens())
                .put("target_tokens", data.targets()).put("longest_example", data.longest()).put("largest_micro_batch", data.largestPart())
                .put("steps", plan.steps()).put("warm_up_steps", plan.warmUpSteps()).put("trained_parameters", plan.trainedParameters())
                .put("share_of_parameters", plan.share());
        plan.blocks().ifPresent(blocks -> all.put("blocks", blocks.count()).put("block_edge", blocks.grid().edge())
                .put("candidates", blocks.grid().size()));
        all.set("memory", memory(cost, free));
        all.set("time", time(cost.time()));
        return all;
    }

    private static ObjectNode memory(RunCost cost, OptionalLong free) {
        RunCost.Memory memory = cost.memory();
        ObjectNode bytes = JsonNodeFactory.instance.objectNode().put("peak_bytes", memory.peak()).put("own_bytes", memory.own())
                .put("base_bytes", memory.base()).put("trained_bytes", memory.trained()).put("optimizer_bytes", memory.optimizer())
                .put("warm_up_bytes", memory.warmUp()).put("warm_up_activation_bytes", memory.warmUpActivations())
                .put("activation_bytes", memory.activations()).put("logit_bytes", memory.logits());
        cost.warmUp().ifPresent(placement -> bytes.put("warm_up_memory", placement.memory().name().toLowerCase(Locale.ROOT)));
        free.ifPresent(there -> bytes.put("free_bytes", there).put("fits", memory.own() <= there));
        return bytes;
    }

    private static ObjectNode time(RunCost.Time time) {
        return JsonNodeFactory.instance.objectNode().put("seconds", seconds(time.total())).put("warm_up_seconds", seconds(time.warmUp()))
                .put("training_seconds", seconds(time.training())).put("validation_seconds", seconds(time.validation()))
                .put("metric_seconds", seconds(time.metrics()))
                .put("measured", String.format(Locale.ROOT, "by %d passes in %.1f s, of up to %d tokens with blocks drawn at random, "
                        + "beside whatever else the server was doing", time.passes(), seconds(time.spent()), time.measuredTokens()));
    }

    private static double seconds(Duration duration) {
        return duration.toNanos() / 1e9;
    }
}
