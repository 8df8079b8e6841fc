package io.inlay.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LinuxMemoryTest {

    @TempDir
    private Path root;

    @Test
    void without_a_limit_the_machines_available_memory_is_free() throws IOException {
        write("proc/meminfo", "MemTotal:       24000000 kB\nMemFree:         1000 kB\nMemAvailable:    5000 kB\n");
        write("proc/self/cgroup", "0::/\n");
        write("groups/memory.max", "max\n");
        write("groups/memory.current", "123\n");
        assertThat(memory().on(Device.CPU)).hasValue(5000 * 1024);
    }

    @Test
    void the_tightest_group_above_the_process_counts_and_its_idle_pages_of_files_are_free() throws IOException {
        write("proc/meminfo", "MemAvailable:    5000 kB\n");
        write("proc/self/cgroup", "0::/pod/container\n");
        write("groups/pod/container/memory.max", "max\n");
        write("groups/pod/container/memory.current", "900000\n");
        write("groups/pod/memory.max", "1000000\n");
        write("groups/pod/memory.current", "950000\n");
        write("groups/pod/memory.stat", "anon 1\ninactive_file 30000\nactive_file 5\n");
        assertThat(memory().on(Device.CPU)).hasValue(80_000);
    }

    @Test
    void version_1_groups_are_read_too() throws IOException {
        write("proc/meminfo", "MemAvailable:    5000 kB\n");
        write("proc/self/cgroup", "12:cpu,cpuacct:/a\n4:memory:/a\n");
        write("groups/memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("groups/memory/memory.usage_in_bytes", "5\n");
        write("groups/memory/a/memory.limit_in_bytes", "70000\n");
        write("groups/memory/a/memory.usage_in_bytes", "80000\n");
        assertThat(memory().on(Device.CPU)).as("over its limit").hasValue(0);
        write("groups/memory/a/memory.usage_in_bytes", "60000\n");
        assertThat(memory().on(Device.CPU)).hasValue(10_000);
    }

    @Test
    void who_does_not_say_is_not_guessed() {
        assertThat(memory().on(Device.CPU)).isEmpty();
        assertThat(new LinuxMemory().on(Device.cuda(0))).isEmpty();
    }

    @Test
    void this_machine_has_some_free() {
        assertThat(new LinuxMemory().on(Device.CPU).orElseThrow()).isBetween(1L << 20, 1L << 46);
    }

    private LinuxMemory memory() {
        return new LinuxMemory(root.resolve("proc"), root.resolve("groups"));
    }

    private void write(String file, String text) throws IOException {
        Files.createDirectories(root.resolve(file).getParent());
        Files.writeString(root.resolve(file), text);
    }
}
