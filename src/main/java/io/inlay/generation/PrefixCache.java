package io.inlay.generation;

import io.inlay.kernels.KvPages;
import io.inlay.model.KvCache;
import io.inlay.model.KvPool;
import io.inlay.model.PromptCut;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Pages of prompts that were taken in before, for prompts that begin the same. A page is found by all tokens up to its end, the weights
 * that they went through and the tenant who asked, so that nobody's answer tells, by its speed, what another has asked. Only whole pages
 * of prompts are kept, of which the bits are the same whoever computes them. Pages that no sequence uses go when memory is needed, the
 * least recently used first. Confined to one thread.
 */
final class PrefixCache {

    private final KvPool pool;
    private final PromptCut cut;
    /** Where prompts begin: the first pages by their tokens. */
    private final Map<Owner, Node> roots = new HashMap<>();
    /** Every page that is kept, the least recently used first; a page is used no later than those behind it in a prompt. */
    private final Map<Node, Node> all = new LinkedHashMap<>(16, 0.75f, true);
    private long hits;
    private long asked;

    /** Who may share: a tenant's prompts to one delta, by its digest, empty for the base. */
    record Owner(String tenant, String delta) {
    }

    /** @param large {@link PromptCut#isLarge} */
    private record Tokens(int[] ids, boolean large) {

        @Override
        public boolean equals(Object other) {
            return other instanceof Tokens(int[] others, boolean large) && large == this.large && Arrays.equals(ids, others);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(ids);
        }
    }

    /** A page and what follows it. Compared by identity. */
    private static final class Node {
        private final Owner owner;
        private final Node parent;
        private final Tokens tokens;
        private final int page;
        private final Map<Tokens, Node> next = new HashMap<>();

        private Node(Owner owner, Node parent, Tokens tokens, int page) {
            this.owner = owner;
            this.parent = parent;
            this.tokens = tokens;
            this.page = page;
        }
    }

    PrefixCache(KvPool pool, PromptCut cut) {
        this.pool = pool;
        this.cut = cut;
    }

    /** Pages kept. */
    int pages() {
        return all.size();
    }

    /** Of all pages of prompts that were asked for, how many were there. */
    long hits() {
        return hits;
    }

    /** Pages of prompts that were asked for. */
    long asked() {
        return asked;
    }

    /** Begins an empty cache with the pages that are there of the prompt's first {@code positions}. */
    void begin(Owner owner, int[] prompt, int positions, KvCache cache) {
        int pages = positions / KvPages.PAGE;
        int[] found = new int[pages];
        int count = 0;
        for (Node node = roots.get(owner); node != null && count < pages; count++) {
            node = node.next.get(tokens(prompt, count, positions));
            if (node == null) {
                break;
            }
            all.get(node);
            found[count] = node.page;
        }
        asked += pages;
        hits += count;
        if (count > 0) {
            cache.share(Arrays.copyOf(found, count));
        }
    }

    /** Keeps the whole pages of the prompt's first {@code positions}, which the cache holds. */
    void keep(Owner owner, int[] prompt, int positions, KvCache cache) {
        int pages = positions / KvPages.PAGE;
        if (pages == 0) {
            return;
        }
        Node node = roots.computeIfAbsent(owner, key -> new Node(key, null, null, -1));
        for (int i = 0; i < pages; i++) {
            Tokens tokens = tokens(prompt, i, positions);
            Node child = node.next.get(tokens);
            if (child == null) {
                child = new Node(owner, node, tokens, cache.page(i));
                pool.retain(child.page);
                node.next.put(tokens, child);
                all.put(child, child);
            }
            node = child;
        }
    }

    private Tokens tokens(int[] prompt, int page, int whole) {
        return new Tokens(Arrays.copyOfRange(prompt, page * KvPages.PAGE, (page + 1) * KvPages.PAGE),
                cut.isLarge(page * KvPages.PAGE, whole));
    }

    /** Lets go of the page that was used longest ago of those that nobody uses and nothing follows; false when there is none. */
    boolean evict() {
        for (Node node : all.keySet()) {
            if (node.next.isEmpty() && pool.users(node.page) == 1) {
                drop(node);
                return true;
            }
        }
        return false;
    }

    /** Lets go of all that nobody uses. */
    void clear() {
        while (evict()) {
            continue;
        }
    }

    private void drop(Node node) {
        all.remove(node);
        pool.release(node.page);
        node.parent.next.remove(node.tokens);
        if (node.parent.parent == null && node.parent.next.isEmpty()) {
            roots.remove(node.owner);
        }
    }
}
