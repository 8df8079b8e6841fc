/**
 * Grammars that answers must follow: regular expressions, JSON schemas and GBNF become one pushdown automaton over bytes, which is walked
 * over the vocabulary's tokens and says which may come next.
 *
 * <p>May use {@code model}'s tokenizer for the bytes of tokens, and nothing else of Inlay. Must not know requests, engines or HTTP.
 */
package io.inlay.generation.grammar;
