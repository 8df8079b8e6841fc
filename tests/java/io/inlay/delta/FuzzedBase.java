package io.inlay.delta;

import java.lang.foreign.Arena;

/** The base that fuzzed deltas are decoded against: that of tests/golden/delta. */
final class FuzzedBase {

    static final Deltas BASE = new Deltas(Arena.global(), 5).with("b.weight", 128, 96).with("a.weight", 64, 64).withVector("n.weight", 48);

    private FuzzedBase() {
    }
}
