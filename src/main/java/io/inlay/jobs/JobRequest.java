package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Optional;

/**
 * What a client asks for.
 *
 * @param base name of the base model
 * @param task under which the result is kept
 * @param trainingFile id
 * @param validationFile id
 * @param hyperparameters as JSON, {@link Hyperparameters} reads it
 */
public record JobRequest(String base, String task, String trainingFile, Optional<String> validationFile, JsonNode hyperparameters) {
}
