package io.inlay.jobs;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.store.DurableFiles;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.NamedTensor;
import io.inlay.tuning.TuningCheckpoints;
import io.inlay.tuning.TuningProgress;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * One job's checkpoints in a folder of its own: {@code current.safetensors}, and {@code previous.safetensors} for when the current one
 * turns out damaged. A new one is written under a temporary name and forced to the disk before it takes the current one's place, so a crash
 * at any moment leaves one that is whole.
 */
final class RunCheckpoints implements TuningCheckpoints {

    private static final String CURRENT = "current.safetensors";
    private static final String PREVIOUS = "previous.safetensors";
    private static final String TEMPORARY = ".writing-";

    /** Between two checkpoints by time lies so many times what the last one took to write: they cost a twentieth at most. */
    private static final int RARELY = 20;

    /** Hears what a user should know; {@code level} as in {@link JobEvent}. */
    interface Journal {
        void tell(String level, String message);
    }

    private final Path folder;
    private final RunIdentity identity;
    private final Libtorch torch;
    private final long intervalNanos;
    private final Journal journal;
    private Optional<TuningProgress> kept = Optional.empty();
    private long keptAt = System.nanoTime();
    private long tookNanos;
    private boolean failing;

    /**
     * @param interval between two checkpoints of a run that does not say after how many steps
     */
    RunCheckpoints(Path folder, RunIdentity identity, Libtorch torch, Duration interval, Journal journal) {
        this.folder = folder;
        this.identity = identity;
        this.torch = torch;
        this.intervalNanos = interval.toNanos();
        this.journal = journal;
    }

    // ---- reading ----

    /** Whether there is nothing to go on from. */
    boolean isEmpty() {
        return !Files.isRegularFile(folder.resolve(CURRENT)) && !Files.isRegularFile(folder.resolve(PREVIOUS));
    }

    @Override
    public Optional<Saved> load() {
        Optional<Saved> saved = load(folder.resolve(CURRENT)).or(() -> load(folder.resolve(PREVIOUS)));
        saved.ifPresent(found -> {
            kept = Optional.of(found.progress());
            journal.tell("info", "The job goes on from its checkpoint after " + ProgressJson.shown(found.progress()));
        });
        return saved;
    }

    private Optional<Saved> load(Path file) {
        if (!Files.isRegularFile(file)) {
            return Optional.empty();
        }
        String reason;
        try {
            return Optional.of(open(file));
        } catch (Problem | IOException unusable) {
            reason = unusable.getMessage();
        }
        journal.tell("warn", "A checkpoint is not used: " + reason + "; " + (file.endsWith(CURRENT)
                && Files.isRegularFile(folder.resolve(PREVIOUS)) ? "the one before it is tried" : "the job starts from its beginning"));
        return Optional.empty();
    }

    private Saved open(Path file) throws IOException {
        CheckpointFile opened = CheckpointFile.open(file);
        try {
            identity.difference(RunIdentity.of(opened.state().path("run"))).ifPresent(different -> {
                throw new Problem(Problem.Code.CONFLICT, file + " is of another " + different);
            });
            Saved saved = new Read(opened, ProgressJson.read(opened.state().path("progress")));
            settle(file);
            return saved;
        } catch (IOException | RuntimeException refused) {
            opened.close();
            throw refused;
        }
    }

    /** Puts the file that is good in the current one's place, or the next save would keep a damaged one instead of it. */
    private void settle(Path good) throws IOException {
        Files.move(good, folder.resolve(CURRENT), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        sweep();
        DurableFiles.forceFolder(folder);
    }

    /** Removes what a writer left that a crash cut short. */
    private void sweep() throws IOException {
        try (Stream<Path> entries = Files.list(folder)) {
            for (Path each : entries.filter(entry -> entry.getFileName().toString().startsWith(TEMPORARY)).toList()) {
                Files.deleteIfExists(each);
            }
        }
    }

    /** An opened file, seen from the run. */
    private final class Read implements Saved {

        private final CheckpointFile file;
        private final TuningProgress progress;

        private Read(CheckpointFile file, TuningProgress progress) {
            this.file = file;
            this.progress = progress;
        }

        @Override
        public TuningProgress progress() {
            return progress;
        }

        @Override
        public boolean has(String name) {
            return file.has(name);
        }

        @Override
        public void read(List<NamedTensor> into) {
            file.read(torch, into);
        }

        @Override
        public void close() {
            file.close();
        }
    }

    // ---- writing ----

    @Override
    public boolean due() {
        return System.nanoTime() - keptAt >= Math.max(intervalNanos, RARELY * tookNanos);
    }

    @Override
    public void save(TuningProgress progress, List<NamedTensor> tensors) {
        if (kept.equals(Optional.of(progress))) {
            return;
        }
        long started = System.nanoTime();
        Path temporary = folder.resolve(TEMPORARY + UUID.randomUUID());
        try {
            createFolder();
            if (kept.isPresent()) {
                // The current one is whole: it was verified, or written here. So there are never more than two on the disk.
                Files.deleteIfExists(folder.resolve(PREVIOUS));
            }
            CheckpointFile.write(temporary, state(progress), torch, tensors);
            replace(temporary);
            kept = Optional.of(progress);
            failing = false;
        } catch (IOException failure) {
            failed(progress, failure, temporary);
        }
        keptAt = System.nanoTime();
        tookNanos = keptAt - started;
    }

    private ObjectNode state(TuningProgress progress) {
        ObjectNode state = JsonNodeFactory.instance.objectNode();
        state.set("run", identity.toJson());
        state.set("progress", ProgressJson.write(progress));
        return state;
    }

    private void createFolder() throws IOException {
        if (!Files.isDirectory(folder)) {
            Files.createDirectories(folder);
            DurableFiles.forceFolder(folder.toAbsolutePath().getParent());
        }
    }

    private void replace(Path whole) throws IOException {
        Path current = folder.resolve(CURRENT);
        if (Files.exists(current)) {
            Files.move(current, folder.resolve(PREVIOUS), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
        Files.move(whole, current, StandardCopyOption.ATOMIC_MOVE);
        DurableFiles.forceFolder(folder);
    }

    /** Told once until a checkpoint succeeds again. */
    private void failed(TuningProgress progress, IOException failure, Path temporary) {
        if (!failing) {
            boolean full = String.valueOf(failure.getMessage()).contains("No space left on device");
            journal.tell("warn", "No checkpoint could be written after " + ProgressJson.shown(progress) + ": " + (full
                    ? "the disk is full; free space" : failure + "; check the disk and the folder's rights") + ". The job goes on; if the "
                    + "server stops now, it will " + kept.map(last -> "go on after " + ProgressJson.shown(last))
                            .orElse("start again from its beginning"));
        }
        failing = true;
        temporary.toFile().delete();
    }
}
