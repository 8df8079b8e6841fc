package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.kernels.CpuKernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Hidden states and logits of whole texts against transformers: tests/golden/embeddings. */
class LlamaEncoderTest {

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like"})
    void means_and_log_probabilities_are_transformers(String name) throws IOException {
        int checked = 0;
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("tests/golden/llama", name),
                new ModelOptions(DType.FP32, 0, null, Device.CPU)); LlamaEncoder encoder = new LlamaEncoder(model)) {
            for (JsonNode each : new ObjectMapper().readTree(Path.of("tests/golden/embeddings/embeddings.json").toFile())) {
                if (!each.path("model").asText().equals(name)) {
                    continue;
                }
                int[] tokens = IntStream.range(0, each.path("tokens").size()).map(i -> each.path("tokens").get(i).asInt()).toArray();
                float[] mean = encoder.mean(tokens, WeightOverlay.none());
                assertThat(mean).hasSize(model.config().hiddenSize());
                for (int i = 0; i < mean.length; i++) {
                    assertThat((double) mean[i]).isCloseTo(each.path("mean").get(i).asDouble(), within(2e-4));
                }
                List<Double> logprobs = new ArrayList<>();
                encoder.logits(tokens, WeightOverlay.none(), row -> logprobs.add(logProbability(row, tokens[logprobs.size() + 1])));
                assertThat(logprobs).hasSize(tokens.length - 1);
                for (int i = 0; i < logprobs.size(); i++) {
                    assertThat(logprobs.get(i)).isCloseTo(each.path("logprobs").get(i).asDouble(), within(1e-3));
                }
                checked++;
            }
        }
        assertThat(checked).isEqualTo(3);
    }

    private static double logProbability(float[] logits, int token) {
        double sum = 0;
        for (float each : logits) {
            sum += Math.exp(each);
        }
        return logits[token] - Math.log(sum);
    }
}
