package io.inlay.generation;

import io.inlay.model.KvCache;
import io.inlay.model.KvPool;
import io.inlay.model.LlamaModel;
import io.inlay.model.PromptCut;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * An engine's memory for keys and values: a pool of pages, the prompts that are kept in it while there is room, and files for sequences
 * that are put aside when there is none. Confined to the engine's thread.
 */
final class KvMemory implements AutoCloseable {

    private final KvPool pool;
    private final PrefixCache prefixes;
    private final Path swapFolder;

    /** @param swapFolder where files of sequences put aside lie; they are gone with the process, however it ends */
    KvMemory(LlamaModel model, long bytes, Path swapFolder) {
        this.pool = KvPool.ofBytes(model, bytes);
        this.prefixes = new PrefixCache(pool, PromptCut.of(model.device(), model.dtype()));
        this.swapFolder = swapFolder;
    }

    KvPool pool() {
        return pool;
    }

    PrefixCache prefixes() {
        return prefixes;
    }

    /** Takes pages up to so many positions, at the cost of prompts kept; false, and nothing taken, when too many are in use. */
    boolean reserve(KvCache cache, int positions) {
        while (!cache.reserve(positions)) {
            if (!prefixes.evict()) {
                return false;
            }
        }
        return true;
    }

    /** Whether so many pages could be taken now; lets go of prompts that are kept until it is so. */
    boolean couldTake(int pages) {
        while (pool.capacity() - pool.used() < pages) {
            if (!prefixes.evict()) {
                return false;
            }
        }
        return true;
    }

    /** Moves a sequence's keys and values to a file that exists while it is open. */
    FileChannel putAside(KvCache cache) {
        try {
            Path file = Files.createTempFile(swapFolder, "inlay-kv-", ".swap");
            FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.DELETE_ON_CLOSE);
            try {
                cache.swapOut(channel);
            } catch (IOException failure) {
                channel.close();
                throw failure;
            }
            return channel;
        } catch (IOException failure) {
            throw new UncheckedIOException("keys and values of a generation cannot be put aside in " + swapFolder, failure);
        }
    }

    @Override
    public void close() {
        pool.close();
    }
}
