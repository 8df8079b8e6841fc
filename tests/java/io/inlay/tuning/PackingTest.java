package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.model.PackedBatch;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class PackingTest {

    @Test
    void targets_are_the_next_tokens_from_the_end_of_the_prompt_on_and_never_cross_sequences() {
        PackedBatch batch = Packing.pack(List.of(new TuningExample(new int[] {10, 11, 12, 13, 14}, 3),
                new TuningExample(new int[] {20, 21}, 1)));
        assertThat(batch.tokens()).containsExactly(10, 11, 12, 13, 20);
        assertThat(batch.targets()).containsExactly(-1, -1, 13, 14, 21);
        assertThat(batch.lengths()).containsExactly(4, 1);
    }

    @Test
    void without_a_prompt_every_token_but_the_first_is_a_target() {
        TuningExample example = new TuningExample(new int[] {1, 2, 3}, 0);
        assertThat(Packing.pack(List.of(example)).targets()).containsExactly(2, 3);
        assertThat(example.targets()).isEqualTo(2);
    }

    @Test
    void an_example_without_anything_to_predict_is_refused() {
        assertThatThrownBy(() -> new TuningExample(new int[] {1, 2}, 2)).isInstanceOf(IllegalArgumentException.class)
                .hasMessage("an example of 2 tokens with a prompt of 2 has nothing to predict");
        assertThatThrownBy(() -> new TuningExample(new int[] {1}, 0)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void a_split_keeps_every_sequence_whole_in_order_and_within_the_limit() {
        Random random = new Random(2);
        for (int round = 0; round < 100; round++) {
            List<TuningExample> examples = examples(1 + random.nextInt(12), random);
            PackedBatch whole = Packing.pack(examples);
            int limit = 1 + random.nextInt(40);
            List<PackedBatch> parts = Packing.split(whole, limit);
            assertThat(parts).allSatisfy(part -> assertThat(part.tokens().length <= limit || part.lengths().length == 1).isTrue());
            assertThat(joined(parts, PackedBatch::tokens)).isEqualTo(whole.tokens());
            assertThat(joined(parts, PackedBatch::targets)).isEqualTo(whole.targets());
            assertThat(joined(parts, PackedBatch::lengths)).isEqualTo(whole.lengths());
            assertThat(parts.stream().mapToInt(PackedBatch::targetCount).sum())
                    .isEqualTo(examples.stream().mapToInt(TuningExample::targets).sum());
        }
    }

    @Test
    void a_split_fills_parts_before_opening_new_ones() {
        PackedBatch batch = new PackedBatch(new int[10], new int[10], new int[] {3, 3, 2, 2});
        assertThat(Packing.split(batch, 6).stream().map(part -> part.lengths().length)).containsExactly(2, 2);
        assertThat(Packing.split(batch, 10)).hasSize(1);
        assertThat(Packing.split(batch, 1)).hasSize(4);
    }

    @Test
    void every_epoch_reads_every_example_once_in_an_order_of_its_own() {
        List<TuningExample> examples = examples(23, new Random(1));
        BatchOrder order = new BatchOrder(examples, 5, 42);
        assertThat(order.stepsPerEpoch()).isEqualTo(5);
        List<TuningExample> first = epoch(order, 0);
        List<TuningExample> second = epoch(order, 1);
        assertThat(first).containsExactlyInAnyOrderElementsOf(examples).isNotEqualTo(examples);
        assertThat(second).containsExactlyInAnyOrderElementsOf(examples).isNotEqualTo(first);
        assertThat(order.batch(4)).hasSize(3);
    }

    @Test
    void a_step_can_be_asked_for_in_any_order_and_follows_the_seed() {
        List<TuningExample> examples = examples(10, new Random(1));
        BatchOrder walked = new BatchOrder(examples, 4, 7);
        for (int step = 0; step < 8; step++) {
            walked.batch(step);
        }
        assertThat(walked.batch(2)).isEqualTo(new BatchOrder(examples, 4, 7).batch(2));
        assertThat(epoch(new BatchOrder(examples, 4, 7), 1)).isNotEqualTo(epoch(new BatchOrder(examples, 4, 8), 0));
        assertThat(epoch(new BatchOrder(examples, 4, 7), 0)).isNotEqualTo(epoch(new BatchOrder(examples, 4, 8), 0));
    }

    private static List<TuningExample> epoch(BatchOrder order, int epoch) {
        List<TuningExample> all = new ArrayList<>();
        for (int step = 0; step < order.stepsPerEpoch(); step++) {
            all.addAll(order.batch(epoch * order.stepsPerEpoch() + step));
        }
        return all;
    }

    private static List<TuningExample> examples(int count, Random random) {
        List<TuningExample> examples = new ArrayList<>();
        for (int e = 0; e < count; e++) {
            int[] tokens = random.ints(2 + random.nextInt(15), 0, 100).toArray();
            examples.add(new TuningExample(tokens, random.nextInt(tokens.length)));
        }
        return examples;
    }

    private static int[] joined(List<PackedBatch> parts, java.util.function.Function<PackedBatch, int[]> field) {
        return parts.stream().map(field).flatMapToInt(Arrays::stream).toArray();
    }
}
