package io.inlay.jobs;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaVersion;
import io.inlay.tuning.SelectionReport;
import io.inlay.tuning.TuningOutcome;
import java.util.Locale;

/** What a job that has succeeded reports, as JSON. */
final class JobReport {

    private JobReport() {
    }

    static ObjectNode of(DeltaVersion version, LlamaModel model, TuningOutcome outcome) {
        ObjectNode report = of(version).put("base_bytes", model.bytes()).put("base_parameters", model.parameterCount())
                .put("trained_parameters", outcome.plan().trainedParameters()).put("share_of_parameters", outcome.plan().share())
                .put("warm_up_steps", outcome.plan().warmUpSteps()).put("steps", outcome.steps()).put("trained_tokens", outcome.tokens())
                .put("training_loss", outcome.trainingLoss());
        outcome.validationLoss().ifPresent(loss -> report.put("validation_loss", loss));
        outcome.best().ifPresent(best -> report.put("best_step", best.step()).put("best_validation_loss", best.loss()));
        report.put("stopped_early", outcome.ending() == TuningOutcome.Ending.STOPPED_EARLY);
        outcome.selection().ifPresent(selection -> report.set("selection", of(selection)));
        return report;
    }

    /** What the version itself tells: all there is of an attempt that died before it could report. */
    static ObjectNode of(DeltaVersion version) {
        return JsonNodeFactory.instance.objectNode().put("delta_version", version.number()).put("delta_digest", version.digest())
                .put("method", version.manifest().hyperparameters().get("method"))
                .put("delta_bytes", version.fileBytes()).put("delta_values", version.manifest().values())
                .put("base_fingerprint", version.manifest().baseFingerprint());
    }

    /** The paper's figures 4 and 5 as numbers. */
    static ObjectNode of(SelectionReport selection) {
        ObjectNode report = JsonNodeFactory.instance.objectNode().put("block_edge", selection.edge()).put("blocks", selection.blocks())
                .put("candidates", selection.candidates()).put("trained_parameters", selection.trainedParameters())
                .put("share_of_parameters", selection.share());
        for (SelectionReport.MatrixCount matrix : selection.matrices()) {
            report.withArray("matrices").addObject().put("layer", matrix.layer())
                    .put("projection", matrix.projection().name().toLowerCase(Locale.ROOT)).put("blocks", matrix.blocks())
                    .put("candidates", matrix.candidates()).put("mean_score", matrix.meanScore()).put("most_score", matrix.mostScore())
                    .put("threshold", matrix.threshold());
        }
        for (int layer = 0; layer < selection.layers(); layer++) {
            report.withArray("layers").addObject().put("layer", layer).put("blocks", selection.inLayer(layer));
        }
        selection.threshold().ifPresent(threshold -> report.put("threshold", threshold));
        selection.scores().ifPresent(scores -> report.set("scores", of(scores)));
        selection.chosenScores().ifPresent(scores -> report.set("chosen_scores", of(scores)));
        return report;
    }

    private static ObjectNode of(SelectionReport.Quantiles scores) {
        return JsonNodeFactory.instance.objectNode().put("least", scores.least()).put("quarter", scores.quarter())
                .put("median", scores.median()).put("three_quarters", scores.threeQuarters()).put("ninetieth", scores.ninetieth())
                .put("ninety_ninth", scores.ninetyNinth()).put("most", scores.most());
    }
}
