package io.inlay.store;

import io.inlay.Problem;
import io.inlay.delta.BaseMatrices;
import io.inlay.delta.DeltaFile;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Versions as files, {@code <root>/<tenant>/<base>/<task>/<number>.safetensors}. A version is written under a temporary name, forced to
 * the disk, and linked to its number, which fails where the number is taken: publishers in any number of processes get numbers of their
 * own, and a crash leaves at most a temporary file, which the next start sweeps away. A deleted version leaves {@code <number>.deleted}.
 */
public final class FolderDeltaStore implements DeltaStore {

    private static final Logger LOG = LoggerFactory.getLogger(FolderDeltaStore.class);
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");
    private static final Pattern VERSION = Pattern.compile("([1-9][0-9]{0,8})\\.(safetensors|deleted)");
    private static final String TEMPORARY = ".publishing-";

    private final Path root;
    private final DurableFiles files;
    private final Map<Path, DeltaVersion> known = new ConcurrentHashMap<>();

    public FolderDeltaStore(Path root) {
        this(root, DurableFiles.local());
    }

    public FolderDeltaStore(Path root, DurableFiles files) {
        this.root = root;
        this.files = files;
        sweep();
    }

    /** Removes what publishers left that a crash cut short. Files younger than an hour may belong to another live process. */
    private void sweep() {
        if (!Files.isDirectory(root)) {
            return;
        }
        for (Path tenant : children(root)) {
            for (Path base : children(tenant)) {
                children(base).forEach(task -> children(task).forEach(FolderDeltaStore::removeIfLeft));
            }
        }
    }

    private static void removeIfLeft(Path file) {
        try {
            if (file.getFileName().toString().startsWith(TEMPORARY)
                    && Files.getLastModifiedTime(file).toMillis() < System.currentTimeMillis() - 3_600_000) {
                LOG.info("removing {}, left by a publisher that was cut short", file);
                Files.deleteIfExists(file);
            }
        } catch (NoSuchFileException finished) {
            LOG.debug("{} was another publisher's, who has finished", file);
        } catch (IOException failure) {
            throw storage("sweeping " + file, failure);
        }
    }

    @Override
    public DeltaVersion publish(String tenant, String base, String task, DeltaManifest draft, List<TensorBlocks> blocks,
            List<WholeTensor> tensors, BaseMatrices matrices) {
        Path folder = folder(tenant, base, task);
        DeltaFile.Encoded encoded = DeltaFile.encode(draft, blocks, tensors, matrices);
        Path temporary = folder.resolve(TEMPORARY + UUID.randomUUID());
        try {
            createFolders(folder);
            files.write(temporary, encoded.parts());
            int number = claim(folder, temporary);
            DeltaVersion version = new DeltaVersion(tenant, base, task, number, encoded.manifest().digest(), encoded.bytes(),
                    encoded.manifest());
            known.put(file(version), version);
            return version;
        } catch (IOException failure) {
            throw storage("publishing " + base + ":" + task, failure);
        } finally {
            try {
                Files.deleteIfExists(temporary);
            } catch (IOException left) {
                LOG.warn("{} could not be removed: {}", temporary, left.getMessage());
            }
        }
    }

    /** Missing folders are made and forced, parent by parent, so that the version's own folder survives with it. */
    private void createFolders(Path folder) throws IOException {
        if (Files.isDirectory(folder)) {
            return;
        }
        Path parent = folder.toAbsolutePath().getParent();
        createFolders(parent);
        Files.createDirectories(folder);
        DurableFiles.forceFolder(parent);
    }

    private int claim(Path folder, Path temporary) throws IOException {
        while (true) {
            int number = numbers(folder).stream().mapToInt(Integer::intValue).max().orElse(0) + 1;
            try {
                files.publish(temporary, folder.resolve(number + ".safetensors"));
                return number;
            } catch (FileAlreadyExistsException taken) {
                LOG.debug("version {} of {} was taken by another publisher", number, folder);
            }
        }
    }

