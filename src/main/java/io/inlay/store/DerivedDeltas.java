package io.inlay.store;

import io.inlay.Problem;
import io.inlay.delta.BaseMatrices;
import io.inlay.delta.DeltaComposition;
import io.inlay.delta.DeltaDifference;
import io.inlay.delta.DeltaFile;
import io.inlay.delta.DeltaManifest;
import java.lang.foreign.Arena;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/** Versions of one base compared with each other, and made of each other; what is made says what it was made of. */
public final class DerivedDeltas {

    private final DeltaStore store;
    private final String code;

    /**
     * @param code version of Inlay, for manifests
     */
    public DerivedDeltas(DeltaStore store, String code) {
        this.store = store;
        this.code = code;
    }

    /** The base that both versions are of, at hand. */
    public record Base(String fingerprint, BaseMatrices matrices) {
    }

    /** A version made of two, and the blocks that both had with other values. */
    public record Derived(DeltaVersion version, List<String> conflicts) {
    }

    public DeltaDifference compare(DeltaVersion first, DeltaVersion second, Base base) {
        try (Arena arena = Arena.ofShared()) {
            return DeltaDifference.of(decoded(first, base, arena), decoded(requireSameBase(first, second), base, arena), base.matrices());
        }
    }

    /** Publishes all blocks of both as the task's next version. */
    public Derived compose(DeltaVersion first, DeltaVersion second, DeltaComposition.Policy policy, String task, Base base) {
        try (Arena arena = Arena.ofShared()) {
            DeltaComposition made = DeltaComposition.compose(decoded(first, base, arena), decoded(requireSameBase(first, second), base, arena),
                    policy, arena);
            return publish(made, Map.of("operation", "compose", "policy", policy.name().toLowerCase(java.util.Locale.ROOT)), first, second, task,
                    base);
        }
    }

    /** Publishes the first without the second's blocks as the task's next version. */
    public Derived subtract(DeltaVersion from, DeltaVersion what, String task, Base base) {
        try (Arena arena = Arena.ofShared()) {
            DeltaComposition made = DeltaComposition.subtract(decoded(from, base, arena), decoded(requireSameBase(from, what), base, arena),
                    arena);
            return publish(made, Map.of("operation", "subtract"), from, what, task, base);
        }
    }

    private static DeltaVersion requireSameBase(DeltaVersion first, DeltaVersion second) {
        if (!first.base().equals(second.base())) {
            throw new Problem(Problem.Code.INVALID_REQUEST, first.model() + " and " + second.model() + " are of different base models");
        }
        return second;
    }

    private DeltaFile.Decoded decoded(DeltaVersion version, Base base, Arena arena) {
        LoadedDelta loaded = store.load(version, base.fingerprint(), base.matrices(), arena);
        return new DeltaFile.Decoded(version.manifest(), loaded.blocks(), loaded.tensors());
    }

    private Derived publish(DeltaComposition made, Map<String, String> how, DeltaVersion first, DeltaVersion second, String task, Base base) {
        int edge = made.blocks().isEmpty() ? 1 : made.blocks().getFirst().edge();
        DeltaManifest draft = DeltaManifest.draft(first.base(), base.fingerprint(), task, edge, Instant.now().toString(), null, how, null,
                Map.of(), code).of(List.of(parent(first), parent(second)));
        return new Derived(store.publish(first.tenant(), first.base(), task, draft, made.blocks(), made.tensors(), base.matrices()),
                made.conflicts());
    }

    private static String parent(DeltaVersion version) {
        return version.model() + " " + version.digest();
    }
}
