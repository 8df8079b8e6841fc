package io.inlay.api;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.function.Function;

/** JSON as OpenAI's API has it; names are the wire's. Unknown fields of requests are ignored, as OpenAI's clients expect of servers. */
final class Wire {

    private Wire() {
    }

    // ---- requests ----

    @JsonIgnoreProperties(ignoreUnknown = true)
    record JobRequestBody(String model, String training_file, String validation_file, String suffix, Long seed, JsonNode hyperparameters,
            JsonNode method, Boolean dry_run) {
    }

    // ---- answers ----

    /** The ids are of the page's first and last item, absent where it is empty or not a page. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ListOf<T>(String object, List<T> data, String first_id, String last_id, boolean has_more) {

        static <T> ListOf<T> of(List<T> data) {
            return new ListOf<>("list", data, null, null, false);
        }

        static <T> ListOf<T> page(List<T> data, Function<T, String> id, boolean more) {
            return data.isEmpty() ? of(data) : new ListOf<>("list", data, id.apply(data.getFirst()), id.apply(data.getLast()), more);
        }
    }

    /**
     * The last five are Inlay's own: what a model is made of. {@code weights} is the form in which a base's linears are read for answers:
     * bf16, fp32 or int8.
     */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Model(String id, String object, long created, String owned_by, String root, Long parameters, Long bytes, String fingerprint,
            String digest, String weights) {
    }

    record Usage(int prompt_tokens, int completion_tokens, int total_tokens) {

        static Usage of(int prompt, int completion) {
            return new Usage(prompt, completion, prompt + completion);
        }
    }

    record File(String id, String object, long bytes, long created_at, String filename, String purpose, String status) {
    }

    record Deleted(String id, String object, boolean deleted) {
    }

    record JobError(String code, String message, @JsonProperty("param") String parameter) {
    }

    /** {@code inlay} is our own: the report of a job that has left a version. */
    record Job(String id, String object, long created_at, JobError error, String fine_tuned_model, Long finished_at,
            JsonNode hyperparameters, String model, String organization_id, List<String> result_files, Long seed, String status,
            Long trained_tokens, String training_file, String validation_file, JsonNode method, JsonNode inlay) {
    }

    record Event(String id, String object, long created_at, String level, String message, String type, JsonNode data) {
    }

    record CheckpointMetrics(Double step, Double train_loss, Double valid_loss) {
    }

    record JobCheckpoint(String id, String object, long created_at, String fine_tuned_model_checkpoint, String fine_tuning_job_id,
            CheckpointMetrics metrics, long step_number) {
    }

    record Verification(String id, String fingerprint, String digest, boolean untouched) {
    }

    record ErrorBody(Error error) {
    }

    record Error(String message, String type, String param, String code) {
    }
}
