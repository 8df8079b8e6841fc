package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;

class DeltaTensorsTest {

    private static LlamaConfig config(int hidden, int intermediate) {
        return new LlamaConfig(100, hidden, intermediate, 1, 2, 1, hidden / 2, 1e-6, 64, 10_000, new RopeScaling.None(), false,
                OptionalInt.empty(), Set.of(1), DType.BF16);
    }

    /** Every value is its own number in the parameter, modulo 2^16. */
    private static MemorySegment numbered(ParameterShape parameter, Arena arena) {
        MemorySegment values = arena.allocate(2 * parameter.elements(), 64);
        for (long i = 0; i < parameter.elements(); i++) {
            values.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) i);
        }
        return values;
    }

    @Test
    void linears_become_all_of_their_blocks_at_the_largest_edge_that_divides_them_all_and_the_rest_stays_whole() {
        LlamaConfig config = config(128, 320);
        try (Arena arena = Arena.ofConfined()) {
            DeltaTensors all = DeltaTensors.of(config, config.parameters(), DeltaTensorsTest::numbered, arena);
            assertThat(all.blocks()).hasSize(7).allSatisfy(blocks -> {
                assertThat(blocks.edge()).isEqualTo(64);
                assertThat(blocks.count()).isEqualTo((long) blocks.rows() * blocks.columns());
                for (int k = 0; k < blocks.coordinates().size(); k++) {
                    BlockCoordinate at = blocks.coordinates().get(k);
                    long corner = (long) at.row() * 64 * blocks.columns() + at.column() * 64L;
                    assertThat(blocks.block(k).getAtIndex(ValueLayout.JAVA_SHORT, 0)).isEqualTo((short) corner);
                    assertThat(blocks.block(k).getAtIndex(ValueLayout.JAVA_SHORT, 65)).isEqualTo((short) (corner + blocks.columns() + 1));
                }
            });
            assertThat(all.tensors()).extracting(WholeTensor::tensor).containsExactly("model.embed_tokens.weight",
                    "model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight", "model.norm.weight",
                    "lm_head.weight");
            assertThat(all.tensors().getFirst().shape()).containsExactly(100, 128);
            assertThat(all.tensors().getFirst().values().getAtIndex(ValueLayout.JAVA_SHORT, 5000)).isEqualTo((short) 5000);
        }
    }

    @Test
    void the_edge_is_that_of_the_linears_given() {
        LlamaConfig config = config(128, 320);
        List<ParameterShape> query = config.parameters().stream().filter(each -> each.name().equals(Projection.Q.tensor(0))).toList();
        try (Arena arena = Arena.ofConfined()) {
            assertThat(DeltaTensors.of(config, query, DeltaTensorsTest::numbered, arena).blocks()).extracting(TensorBlocks::edge)
                    .containsExactly(128);
        }
    }

    @Test
    void linears_that_no_edge_of_16_or_more_divides_stay_whole() {
        LlamaConfig config = config(128, 328);
        try (Arena arena = Arena.ofConfined()) {
            DeltaTensors all = DeltaTensors.of(config, config.parameters(), DeltaTensorsTest::numbered, arena);
            assertThat(all.blocks()).isEmpty();
            assertThat(all.tensors()).hasSameSizeAs(config.parameters());
        }
    }
}