    /** Numbers in use or spent. */
    private static List<Integer> numbers(Path folder) throws IOException {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.map(entry -> VERSION.matcher(entry.getFileName().toString())).filter(Matcher::matches)
                    .map(match -> Integer.parseInt(match.group(1))).toList();
        }
    }

    @Override
    public List<DeltaVersion> list(String tenant) {
        Path folder = root.resolve(name("tenant", tenant));
        List<DeltaVersion> versions = new ArrayList<>();
        for (Path base : children(folder)) {
            for (Path task : children(base)) {
                for (Path file : children(task)) {
                    Matcher match = VERSION.matcher(file.getFileName().toString());
                    if (match.matches() && match.group(2).equals("safetensors")) {
                        readable(tenant, base.getFileName().toString(), task.getFileName().toString(), Integer.parseInt(match.group(1)))
                                .ifPresent(versions::add);
                    }
                }
            }
        }
        versions.sort(Comparator.comparing(DeltaVersion::base).thenComparing(DeltaVersion::task).thenComparing(DeltaVersion::number));
        return versions;
    }

    /** One damaged file does not hide the others; whoever asks for it by name is told what is wrong. */
    private Optional<DeltaVersion> readable(String tenant, String base, String task, int number) {
        try {
            return read(tenant, base, task, number);
        } catch (Problem damaged) {
            LOG.error("not listed: {}", damaged.getMessage());
            return Optional.empty();
        }
    }

    private static List<Path> children(Path folder) {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.toList();
        } catch (IOException failure) {
            throw storage("listing " + folder, failure);
        }
    }

    @Override
    public Optional<DeltaVersion> find(String tenant, String base, String task, OptionalInt number) {
        if (!NAME.matcher(base).matches() || !NAME.matcher(task).matches()) {
            return Optional.empty();
        }
        if (number.isPresent()) {
            return read(tenant, base, task, number.getAsInt());
        }
        return children(folder(tenant, base, task)).stream().map(file -> VERSION.matcher(file.getFileName().toString()))
                .filter(match -> match.matches() && match.group(2).equals("safetensors")).map(match -> Integer.parseInt(match.group(1)))
                .max(Comparator.naturalOrder()).flatMap(latest -> read(tenant, base, task, latest));
    }

    /** Empty when the file is not there; a damaged header is reported, not hidden. */
    private Optional<DeltaVersion> read(String tenant, String base, String task, int number) {
        Path file = folder(tenant, base, task).resolve(number + ".safetensors");
        if (!Files.isRegularFile(file)) {
            known.remove(file);
            return Optional.empty();
        }
        return Optional.of(known.computeIfAbsent(file, _ -> {
            try (Arena arena = Arena.ofConfined()) {
                FileBytes.Beginning header = FileBytes.header(file, arena);
                DeltaManifest manifest = DeltaFile.manifest(header.bytes(), header.fileBytes(), file.toString());
                return new DeltaVersion(tenant, base, task, number, manifest.digest(), header.fileBytes(), manifest);
            } catch (IOException failure) {
                throw storage("reading " + file, failure);
            }
        }));
    }

    @Override
    public LoadedDelta load(DeltaVersion version, String baseFingerprint, BaseMatrices matrices, Arena arena) {
        Path file = file(version);
        try (Arena copy = Arena.ofShared()) {
            DeltaFile.Decoded decoded = DeltaFile.decode(FileBytes.read(file, copy), file.toString(), baseFingerprint, matrices, arena);
            return new LoadedDelta(version, decoded.blocks(), decoded.tensors());
        } catch (NoSuchFileException deleted) {
            throw new Problem(Problem.Code.NOT_FOUND, version.model() + " is no longer there", deleted);
        } catch (IOException failure) {
            throw storage("reading " + file, failure);
        }
    }

    @Override
    public boolean delete(DeltaVersion version) {
        Path file = file(version);
        Path stone = file.resolveSibling(version.number() + ".deleted");
        try {
            if (!Files.isRegularFile(file)) {
                return false;
            }
            if (!Files.exists(stone)) {
                files.write(stone, List.of());
                DurableFiles.forceFolder(file.getParent());
            }
            boolean removed = Files.deleteIfExists(file);
            known.remove(file);
            DurableFiles.forceFolder(file.getParent());
            return removed;
        } catch (IOException failure) {
            throw storage("deleting " + version.model(), failure);
        }
    }

    private Path file(DeltaVersion version) {
        return folder(version.tenant(), version.base(), version.task()).resolve(version.number() + ".safetensors");
    }

    private Path folder(String tenant, String base, String task) {
        return root.resolve(name("tenant", tenant)).resolve(name("base model", base)).resolve(name("task", task));
    }

    private static String name(String what, String name) {
        if (name == null || !NAME.matcher(name).matches()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, what + " name '" + name + "' is not allowed; use letters, digits, '.', '_' and "
                    + "'-', 64 at most, beginning with a letter or digit");
        }
        return name;
    }

    private static Problem storage(String what, IOException failure) {
        String reason = String.valueOf(failure.getMessage());
        if (reason.contains("No space left on device") || reason.contains("Disk quota exceeded")) {
            return new Problem(Problem.Code.STORAGE_FULL, what + " failed: the disk is full; free space or delete versions, then try again",
                    failure);
        }
        return new Problem(Problem.Code.STORAGE_FAILED, what + " failed: " + failure + "; check the disk and the folder's rights", failure);
    }
}
