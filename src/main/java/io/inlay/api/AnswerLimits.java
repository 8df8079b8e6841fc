package io.inlay.api;

/**
 * What one request may ask for.
 *
 * @param maxTokens of an answer
 * @param maxItems messages of a conversation, parts of one message, tools, and texts of a request for embeddings
 */
public record AnswerLimits(int maxTokens, int maxItems) {
}
