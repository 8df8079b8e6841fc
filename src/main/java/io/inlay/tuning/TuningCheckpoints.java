package io.inlay.tuning;

import io.inlay.Problem;
import java.util.List;
import java.util.Optional;

/** Where a run leaves its state, so that another process can go on with the same bits. Used on the run's own thread. */
public interface TuningCheckpoints {

    /** Keeps nothing. */
    TuningCheckpoints NONE = new TuningCheckpoints() {
        @Override
        public Optional<Saved> load() {
            return Optional.empty();
        }

        @Override
        public boolean due() {
            return false;
        }

        @Override
        public void save(TuningProgress progress, List<NamedTensor> tensors) {
            // Nothing is kept.
        }
    };

    /** The latest whole state of this very run; empty when there is none, and the run starts from its beginning. */
    Optional<Saved> load();

    /** Whether the last state is old enough to be replaced; asked after every step of a run that has no {@code checkpoint_every}. */
    boolean due();

    /**
     * Replaces the last state. The tensors are read before this returns. A failure to write is not the run's: it goes on with the state
     * that was kept before.
     */
    void save(TuningProgress progress, List<NamedTensor> tensors);

    /** A state read back. */
    interface Saved extends AutoCloseable {

        TuningProgress progress();

        boolean has(String name);

        /**
         * Fills tensors of the same names, types and sizes.
         *
         * @throws Problem {@code CORRUPT_CHECKPOINT} naming the tensor that is missing or different
         */
        void read(List<NamedTensor> into);

        /** Lets go of the state's bytes; {@link #progress} still answers, and a second time does nothing. */
        @Override
        void close();
    }
}
