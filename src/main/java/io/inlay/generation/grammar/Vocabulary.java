package io.inlay.generation.grammar;

import io.inlay.model.TokenBytes;

/** The tokens of a model as grammars see them: bytes, and the tree of them. Immutable. */
public final class Vocabulary {

    private final TokenBytes tokens;
    private final TokenTrie trie;

    public Vocabulary(TokenBytes tokens) {
        this.tokens = tokens;
        this.trie = new TokenTrie(tokens.bytes());
    }

    byte[] bytes(int token) {
        return tokens.bytes()[token];
    }

    boolean dropsFirstSpace() {
        return tokens.dropsFirstSpace();
    }

    TokenTrie trie() {
        return trie;
    }

    /** Ids are below it. */
    int size() {
        return tokens.bytes().length;
    }
}
