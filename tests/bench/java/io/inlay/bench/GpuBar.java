package io.inlay.bench;

import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/** The figures of {@code tests/gpu/run} and what each has to reach. */
enum GpuBar {

    DECODE_OF_BANDWIDTH("gpu.decode-of-bandwidth", true, 0.80),
    DECODE_VS_TRANSFORMERS("gpu.decode-vs-transformers", true, 3),
    TENANTS_VS_ONE("gpu.64-tenants-vs-1", true, 0.95),
    PREFILL_OF_GEMM("gpu.prefill-of-gemm", true, 0.75),
    SWITCH_MS("gpu.switch-ms", false, 0.2),
    LOAD_SECONDS("gpu.load-863-blocks-s", false, 0.3),
    BASE_DIGEST("gpu.switches-base-digest", true, 1),
    MEMORY_AT_BATCH_1("gpu.smt-gb-at-batch-1", false, 20),
    SMT_VS_LORA("gpu.smt-vs-peft-lora", true, 1.3),
    MEMORY_VS_LORA("gpu.memory-vs-peft-lora", false, 0.75),
    SMT_VS_FULL("gpu.smt-vs-torch-full", true, 2);

    private final String title;
    private final boolean least;
    private final double target;

    GpuBar(String title, boolean least, double target) {
        this.title = title;
        this.least = least;
        this.target = target;
    }

    String title() {
        return title;
    }

    static Optional<GpuBar> titled(String title) {
        return Arrays.stream(values()).filter(each -> each.title.equals(title)).findFirst();
    }

    boolean reached(double value) {
        return least ? value >= target : value <= target;
    }

    /** Prints what was measured: a bar at the real shape, otherwise a line that no reader takes for one. */
    void measured(double value, boolean real) {
        if (!real) {
            System.out.printf(Locale.ROOT, "TINY %s %.3g of a tiny shape, which means nothing%n", title, value);
        } else if (least) {
            Figures.atLeast(title, value, target);
        } else {
            Figures.atMost(title, value, target);
        }
    }
}
