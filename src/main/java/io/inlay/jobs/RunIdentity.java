package io.inlay.jobs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Optional;

/**
 * What a checkpoint belongs to. A run goes on from a checkpoint only when all of this is the same.
 *
 * @param base fingerprint of the base model
 * @param dtype that the base is held in and computed with
 * @param trainingData digest of the file
 * @param validationData digest of the file; empty when there is none
 * @param hyperparameters with every default resolved
 */
record RunIdentity(String job, String base, String dtype, String trainingData, String validationData, JsonNode hyperparameters) {

    private static final ObjectMapper JSON = new ObjectMapper();

    /** Numbers in the hyperparameters are as a parser reads them, so that what was written and read again compares equal. */
    RunIdentity {
        try {
            hyperparameters = JSON.readTree(hyperparameters.toString());
        } catch (JsonProcessingException impossible) {
            throw new AssertionError("a JSON tree is JSON", impossible);
        }
    }

    ObjectNode toJson() {
        ObjectNode json = JSON.createObjectNode().put("job", job).put("base", base).put("dtype", dtype).put("training_data", trainingData)
                .put("validation_data", validationData);
        json.set("hyperparameters", hyperparameters);
        return json;
    }

    static RunIdentity of(JsonNode json) {
        return new RunIdentity(json.path("job").asText(), json.path("base").asText(), json.path("dtype").asText(),
                json.path("training_data").asText(), json.path("validation_data").asText(), json.path("hyperparameters"));
    }

    /** What of the other is different, as the end of "it is of another ..."; empty when nothing is. */
    Optional<String> difference(RunIdentity other) {
        if (!job.equals(other.job)) {
            return Optional.of("job, " + other.job);
        }
        if (!base.equals(other.base)) {
            return Optional.of("base model, of fingerprint " + other.base + " where this one has " + base);
        }
        if (!dtype.equals(other.dtype)) {
            return Optional.of("type of weights, " + other.dtype + " where this one is " + dtype);
        }
        if (!trainingData.equals(other.trainingData)) {
            return Optional.of("training file, of digest " + other.trainingData);
        }
        if (!validationData.equals(other.validationData)) {
            return Optional.of("validation file, of digest " + (other.validationData.isEmpty() ? "none" : other.validationData));
        }
        return hyperparameters.equals(other.hyperparameters) ? Optional.empty()
                : Optional.of("set of hyperparameters, " + other.hyperparameters);
    }
}
