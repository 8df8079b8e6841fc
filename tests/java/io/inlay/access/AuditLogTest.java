package io.inlay.access;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AuditLogTest {

    @TempDir
    private Path folder;

    private static AuditEntry entry(String object) {
        return new AuditEntry(Instant.parse("2026-01-05T10:12:31.500Z"), "req-1", new Principal("key-1", Role.OWNER, Optional.of("acme")),
                "file.upload",
                Optional.of(object), AuditEntry.Outcome.DONE, 200);
    }

    private List<Path> files() throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.sorted().toList();
        }
    }

    @Test
    void a_line_is_json_with_who_and_what() throws IOException {
        try (AuditLog log = new AuditLog(folder, 1_000_000)) {
            log.append(entry("file-1"));
            assertThat(Files.readString(folder.resolve("audit.jsonl")))
                    .isEqualTo("{\"time\":\"2026-01-05T10:12:31.500Z\",\"request\":\"req-1\","
                    + "\"key\":\"key-1\",\"role\":\"owner\",\"tenant\":\"acme\",\"change\":\"file.upload\",\"object\":\"file-1\",\"outcome\":\"done\","
                    + "\"status\":200}\n");
        }
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(folder.resolve("audit.jsonl")))).isEqualTo("rw-------");
    }

    @Test
    void a_hostile_object_makes_no_second_line_and_a_key_in_its_place_is_struck_out() throws IOException {
        try (AuditLog log = new AuditLog(folder, 1_000_000)) {
            log.append(entry("a\"}\n{\"time\":\"forged\u202e" + "x".repeat(5000)));
            log.append(entry("inlay_" + "0123456789abcdef".repeat(4)));
        }
        List<String> lines = Files.readAllLines(folder.resolve("audit.jsonl"));
        assertThat(lines).hasSize(2);
        assertThat(new ObjectMapper().readTree(lines.getFirst()).path("object").asText()).startsWith("a\"}?{\"time\":\"forged?")
                .hasSize(83);
        assertThat(new ObjectMapper().readTree(lines.getLast()).path("object").asText()).isEqualTo("inlay_(redacted)");
    }

    @Test
    void files_are_renamed_past_their_size_and_no_line_is_lost() throws IOException {
        try (AuditLog log = new AuditLog(folder, 1000)) {
            for (int i = 0; i < 40; i++) {
                log.append(entry("file-" + i));
            }
        }
        List<String> objects = new ArrayList<>();
        assertThat(files()).hasSizeGreaterThan(5).allSatisfy(file -> {
            assertThat(Files.size(file)).isLessThanOrEqualTo(1000);
            assertThat(file.getFileName().toString()).matches("audit(-\\d{8}T\\d{6}Z-[0-9a-f]{8})?\\.jsonl");
            for (String line : Files.readAllLines(file)) {
                objects.add(new ObjectMapper().readTree(line).path("object").asText());
            }
        });
        assertThat(objects).hasSize(40).doesNotHaveDuplicates();
    }

    @Test
    void lines_are_added_behind_those_of_an_earlier_run_and_one_that_was_cut_short_stays_apart() throws IOException {
        try (AuditLog log = new AuditLog(folder, 1_000_000)) {
            log.append(entry("file-1"));
        }
        Files.writeString(folder.resolve("audit.jsonl"), "{\"time\":\"20", StandardOpenOption.APPEND);
        try (AuditLog log = new AuditLog(folder, 1_000_000)) {
            log.append(entry("file-2"));
        }
        List<String> lines = Files.readAllLines(folder.resolve("audit.jsonl"));
        assertThat(lines).hasSize(3);
        assertThat(lines.get(1)).isEqualTo("{\"time\":\"20");
        assertThat(lines.get(2)).contains("file-2");
    }

    @Test
    void what_cannot_be_recorded_is_refused_until_it_can_be() throws IOException {
        try (AuditLog log = new AuditLog(folder, 300)) {
            log.append(entry("file-1"));
            // The next line needs a new file, and its place is taken by a folder.
            log.requireWritable();
            Path gone = folder.resolveSibling(folder.getFileName() + "-moved");
            Files.move(folder, gone);
            Files.writeString(folder, "in the way");
            assertThatThrownBy(() -> log.append(entry("file-2"))).isInstanceOf(Problem.class).hasMessageStartingWith("the audit log in "
                    + folder + " cannot be written").hasMessageEndingWith("check its disk and its rights (inlay.audit.folder)");
            assertThatThrownBy(log::requireWritable).isInstanceOf(Problem.class);
            Files.delete(folder);
            Files.move(gone, folder);
            log.requireWritable();
            log.append(entry("file-3"));
        }
        List<JsonNode> lines = new ArrayList<>();
        for (Path file : files()) {
            for (String line : Files.readAllLines(file)) {
                lines.add(new ObjectMapper().readTree(line));
            }
        }
        assertThat(lines).extracting(line -> line.path("change").asText()).contains("audit.resume");
        assertThat(lines).extracting(line -> line.path("object").asText()).contains("file-1", "file-3").doesNotContain("file-2");
    }
}
