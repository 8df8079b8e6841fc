package io.inlay.jobs;

import io.inlay.Problem;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Checkpoints of all jobs of this server, {@code <folder>/<job id>/}; a job's are there until it has ended. */
public final class JobCheckpoints {

    private static final Logger LOG = LoggerFactory.getLogger(JobCheckpoints.class);

    private final Path folder;
    private final Duration interval;

    /**
     * @param interval between two checkpoints of a job that has no {@code checkpoint_every}
     */
    public JobCheckpoints(Path folder, Duration interval) {
        if (interval.isNegative()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.tuning.checkpoint-seconds is " + interval.toSeconds()
                    + "; it must be 0 or more");
        }
        this.folder = folder;
        this.interval = interval;
    }

    RunCheckpoints of(RunIdentity identity, Libtorch torch, RunCheckpoints.Journal journal) {
        return new RunCheckpoints(folder.resolve(identity.job()), identity, torch, interval, journal);
    }

    /** Removes what a job left that has ended; what cannot be removed now is swept away by a later start. */
    void remove(String job) {
        Path own = folder.resolve(job);
        if (!Files.isDirectory(own)) {
            return;
        }
        try (Stream<Path> entries = Files.list(own)) {
            for (Path each : entries.toList()) {
                Files.deleteIfExists(each);
            }
            Files.deleteIfExists(own);
        } catch (IOException left) {
            LOG.warn("checkpoints of job {} could not be removed: {}", job, left.getMessage());
        }
    }

    /** Ids of the jobs that have left something. */
    Set<String> jobs() {
        if (!Files.isDirectory(folder)) {
            return Set.of();
        }
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.map(entry -> entry.getFileName().toString()).collect(Collectors.toSet());
        } catch (IOException unreadable) {
            LOG.warn("{} could not be listed: {}", folder, unreadable.getMessage());
            return Set.of();
        }
    }
}
