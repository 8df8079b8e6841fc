package io.inlay.store;

import io.inlay.Problem;
import io.inlay.delta.BaseMatrices;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;

/**
 * Delta checkpoints, per tenant, base and task. Versions are immutable and numbered from 1. Names are letters, digits, '.', '_' and '-',
 * 64 at most, beginning with a letter or digit; others are refused with {@code INVALID_REQUEST}.
 */
public interface DeltaStore {

    /** Publishes a delta that has blocks only. */
    default DeltaVersion publish(String tenant, String base, String task, DeltaManifest draft, List<TensorBlocks> blocks,
            BaseMatrices matrices) {
        return publish(tenant, base, task, draft, blocks, List.of(), matrices);
    }

    /**
     * Encodes blocks and whole tensors against their base and makes them the task's next version. When this returns, the version survives
     * a crash; when it throws, no trace of it is visible.
     *
     * @throws Problem {@code STORAGE_FULL} or {@code STORAGE_FAILED}
     */
    DeltaVersion publish(String tenant, String base, String task, DeltaManifest draft, List<TensorBlocks> blocks,
            List<WholeTensor> tensors, BaseMatrices matrices);

    /** All versions of a tenant, by base, task and number. */
    List<DeltaVersion> list(String tenant);

    /** A version by number, or the latest. */
    Optional<DeltaVersion> find(String tenant, String base, String task, OptionalInt number);

    /** The version that an alias names now. */
    Optional<DeltaVersion> findByAlias(String tenant, String base, String task, String alias);

    /** The version that a tuning job has left. */
    Optional<DeltaVersion> findByJob(String tenant, String job);

    /** Says that the version is in use by this server, and will be for some while: its file stays where it is. */
    void lease(DeltaVersion version);

    /**
     * Decodes a version into memory of {@code arena}, verified.
     *
     * @throws Problem {@code BASE_MISMATCH} before decoding; {@code CORRUPT_DELTA} naming file and tensor; {@code NOT_FOUND} when it was
     *         deleted meanwhile
     */
    LoadedDelta load(DeltaVersion version, String baseFingerprint, BaseMatrices matrices, Arena arena);

    /**
     * Makes a version invisible, for good; its file follows once nobody uses it. Its number is not given again. Returns whether it was there.
     *
     * @throws Problem {@code CONFLICT} while an alias names it
     */
    boolean delete(DeltaVersion version);

    /** Tells the listener of each tenant whose versions were erased by this process. A store that never erases tells nothing. */
    default void onErasure(Consumer<String> listener) {
    }
}
