package io.inlay.generation.grammar;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Masks of all grammars over one vocabulary, up to so many bytes; of those beyond, the ones go that were not used for longest. Each is
 * held by the state that it is of, and here by its slot alone, so that a grammar that nobody uses any more is not kept by its masks.
 * Thread-safe.
 */
public final class MaskCache {

    /** A mask takes as many bits as there are tokens, and more where answers are cut short. */
    private static final long USUAL = 64L << 20;

    private final long most;
    private final Map<Slot, TokenMask> kept = new LinkedHashMap<>(16, 0.75f, true);
    private long bytes;

    /** Where a state's mask is, if it has one. */
    static final class Slot {
        private volatile TokenMask mask;
    }

    /** @param bytes of masks; one is kept even if it has more */
    public MaskCache(long bytes) {
        this.most = bytes;
    }

    /** Of a size for a server's model. */
    public MaskCache() {
        this(USUAL);
    }

    /** The slot's mask; null if it has none, or has lost it. */
    TokenMask get(Slot slot) {
        TokenMask mask = slot.mask;
        if (mask != null) {
            synchronized (this) {
                kept.get(slot);
            }
        }
        return mask;
    }

    synchronized void put(Slot slot, TokenMask mask) {
        TokenMask before = kept.put(slot, mask);
        slot.mask = mask;
        bytes += mask.bytes() - (before == null ? 0 : before.bytes());
        Iterator<Map.Entry<Slot, TokenMask>> oldest = kept.entrySet().iterator();
        while (bytes > most && kept.size() > 1) {
            Map.Entry<Slot, TokenMask> gone = oldest.next();
            bytes -= gone.getValue().bytes();
            gone.getKey().mask = null;
            oldest.remove();
        }
    }

    /** Of the masks that are kept. */
    synchronized long bytes() {
        return bytes;
    }

    synchronized int size() {
        return kept.size();
    }
}
