package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.api.Test;

class BlockCodecTest {

    private static short[] allPatterns() {
        short[] all = new short[65536];
        for (int i = 0; i < all.length; i++) {
            all[i] = (short) i;
        }
        return all;
    }

    private final BlockCodec codec = new BlockCodec();

    @AfterEach
    void free() {
        codec.close();
    }

    private short[] decoded(BlockCodec.Chunk chunk, short[] base) {
        short[] values = new short[base.length];
        codec.decode(chunk.form(), chunk.bytes(), chunk.bytes().length, base, values, "test");
        return values;
    }

    @ParameterizedTest
    @EnumSource(BlockCodec.Form.class)
    void every_bit_pattern_comes_back_over_every_kind_of_base(BlockCodec.Form form) {
        short[] values = allPatterns();
        SplittableRandom random = new SplittableRandom(1);
        for (int round = 0; round < 24; round++) {
            short[] base = new short[values.length];
            for (int i = 0; i < base.length; i++) {
                base[i] = switch (round) {
                    case 0 -> 0;
                    case 1 -> (short) 0x8000;
                    case 2 -> (short) 0x7FC0;
                    case 3 -> values[i];
                    case 4 -> (short) 0xFFFF;
                    default -> (short) random.nextInt(65536);
                };
            }
            assertThat(decoded(codec.encode(form, values, base), base)).isEqualTo(values);
        }
    }

    @Test
    void the_encoder_keeps_the_smallest_form_and_never_grows_a_chunk() {
        SplittableRandom random = new SplittableRandom(2);
        short[] base = new short[4096];
        short[] noise = new short[4096];
        short[] near = new short[4096];
        for (int i = 0; i < base.length; i++) {
            base[i] = Deltas.bf16((float) (0.02 * random.nextGaussian()));
            noise[i] = (short) random.nextInt(65536);
            near[i] = Deltas.bf16(Float.intBitsToFloat(base[i] << 16) + (float) (1e-4 * random.nextGaussian()));
        }
        assertThat(codec.encode(noise, base).form()).isEqualTo(BlockCodec.Form.RAW);
        assertThat(codec.encode(noise, base).bytes()).hasSize(2 * 4096);
        BlockCodec.Chunk chosen = codec.encode(near, base);
        assertThat(chosen.form()).isEqualTo(BlockCodec.Form.ORDERED);
        assertThat(chosen.bytes().length).isLessThan(codec.encode(BlockCodec.Form.XOR_SPLIT, near, base).bytes().length);
        assertThat(decoded(chosen, base)).isEqualTo(near);
    }

    @Test
    void a_chunk_that_expands_past_its_blocks_is_refused() {
        byte[] bomb = com.github.luben.zstd.Zstd.compress(new byte[1 << 20], 1);
        assertThatThrownBy(() -> codec.decode(BlockCodec.Form.ORDERED, bomb, bomb.length, new short[256], new short[256], "d.safetensors: w"))
                .isInstanceOf(Problem.class).hasMessageStartingWith("d.safetensors: w has a chunk that does not decompress to 512 bytes");
    }

    @Test
    void a_chunk_of_noise_is_refused() {
        byte[] noise = new byte[100];
        new java.util.Random(3).nextBytes(noise);
        assertThatThrownBy(() -> codec.decode(BlockCodec.Form.XOR_SPLIT, noise, noise.length, new short[256], new short[256], "d: w"))
                .isInstanceOf(Problem.class).hasMessageContaining("does not decompress");
    }
}
