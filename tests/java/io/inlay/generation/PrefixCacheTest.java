package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.kernels.CpuKernels;
import io.inlay.model.KvCache;
import io.inlay.model.KvPool;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.PromptCut;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which pages of a prompt another may begin with. */
class PrefixCacheTest {

    private static final Path FOLDER = Path.of("tests/golden/llama/llama31-like");
    private static final PrefixCache.Owner OWNER = new PrefixCache.Owner("acme", "");

    @TempDir
    private Path folder;

    private LlamaModel model;
    private KvPool pool;

    @BeforeEach
    void open() throws IOException {
        try (Stream<Path> files = Files.list(FOLDER)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, folder.resolve(file.getFileName()));
            }
        }
        Path config = folder.resolve("config.json");
        Files.writeString(config, Files.readString(config).replace("\"max_position_embeddings\": 512", "\"max_position_embeddings\": 4096"));
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), folder, ModelOptions.of(DType.BF16));
        pool = new KvPool(model, 500);
    }

    @AfterEach
    void close() {
        pool.close();
        model.close();
    }

    /** Pages that a prompt of so many positions begins with; all of its own are kept then. */
    private int shared(PrefixCache prefixes, PrefixCache.Owner owner, int positions) {
        int[] prompt = IntStream.range(0, positions).map(i -> i % 400).toArray();
        try (KvCache cache = pool.cache(positions)) {
            prefixes.begin(owner, prompt, positions, cache);
            int found = cache.pages();
            assertThat(cache.reserve(positions)).isTrue();
            prefixes.keep(owner, prompt, positions, cache);
            return found;
        }
    }

    @Test
    void without_windows_every_page_that_begins_the_same_is_shared() {
        PrefixCache prefixes = new PrefixCache(pool, new PromptCut(false));
        assertThat(shared(prefixes, OWNER, 1040)).isZero();
        assertThat(shared(prefixes, OWNER, 992)).isEqualTo(62);
        assertThat(shared(prefixes, OWNER, 2064)).isEqualTo(65);
        assertThat(shared(prefixes, new PrefixCache.Owner("globex", ""), 992)).isZero();
    }

    @Test
    void pages_of_a_large_window_and_of_a_small_one_are_not_taken_for_each_other() {
        PrefixCache prefixes = new PrefixCache(pool, new PromptCut(true));
        assertThat(shared(prefixes, OWNER, 1040)).isZero();
        assertThat(shared(prefixes, OWNER, 496)).as("1040 made its first 1024 in one window, 496 are made in small ones").isZero();
        assertThat(shared(prefixes, OWNER, 480)).isEqualTo(30);
        assertThat(shared(prefixes, OWNER, 992)).isEqualTo(62);
        assertThat(shared(prefixes, OWNER, 1200)).isEqualTo(65);
        assertThat(shared(prefixes, OWNER, 2064)).as("1200 went on in small windows, 2064 goes on in a large one").isEqualTo(64);
    }
}
