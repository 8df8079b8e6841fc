/**
 * REST: OpenAI's resources and Inlay's own, their JSON records, the door (who may call what, how much), and the one place where problems become HTTP.
 *
 * <p>Thin: parses, calls, renders. May use everything below; only {@code server} may use it.
 */
package io.inlay.api;
