package io.inlay.tensor;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.Stream;

/**
 * Free memory as Linux tells it: for the CPU {@code MemAvailable} of {@code /proc/meminfo}, or less where a control group (version 2 or 1)
 * that the process is in leaves less. A group's pages of files that nobody has used lately count as free, since the kernel drops them
 * first. Devices without an answer here say nothing.
 */
public final class LinuxMemory implements FreeMemory {

    /** Limits as large as this are version 1's way to say that there is none. */
    private static final long NO_LIMIT = Long.MAX_VALUE / 2;

    private final Path proc;
    private final Path groups;

    public LinuxMemory() {
        this(Path.of("/proc"), Path.of("/sys/fs/cgroup"));
    }

    /**
     * @param proc where the process file system is
     * @param groups where control groups are
     */
    LinuxMemory(Path proc, Path groups) {
        this.proc = proc;
        this.groups = groups;
    }

    @Override
    public OptionalLong on(Device device) {
        if (!device.isCpu()) {
            return OptionalLong.empty();
        }
        long free = lines(proc.resolve("meminfo")).stream().filter(line -> line.startsWith("MemAvailable:"))
                .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) * 1024).findFirst().orElse(Long.MAX_VALUE);
        for (String line : lines(proc.resolve("self/cgroup"))) {
            String[] parts = line.split(":", 3);
            if (parts.length == 3 && parts[0].equals("0")) {
                free = Math.min(free, under(groups, parts[2], "memory.max", "memory.current", "inactive_file"));
            } else if (parts.length == 3 && List.of(parts[1].split(",")).contains("memory")) {
                free = Math.min(free, under(groups.resolve("memory"), parts[2], "memory.limit_in_bytes", "memory.usage_in_bytes",
                        "total_inactive_file"));
            }
        }
        return free == Long.MAX_VALUE ? OptionalLong.empty() : OptionalLong.of(Math.max(0, free));
    }

    /** What a group and those that it lies in leave; inside a container its own group may be shown as the root. */
    private static long under(Path root, String group, String limit, String usage, String droppable) {
        long free = Long.MAX_VALUE;
        Path folder = root.resolve(group.replaceFirst("^/+", "")).normalize();
        for (; folder != null && folder.startsWith(root); folder = folder.getParent()) {
            OptionalLong most = number(folder.resolve(limit));
            OptionalLong used = number(folder.resolve(usage));
            if (most.isPresent() && used.isPresent() && most.getAsLong() < NO_LIMIT) {
                long cached = lines(folder.resolve("memory.stat")).stream().filter(line -> line.startsWith(droppable + " "))
                        .mapToLong(line -> Long.parseLong(line.substring(droppable.length() + 1).strip())).findFirst().orElse(0);
                free = Math.min(free, most.getAsLong() - used.getAsLong() + cached);
            }
        }
        return free;
    }

    /** Empty for "max" and for a file that is not there. */
    private static OptionalLong number(Path file) {
        return lines(file).stream().map(String::strip).filter(line -> line.matches("\\d{1,18}")).mapToLong(Long::parseLong).findFirst();
    }

    /** None for a file that is not there or may not be read: a machine that tells less is asked for less. */
    private static List<String> lines(Path file) {
        try (Stream<String> lines = Files.lines(file)) {
            return lines.toList();
        } catch (IOException | java.io.UncheckedIOException unreadable) {
            return List.of();
        }
    }
}
