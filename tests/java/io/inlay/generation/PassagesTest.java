package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.LlamaModel;
import io.inlay.model.MergedCheckpoint;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Texts read with a delta are those of a checkpoint that has it merged in; what cannot be read is refused. */
class PassagesTest {

    @Test
    void a_delta_reads_bit_for_bit_as_a_checkpoint_with_its_blocks_merged_by_hand(@TempDir Path folder) throws IOException {
        Libtorch torch = Libtorch.load();
        Golden golden = Golden.of("sharded-bf16");
        DeltaStore store = Stores.folder(folder.resolve("store"));
        int[] text = golden.ints("tokens");
        try (LlamaModel model = LlamaModel.open(torch, CpuKernels.best(), golden.folder(), ModelOptions.of(DType.BF16));
                Arena arena = Arena.ofConfined();
                LlamaModel merged = LlamaModel.open(torch, CpuKernels.best(), MergedCheckpoint.write(golden.folder(),
                        folder.resolve("merged"), Deltas.blocks(model, 9, arena), List.of()), ModelOptions.of(DType.BF16));
                DeltaResidency residency = new DeltaResidency(model, store, 1 << 24);
                DeltaResidency none = new DeltaResidency(merged, store, 1 << 24);
                Passages passages = new Passages(model, residency);
                Passages expected = new Passages(merged, none)) {
            Optional<DeltaVersion> delta = Optional.of(Deltas.publish(store, model, "task", 9));
            assertThat(passages.embedding(text, delta)).isEqualTo(expected.embedding(text, Optional.empty()))
                    .isNotEqualTo(passages.embedding(text, Optional.empty()));
            List<TokenScores> scores = passages.scores(text, delta, 3);
            assertThat(scores).hasSize(text.length - 1).isEqualTo(expected.scores(text, Optional.empty(), 3));
            assertThat(scores).allSatisfy(each -> assertThat(each.likeliest()).hasSize(3));
            assertThat(passages.scores(new int[] {5}, Optional.empty(), 1)).isEmpty();
            assertThatThrownBy(() -> passages.embedding(new int[0], Optional.empty())).isInstanceOf(Problem.class)
                    .hasMessageStartingWith("input is empty");
            assertThatThrownBy(() -> passages.embedding(new int[] {512}, Optional.empty())).hasMessageContaining("has tokens 0 to 511");
            assertThatThrownBy(() -> passages.embedding(new int[model.maxContext() + 1], Optional.empty()))
                    .isInstanceOfSatisfying(Problem.class, problem -> assertThat(problem.code())
                            .isEqualTo(Problem.Code.CONTEXT_LENGTH_EXCEEDED));
        }
    }
}
