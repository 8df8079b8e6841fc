package io.inlay.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import io.inlay.tuning.Evaluations;
import io.inlay.tuning.NamedTensor;
import io.inlay.tuning.TuningCheckpoints.Saved;
import io.inlay.tuning.TuningProgress;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunCheckpointsTest {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final TuningProgress FIRST = new TuningProgress.WarmingUp(3);
    private static final TuningProgress SECOND = new TuningProgress.Training(7, 12_345, OptionalDouble.of(0.1 + 0.2),
            new Evaluations(6, OptionalDouble.of(Double.NaN), Optional.of(new Evaluations.Best(4, Math.nextUp(1.5))), 1));

    private static Libtorch torch;

    @TempDir
    private Path folder;
    private final List<String> told = new ArrayList<>();
    private Scope scope;

    @BeforeAll
    static void load() {
        torch = Libtorch.load();
    }

    private RunCheckpoints checkpoints(RunIdentity identity) {
        return checkpoints(identity, Duration.ofSeconds(60));
    }

    private RunCheckpoints checkpoints(RunIdentity identity, Duration interval) {
        return new RunCheckpoints(folder.resolve("job"), identity, torch, interval, (level, message) -> told.add(level + ": " + message));
    }

    private static RunIdentity identity() {
        return identity("{\"method\": \"smt\", \"seed\": 7, \"learning_rate\": 1e-4}");
    }

    private static RunIdentity identity(String hyperparameters) {
        return new RunIdentity("job", "sha256:base", "bf16", "sha256:data", "", json(hyperparameters));
    }

    private static JsonNode json(String text) {
        try {
            return JSON.readTree(text);
        } catch (IOException impossible) {
            throw new AssertionError(impossible);
        }
    }

    private List<NamedTensor> state(float value) {
        if (scope == null) {
            scope = new Scope(torch);
        }
        // An odd number of two bytes first, so that what follows lies across the boundaries of its elements.
        Tensor odd = scope.copyTo(scope.of(Device.CPU, new float[] {value, 2, 3}, 3), DType.BF16, Device.CPU);
        return List.of(new NamedTensor("odd", odd), new NamedTensor("ints", scope.of(Device.CPU, new int[] {5, (int) value}, 2)),
                new NamedTensor("floats", scope.of(Device.CPU, new float[] {value, -0f, Float.MIN_VALUE, 4, 5, 6}, 2, 3)));
    }

    @AfterEach
    void free() {
        if (scope != null) {
            scope.close();
        }
    }

    private void saveTwo() {
        RunCheckpoints written = checkpoints(identity());
        written.save(FIRST, state(1));
        written.save(SECOND, state(2));
        assertThat(told).isEmpty();
    }

    /** The state that a new process finds: its progress, and the first value of its tensors, all of which are compared. */
    private Optional<TuningProgress> found(RunIdentity identity, float value) {
        try (Saved saved = checkpoints(identity).load().orElse(null)) {
            if (saved == null) {
                return Optional.empty();
            }
            List<NamedTensor> read = state(0);
            saved.read(read);
            List<NamedTensor> expected = state(value);
            for (int i = 0; i < read.size(); i++) {
                assertThat(read.get(i).tensor().segment().mismatch(expected.get(i).tensor().segment())).as(read.get(i).name())
                        .isEqualTo(-1);
            }
            return Optional.of(saved.progress());
        }
    }

    private Path current() {
        return folder.resolve("job/current.safetensors");
    }

    private Path previous() {
        return folder.resolve("job/previous.safetensors");
    }

    @Test
    void another_process_finds_the_last_state_to_the_bit() {
        saveTwo();
        assertThat(found(identity(), 2)).contains(SECOND);
        assertThat(told).containsExactly("info: The job goes on from its checkpoint after training step 7");
    }

    @Test
    void a_file_torn_or_damaged_anywhere_is_not_used_and_the_one_before_it_is() throws IOException {
        saveTwo();
        byte[] whole = Files.readAllBytes(current());
        byte[] before = Files.readAllBytes(previous());
        for (int at = 0; at < whole.length; at += 41) {
            byte[] flipped = whole.clone();
            flipped[at] ^= 1;
            for (byte[] bad : List.of(Arrays.copyOf(whole, at), flipped)) {
                Files.write(current(), bad);
                Files.write(previous(), before);
                told.clear();
                assertThat(found(identity(), 1)).as("byte %d of %d", at, whole.length).contains(FIRST);
                assertThat(told).hasSize(2);
                assertThat(told.getFirst()).startsWith("warn: A checkpoint is not used: " + current())
                        .endsWith("; the one before it is tried");
                assertThat(told.getLast()).isEqualTo("info: The job goes on from its checkpoint after warm-up step 3");
                assertThat(Files.readAllBytes(current())).as("the good one takes the damaged one's place").isEqualTo(before);
            }
        }
    }

    @Test
    void a_crash_between_the_two_renames_leaves_the_previous_one_to_go_on_from() throws IOException {
        saveTwo();
        Files.delete(current());
        Files.write(folder.resolve("job/.writing-0"), new byte[100]);
        assertThat(found(identity(), 1)).contains(FIRST);
        try (Stream<Path> left = Files.list(folder.resolve("job"))) {
            assertThat(left).containsExactly(current());
        }
    }

    @Test
    void with_both_damaged_the_job_starts_from_its_beginning_and_says_so() throws IOException {
        saveTwo();
        Files.write(current(), new byte[0]);
        byte[] bytes = Files.readAllBytes(previous());
        bytes[bytes.length - 1] ^= 1;
        Files.write(previous(), bytes);
        assertThat(checkpoints(identity()).load()).isEmpty();
        assertThat(told).containsExactly("warn: A checkpoint is not used: " + current() + " is 0 bytes; a safetensors file has at least the "
                + "8 of its header's length; fetch or write the file again; the one before it is tried", "warn: A checkpoint is not used: "
                + previous() + " does not have the digest that it states; it was damaged; the job starts from its beginning");
    }

    @Test
    void a_checkpoint_of_another_job_base_type_file_or_hyperparameters_is_not_used() {
        checkpoints(identity()).save(SECOND, state(2));
        JsonNode same = identity().hyperparameters();
        notUsed(new RunIdentity("other", "sha256:base", "bf16", "sha256:data", "", same), "job, job");
        notUsed(new RunIdentity("job", "sha256:other", "bf16", "sha256:data", "", same),
                "base model, of fingerprint sha256:base where this one has sha256:other");
        notUsed(new RunIdentity("job", "sha256:base", "fp32", "sha256:data", "", same), "type of weights, bf16 where this one is fp32");
        notUsed(new RunIdentity("job", "sha256:base", "bf16", "sha256:other", "", same), "training file, of digest sha256:data");
        notUsed(new RunIdentity("job", "sha256:base", "bf16", "sha256:data", "sha256:other", same), "validation file, of digest none");
        notUsed(identity("{\"method\": \"smt\", \"seed\": 8, \"learning_rate\": 1e-4}"),
                "set of hyperparameters, {\"method\":\"smt\",\"seed\":7,\"learning_rate\":1.0E-4}");
        told.clear();
        assertThat(found(identity(), 2)).contains(SECOND);
    }

    private void notUsed(RunIdentity identity, String difference) {
        told.clear();
        assertThat(checkpoints(identity).load()).isEmpty();
        assertThat(told).containsExactly("warn: A checkpoint is not used: " + current() + " is of another " + difference
                + "; the job starts from its beginning");
    }

    @Test
    void a_state_that_does_not_fit_the_run_is_refused_by_the_tensors_name() {
        saveTwo();
        try (Saved saved = checkpoints(identity()).load().orElseThrow()) {
            assertThat(saved.has("floats")).isTrue();
            assertThat(saved.has("more")).isFalse();
            assertThatThrownBy(() -> saved.read(List.of(new NamedTensor("floats", scope.zeros(DType.FP32, Device.CPU, 3, 2)))))
                    .isInstanceOf(Problem.class).hasMessage(current() + " has tensor 'floats' of F32[2, 3] where the run has F32[3, 2]; "
                            + "cancel the job and create it again");
            assertThatThrownBy(() -> saved.read(List.of(new NamedTensor("more", scope.zeros(DType.BF16, Device.CPU, 1)))))
                    .isInstanceOf(Problem.class).hasMessage(current() + " has no tensor 'more' where the run has BF16[1]; cancel the job "
                            + "and create it again");
        }
    }

    @Test
    void a_disk_that_refuses_is_told_of_once_and_the_run_goes_on() throws IOException {
        RunCheckpoints written = checkpoints(identity());
        Files.write(folder.resolve("job"), new byte[0]);
        written.save(FIRST, state(1));
        written.save(SECOND, state(2));
        assertThat(told).hasSize(1);
        assertThat(told.getFirst()).startsWith("warn: No checkpoint could be written after warm-up step 3: ")
                .endsWith("; check the disk and the folder's rights. The job goes on; if the server stops now, it will start again from "
                        + "its beginning");
        Files.delete(folder.resolve("job"));
        written.save(SECOND, state(2));
        assertThat(found(identity(), 2)).contains(SECOND);
    }

    @Test
    void there_are_never_more_than_two_and_the_same_state_is_not_written_twice() throws IOException {
        RunCheckpoints written = checkpoints(identity());
        for (int step = 1; step <= 4; step++) {
            written.save(new TuningProgress.WarmingUp(step), state(step));
        }
        Object file = Files.readAttributes(current(), "unix:ino").get("ino");
        written.save(new TuningProgress.WarmingUp(4), state(4));
        assertThat(Files.readAttributes(current(), "unix:ino")).containsEntry("ino", file);
        try (Stream<Path> all = Files.list(folder.resolve("job"))) {
            assertThat(all).containsExactlyInAnyOrder(current(), previous());
        }
        assertThat(found(identity(), 4)).contains(new TuningProgress.WarmingUp(4));
    }

    @Test
    void a_checkpoint_is_due_once_the_time_has_passed() throws InterruptedException {
        assertThat(checkpoints(identity()).due()).isFalse();
        RunCheckpoints often = checkpoints(identity(), Duration.ofMillis(1));
        Thread.sleep(5);
        assertThat(often.due()).isTrue();
        often.save(FIRST, state(1));
        assertThat(often.due()).as("what takes some time to write is written less often").isFalse();
    }

    @Test
    void a_jobs_checkpoints_are_found_and_removed_with_their_folder() throws IOException {
        saveTwo();
        JobCheckpoints all = new JobCheckpoints(folder, Duration.ofSeconds(60));
        assertThat(all.jobs()).containsExactly("job");
        all.remove("another");
        assertThat(current()).exists();
        all.remove("job");
        assertThat(folder).isEmptyDirectory();
        assertThatThrownBy(() -> new JobCheckpoints(folder, Duration.ofSeconds(-1))).isInstanceOf(Problem.class)
                .hasMessage("inlay.tuning.checkpoint-seconds is -1; it must be 0 or more");
    }
}
