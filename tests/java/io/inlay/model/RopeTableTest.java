package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RopeTableTest {

    private static final float ULP = Math.ulp(1f);

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like", "sharded-bf16", "fp16"})
    void frequencies_and_rotations_are_those_of_transformers(String name) {
        Golden golden = Golden.of(name);
        LlamaConfig config = LlamaConfig.parse(golden.folder());
        float[] inverse = RopeTable.inverseFrequencies(config);
        float[] expectedInverse = golden.floats("inverse_frequencies");
        assertThat(inverse).hasSameSizeAs(expectedInverse);
        for (int i = 0; i < inverse.length; i++) {
            assertThat(inverse[i]).isCloseTo(expectedInverse[i], within(ULP * expectedInverse[i]));
        }
        float[] table = RopeTable.of(config, config.maxPositions());
        assertThat(table).hasSize(config.maxPositions() * config.headDim());
        float[] expected = golden.floats("rope");
        int rows = Math.toIntExact(golden.shape("rope")[0]);
        for (int row = 0; row < rows; row++) {
            int position = 7 * row;
            float[] made = Arrays.copyOfRange(table, position * config.headDim(), (position + 1) * config.headDim());
            for (int i = 0; i < made.length; i++) {
                float angle = position * inverse[i % inverse.length];
                assertThat(made[i]).as("position " + position + ", " + i)
                        .isCloseTo(expected[row * made.length + i], within(ULP * (1 + angle)));
            }
        }
    }
}
