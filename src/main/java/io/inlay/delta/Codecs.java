package io.inlay.delta;

import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Function;

/** Codecs that threads borrow, one each, for as long as a delta is encoded or decoded. */
final class Codecs implements AutoCloseable {

    private final Queue<BlockCodec> free = new ConcurrentLinkedQueue<>();

    <T> T with(Function<BlockCodec, T> work) {
        BlockCodec codec = free.poll();
        if (codec == null) {
            codec = new BlockCodec();
        }
        try {
            return work.apply(codec);
        } finally {
            free.add(codec);
        }
    }

    @Override
    public void close() {
        free.forEach(BlockCodec::close);
    }
}
