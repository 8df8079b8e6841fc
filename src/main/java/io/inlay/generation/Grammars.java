package io.inlay.generation;

import io.inlay.generation.grammar.Grammar;
import io.inlay.generation.grammar.MaskCache;
import io.inlay.generation.grammar.TokenGrammar;
import io.inlay.generation.grammar.Vocabulary;
import io.inlay.model.TokenBytes;
import io.inlay.model.Tokenizer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** Grammars over one model's vocabulary; those used last are kept with the masks that they have worked out. Thread-safe. */
public final class Grammars {

    private static final int KEPT = 16;

    private final Tokenizer tokenizer;
    private final MaskCache masks = new MaskCache();
    private final Map<String, TokenGrammar> kept = new LinkedHashMap<>(16, 0.75f, true);
    private TokenBytes tokens;
    private Vocabulary vocabulary;

    public Grammars(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
    }

    /** The bytes of the model's tokens. */
    public synchronized TokenBytes tokens() {
        if (tokens == null) {
            tokens = tokenizer.bytes();
        }
        return tokens;
    }

    /**
     * The grammar of this key, made if it is not kept.
     *
     * @throws io.inlay.Problem what {@code grammar} throws, and for one that is too large
     */
    public TokenGrammar of(String key, Supplier<Grammar> grammar) {
        synchronized (this) {
            TokenGrammar known = kept.get(key);
            if (known != null) {
                return known;
            }
        }
        TokenGrammar made = new TokenGrammar(grammar.get(), vocabulary(), masks);
        synchronized (this) {
            TokenGrammar known = kept.putIfAbsent(key, made); // Another may have made it meanwhile, and worked masks out.
            if (known != null) {
                return known;
            }
            if (kept.size() > KEPT) {
                kept.remove(kept.keySet().iterator().next());
            }
        }
        return made;
    }

    private synchronized Vocabulary vocabulary() {
        if (vocabulary == null) {
            vocabulary = new Vocabulary(tokens());
        }
        return vocabulary;
    }
}
