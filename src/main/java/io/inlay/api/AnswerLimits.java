package io.inlay.api;

/**
 * What one request may ask for.
 *
 * @param maxTokens of an answer
 * @param maxItems messages of a conversation, and parts of one message
 */
public record AnswerLimits(int maxTokens, int maxItems) {
}
