package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.HostAsCudaKernels;
import io.inlay.kernels.Kernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Where prompts are cut, and that on a device nothing else decides a position's bits. */
class PromptCutTest {

    private static final Path FOLDER = Path.of("tests/golden/llama/llama31-like");
    private static final PromptCut WINDOWS = new PromptCut(true);

    @Test
    void without_windows_a_piece_is_shorter_while_others_wait() {
        PromptCut cut = new PromptCut(false);
        assertThat(cut.end(0, 2000, false)).isEqualTo(512);
        assertThat(cut.end(512, 2000, true)).isEqualTo(640);
        assertThat(cut.end(1984, 2000, true)).isEqualTo(2000);
        assertThat(cut.isLarge(0, 5000)).isFalse();
    }

    @Test
    void windows_are_large_where_the_prompt_fills_more_than_half_of_them_and_grow_in_what_is_left() {
        assertThat(pieces(2384)).containsExactly(1024, 2048, 2176, 2304, 2384);
        assertThat(pieces(2032)).containsExactly(1024, 2032);
        assertThat(pieces(512)).containsExactly(128, 256, 512);
        assertThat(pieces(528)).containsExactly(528);
        assertThat(pieces(16)).containsExactly(16);
        assertThat(pieces(0)).isEmpty();
    }

    private static List<Integer> pieces(int whole) {
        List<Integer> ends = new ArrayList<>();
        for (int at = 0; at < whole; at = ends.getLast()) {
            int end = WINDOWS.end(at, whole, at % 3 == 0);
            assertThat(end).isGreaterThan(at);
            ends.add(end);
        }
        return ends;
    }

    @ParameterizedTest
    @ValueSource(ints = {16, 128, 144, 512, 528, 1008, 1024, 1040, 2048, 5008})
    void every_position_is_in_the_one_window_that_all_of_its_positions_have(int whole) {
        for (int position = 0; position < whole; position++) {
            PromptCut.Window window = WINDOWS.window(position, whole);
            assertThat(position).isBetween(window.from(), window.to() - 1);
            assertThat(WINDOWS.window(window.from(), whole)).isEqualTo(window);
            assertThat(window.to() - window.from()).isIn(128, 256, 1024);
            assertThat(WINDOWS.isLarge(position, whole)).isEqualTo(window.to() - window.from() == 1024);
        }
    }

    @Test
    void a_piece_beyond_its_window_is_refused() {
        try (LlamaModel model = ModelOnDevice.open(FOLDER, DType.BF16); LlamaInference inference = new LlamaInference(model);
                KvCache cache = inference.cache(200)) {
            assertThatThrownBy(() -> inference.extend(tokens(144), 144, cache, WeightOverlay.none())).isInstanceOf(
                    IllegalArgumentException.class).hasMessage("144 tokens behind 0 of 144 positions are more than the 128 that are taken in "
                    + "at a time");
            assertThat(cache.length()).isZero();
        }
    }

    @Test
    void a_product_whose_rows_depend_on_their_number_and_place_gives_a_position_the_same_bits_however_the_prompt_came() {
        int[] prompt = tokens(300);
        try (LlamaModel model = LlamaModel.open(HostAsCuda.load(), sensitive(), FOLDER,
                new ModelOptions(DType.BF16, 0, null, HostAsCuda.DEVICE)); LlamaInference inference = new LlamaInference(model);
                KvPool pool = new KvPool(model, 100); KvCache first = pool.cache(320); KvCache pieces = pool.cache(320);
                KvCache shared = pool.cache(320); KvCache longer = pool.cache(320)) {
            float[] expected = inference.prefill(prompt, first, WeightOverlay.none());
            for (int[] piece : new int[][] {{0, 48}, {48, 128}, {128, 144}, {144, 256}, {256, 288}}) {
                reserve(pieces, piece[1]);
                inference.extend(Arrays.copyOfRange(prompt, piece[0], piece[1]), 288, pieces, WeightOverlay.none());
            }
            assertThat(rest(inference, prompt, pieces)).isEqualTo(expected);
            // Pages of a shorter prompt that began the same, of which the last lies in the middle of a window.
            int[] begin = Arrays.copyOf(prompt, 170);
            inference.prefill(begin, longer, WeightOverlay.none());
            int[] pages = new int[10];
            Arrays.setAll(pages, longer::page);
            shared.share(pages);
            for (int to : new int[] {256, 288}) {
                reserve(shared, to);
                inference.extend(Arrays.copyOfRange(prompt, shared.length(), to), 288, shared, WeightOverlay.none());
            }
            assertThat(rest(inference, prompt, shared)).isEqualTo(expected);
        }
    }

    private static void reserve(KvCache cache, int positions) {
        assertThat(cache.reserve(positions)).isTrue();
    }

    /** The logits after the prompt's last tokens, which go in a step. */
    private static float[] rest(LlamaInference inference, int[] prompt, KvCache cache) {
        return inference.prefill(Arrays.copyOfRange(prompt, cache.length(), prompt.length), cache, WeightOverlay.none());
    }

    private static int[] tokens(int count) {
        return new SplittableRandom(count / 1000).ints(count, 5, 500).toArray();
    }

    /** Kernels whose products of many rows are off by what a row's place and the number of rows decide, as libtorch's may be on a GPU. */
    private static Kernels sensitive() {
        Kernels device = HostAsCudaKernels.over(CpuKernels.best("scalar"));
        return (Kernels) Proxy.newProxyInstance(Kernels.class.getClassLoader(), new Class<?>[] {Kernels.class}, (_, method, arguments) -> {
            try {
                Object result = method.invoke(device, arguments);
                if (method.getName().equals("product")) {
                    disturb((Tensor) arguments[0]);
                }
                return result;
            } catch (InvocationTargetException failure) {
                throw failure.getCause();
            }
        });
    }

    private static void disturb(Tensor out) {
        MemorySegment bits = MemorySegment.ofAddress(out.address()).reinterpret(out.bytes());
        for (long row = 0; row < out.size(0); row++) {
            for (long column = 0; column < out.size(1); column += 1 + (7 * row + out.size(0)) % 5) {
                long at = row * out.stride(0) + column;
                bits.setAtIndex(ValueLayout.JAVA_SHORT, at, (short) (bits.getAtIndex(ValueLayout.JAVA_SHORT, at) ^ 1));
            }
        }
    }
}
